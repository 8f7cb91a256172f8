// Package web serves sitesync over HTTP: the page for people, health and readiness, and metrics. Its caller provides a
// [Snapshot] of the running parts, a [Source] of what the page shows, and the [Actions] that people with the token may
// ask for. Nothing that it serves is a secret.
package web
