package web

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// policy lets the page load and send nothing but to where it came from, and nothing that stands in the page itself run.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// guarded has browsers keep what the page shows to itself.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "same-origin") // with none, a browser would not tell where a form comes from
		h.Set("X-Frame-Options", "DENY")
		next.ServeHTTP(w, r)
	})
}

// local refuses requests that were made for another host. Where only this machine may ask, the browser of somebody who
// works here may all the same: a foreign site's name can be made to lead here, and its scripts could then read the
// page. What they can't do is say that they want this machine.
func local(listen string, next http.Handler) http.Handler {
	if !isLoopback(hostOf(listen)) {
		return next // by which names others reach it is not known
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopback(hostOf(r.Host)) {
			http.Error(w, "this page is for this machine only: ask for http://"+listen+"/. "+
				"A proxy before it must send that as Host, or sitesync must listen on another address (--listen)", http.StatusMisdirectedRequest)
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

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
}
