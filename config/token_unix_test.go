//go:build unix

package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWebToken(t *testing.T) {
	const token, other = "0123456789abcdef", "fedcba98765432100"
	file := func(content string, mode os.FileMode) *string {
		name := filepath.Join(t.TempDir(), "web-token")
		if err := os.WriteFile(name, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return &name
	}
	const wrong = "16 characters or more"
	for name, test := range map[string]struct {
		flag      *string
		env       map[string]string
		want      string
		warn, err string // parts of them
	}{
		"none":              {},
		"in a file":         {flag: file(token+"\n", 0o600), want: token},
		"file by variable":  {env: map[string]string{"SITESYNC_WEB_TOKEN_FILE": *file(token, 0o600)}, want: token},
		"in a variable":     {env: map[string]string{"SITESYNC_WEB_TOKEN": token}, want: token},
		"an empty variable": {env: map[string]string{"SITESYNC_WEB_TOKEN": ""}},
		"the flag counts": {flag: file(token, 0o600), env: map[string]string{"SITESYNC_WEB_TOKEN": other},
			want: token},
		"readable by all": {flag: file(token, 0o644), want: token, warn: "chmod 600"},
		"too short":       {flag: file("0123456789abcde", 0o600), err: wrong},
		"empty file":      {flag: file("\n", 0o600), err: wrong},
		"two lines":       {flag: file(token+"\n"+token, 0o600), err: wrong},
		"short variable": {env: map[string]string{"SITESYNC_WEB_TOKEN": "secret"},
			err: "SITESYNC_WEB_TOKEN must hold"},
		"no file": {flag: new("/no/such/file"), err: "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStudio(t)
			for k, v := range test.env {
				s.env[k] = v
			}
			c, warnings, errs := s.load(Flags{WebTokenFile: test.flag})
			if test.err != "" {
				if len(errs) != 1 || !strings.Contains(errs[0], test.err) {
					t.Fatalf("errors %q", errs)
				}
				if strings.Contains(errs[0], "0123456789abcde") || strings.Contains(errs[0], "secret\"") {
					t.Errorf("the error shows the token: %s", errs[0])
				}
				return
			}
			if errs != nil || c.WebToken.Reveal() != test.want {
				t.Fatalf("token %q, errors %q", c.WebToken.Reveal(), errs)
			}
			if (len(warnings) > 0) != (test.warn != "") ||
				test.warn != "" && !strings.Contains(fmt.Sprint(warnings), test.warn) {
				t.Errorf("warnings %q", warnings)
			}
			asJSON, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			if all := string(asJSON) + fmt.Sprintf("%v %v %+v %#v %q %x", c.Settings(), c, *c, *c, c.WebToken,
				c.WebToken); test.want != "" &&
				strings.Contains(all, test.want) {
				t.Errorf("the token shows: %s", all)
			}
		})
	}
}
