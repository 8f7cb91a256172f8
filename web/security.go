package web

import (
	"net"
	"net/http"
	"strings"

	"sitesync/config"
)

// policy lets the page load and send only to where it came from, and runs no script that stands in the page itself.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// securityHeaders keeps other sites from reading or framing the page.
func securityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "same-origin") // with none, a browser would not say where a form comes from
		h.Set("X-Frame-Options", "DENY")
		next.ServeHTTP(w, r)
	})
}

// requireLocalHost refuses requests for another host if only this machine can connect. A browser on this machine can
// connect for anyone: the name of a foreign site can be made to resolve to this machine, and its scripts could then
// read the page. But they cannot set the Host header.
func requireLocalHost(listen string, next http.Handler) http.Handler {
	if !config.IsLoopback(hostOf(listen)) {
		return next // the names by which others reach it are not known
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !config.IsLoopback(hostOf(r.Host)) {
			http.Error(w, "this page is only for this machine: open http://"+listen+"/. A proxy in front of it must "+
				"send that as Host, or sitesync must listen on another address (--listen)",
				http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostOf is the host of HOST:PORT or of HOST.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return strings.Trim(address, "[]")
}
