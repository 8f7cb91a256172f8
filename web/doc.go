// Package web is what sitesync serves over HTTP: the page for people, whether it is alive and ready, and its metrics. It
// knows none of the other parts: whoever starts it hands it a [Snapshot] of them, a [Source] of what the page shows, and
// the [Actions] that can be asked for from it, by who knows the token. Nothing that it tells is a secret.
package web
