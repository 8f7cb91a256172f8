// Package daemon is sitesync at work: it waits for the lease of a route, serves the route with a pipeline while the
// lease is held, and shows all of it on the page, as health and as metrics. It handles no signals and ends no process,
// so that tests start it in their own.
package daemon
