package drive

import (
	"fmt"
	"html"
	"net/http"
	"strconv"
)

// blockedPath is where redirects of EffectHTML lead.
const blockedPath = "/_blocked/"

// proxyName is what a proxy calls itself.
const proxyName = "proxy.studio.example"

// htmlError is an answer in HTML. Google sends none on this API: it comes from a
// proxy, a filter or a captive portal on the way.
type htmlError struct {
	code       int
	text       string // what the page says; empty for the status' own words
	retryAfter string
}

// Error implements error.
func (e *htmlError) Error() string { return fmt.Sprintf("a page of HTML with status %d", e.code) }

// write sends the page. baseURL is the server as the client knows it.
func (e *htmlError) write(w http.ResponseWriter, baseURL string) error {
	title := fmt.Sprintf("%d %s", e.code, or(http.StatusText(e.code), "Error"))
	if e.code == http.StatusOK {
		title = "Access to this page is blocked"
	}
	page := fmt.Sprintf("<!DOCTYPE html>\n<html><head><title>%s</title></head>\n<body><h1>%s</h1>\n<p>%s</p>\n"+
		"<hr><address>%s (squid/5.7)</address></body></html>\n",
		title, title, html.EscapeString(or(e.text, "The request was refused by your organisation's policy.")),
		proxyName)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(page)))
	h.Set("Server", "squid/5.7")
	h.Set("Via", "1.1 "+proxyName+" (squid/5.7)")
	switch {
	case e.code >= 300 && e.code < 400:
		h.Set("Location", baseURL+blockedPath)
	case e.code == http.StatusProxyAuthRequired:
		h.Set("Proxy-Authenticate", `Basic realm="studio"`)
	}
	if e.retryAfter != "" {
		h.Set("Retry-After", e.retryAfter)
	}
	w.WriteHeader(e.code)
	if e.code == http.StatusNoContent || e.code == http.StatusNotModified {
		return nil // these have no body
	}
	if _, err := w.Write([]byte(page)); err != nil {
		return errBroken
	}
	return nil
}
