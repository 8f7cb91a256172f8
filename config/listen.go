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
		s.addError(v.origin, "is %q but must be HOST:PORT, e.g. 127.0.0.1:9105 for this machine only "+
			"or 0.0.0.0:9105 for all, or off", v.text)
		return def
	}
	if !IsLoopback(host) {
		s.addWarning(v.origin, "is %q, so other machines can read the page, health and metrics without a password; "+
			"restrict access by a firewall", v.text)
	}
	return text
}

// IsLoopback reports whether a host, by name or address, is reachable from this machine only.
func IsLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
}
