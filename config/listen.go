package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// listen is the address of a listener, empty for none. Port 0 is any free one.
func (s *settings) listen(flag *string) string {
	const def = "127.0.0.1:9105"
	const want = "HOST:PORT, e.g. 127.0.0.1:9105 for this machine only or 0.0.0.0:9105 for all, or off"
	v, ok := s.find(setting{name: "listen", flag: flag}, "")
	if !ok {
		return def
	}
	text := strings.TrimSpace(v.text)
	if text == "" || strings.EqualFold(text, "off") {
		return ""
	}
	host, port, err := net.SplitHostPort(text)
	if _, badPort := strconv.ParseUint(port, 10, 16); err != nil || badPort != nil || strings.ContainsAny(host, "/@ ") {
		s.report.wrong(v.where, "is %q but must be %s", v.text, want)
		return def
	}
	if !IsLoopback(host) {
		s.report.odd(v.where, "is %q, so other machines can read the page, health and metrics, without a password; "+
			"let a firewall keep out those who need not", v.text)
	}
	return text
}

// IsLoopback reports whether a host, by name or address, is this machine for itself only.
func IsLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
}
