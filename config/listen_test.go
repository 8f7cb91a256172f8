package config

import "testing"

func TestListen(t *testing.T) {
	for text, want := range map[string]struct {
		address string
		wide    bool // other machines reach it
	}{
		"127.0.0.1:9000":     {"127.0.0.1:9000", false},
		" 127.0.0.1:0 ":      {"127.0.0.1:0", false},
		"127.8.0.1:80":       {"127.8.0.1:80", false},
		"localhost:9105":     {"localhost:9105", false},
		"[::1]:9105":         {"[::1]:9105", false},
		"":                   {"", false},
		"off":                {"", false},
		"OFF":                {"", false},
		":9105":              {":9105", true},
		"0.0.0.0:9105":       {"0.0.0.0:9105", true},
		"[::]:9105":          {"[::]:9105", true},
		"10.0.0.7:9105":      {"10.0.0.7:9105", true},
		"sync.studio.lan:80": {"sync.studio.lan:80", true},
	} {
		c, warnings, errs := newStudio(t).load(Flags{Listen: new(text)})
		if errs != nil || c.Listen != want.address || (len(warnings) == 1) != want.wide {
			t.Errorf("%q is %q, warnings %q, errors %q", text, c.Listen, warnings, errs)
		}
	}
	for _, text := range []string{"9105", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:65536", "127.0.0.1:-1",
		"http://127.0.0.1:9105", "::1:9105", "a b:1", "user@host:1"} {
		s := newStudio(t)
		s.env["SITESYNC_LISTEN"] = text
		want := `SITESYNC_LISTEN is "` + text +
			`" but must be HOST:PORT, e.g. 127.0.0.1:9105 for this machine only or 0.0.0.0:9105 for all, or off`
		if _, _, errs := s.load(Flags{}); len(errs) != 1 || errs[0] != want {
			t.Errorf("%q: %q", text, errs)
		}
	}
	s := newStudio(t)
	s.env["SITESYNC_LISTEN"] = "off"
	if c := s.mustLoad(Flags{}); c.Listen != "" {
		t.Errorf("off is %q", c.Listen)
	}
	s.env["SITESYNC_LISTEN"] = "0.0.0.0:1"
	if c := s.mustLoad(Flags{Listen: new("127.0.0.1:2")}); c.Listen != "127.0.0.1:2" {
		t.Errorf("the flag is overridden: %q", c.Listen)
	}
}
