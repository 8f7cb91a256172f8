package drive_test

import (
	"compress/gzip"
	"io"
	"strings"
	"testing"
)

// Answers are compressed for who asks for it as Google's documentation says.
func TestGzip(t *testing.T) {
	s := newStudio(t)
	for agent, want := range map[string]string{"my program (gzip)": "gzip", "my program": ""} {
		resp, body := s.request(t, "GET", "/drive/v3/about?fields=user,exportFormats", "", "Accept-Encoding", "gzip",
			"User-Agent", agent)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Encoding") != want {
			t.Fatal(resp.Status, resp.Header)
		}
		if want == "gzip" {
			z := must(gzip.NewReader(strings.NewReader(body)))(t)
			body = string(must(io.ReadAll(z))(t))
		}
		if !strings.Contains(body, `"emailAddress":"`+s.account.Email+`"`) {
			t.Fatal(body)
		}
	}
}
