// Package web is what sitesync serves over HTTP: whether it is alive, whether it is ready, and its metrics. It knows
// none of the other parts; whoever starts it hands it a [Snapshot] of them. Nothing here changes anything, and nothing
// that it tells is a secret.
package web
