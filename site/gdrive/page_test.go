package gdrive

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/api/googleapi"

	"sitesync/integration/drive"
	"sitesync/site"
)

// A page that a proxy or filter answers one file with is tried a few times, then it is that file's trouble. It says
// nothing of the pace, and the error says what the page says and who may have sent it.
func TestPageForOneFile(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, testLimit + 1} {
		for _, status := range []int{200, 302, 400, 401, 403, 404, 405, 407, 409, 410, 412, 451} {
			t.Run(fmt.Sprint(status, size), func(t *testing.T) {
				s := newStudio(t)
				d := s.open(t)
				fault := s.AddFault(
					drive.Fault{Kind: "files.create.*", Name: "ill", Effect: drive.EffectHTML, Status: status,
						Message: "The category is blocked."},
				)
				_, err := d.Put(t.Context(), upload("/SHOW/pub/ill", []byte(large(size))))
				wantClass(
					t,
					err,
					site.FileError,
					fmt.Sprint("answered ", status, ": "),
					"category is blocked",
					"proxy or filter",
					"squid",
				)
				if strings.Contains(err.Error(), "<") || len(err.Error()) > 500 {
					t.Errorf("error %q", err)
				}
				if fault.Hits() != unusualAttempts {
					t.Errorf("%d attempts", fault.Hits())
				}
				put(t, d, "/SHOW/pub/well", "content")
				if !math.IsInf(d.Stats().Limit, 1) || d.Stats().Throttled != 0 {
					t.Errorf("it has slowed down to %v", d.Stats().Limit)
				}
				fault.Remove()
				put(t, d, "/SHOW/pub/ill", large(size))
			})
		}
	}
}

// Where everything is answered so, it is the site's trouble: tokens, lookups, and roots.
func TestPageForEverything(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"token", "files.*", "*"} {
		for _, status := range []int{200, 302, 401, 403, 404, 407} {
			t.Run(fmt.Sprint(kind, status), func(t *testing.T) {
				s := newStudio(t)
				d := s.open(t)
				if kind == "files.*" {
					put(t, d, "/SHOW/pub/well", "content")
				}
				fault := s.AddFault(drive.Fault{Kind: kind, Effect: drive.EffectHTML, Status: status})
				_, err := d.Put(t.Context(), upload("/SHOW/pub/a", []byte("content")))
				wantClass(t, err, site.Unavailable, fmt.Sprint("answered ", status, ": "), "proxy or filter")
				wantClass(t, d.Check(t.Context()), site.Unavailable, "proxy or filter")
				fault.Remove()
				put(t, d, "/SHOW/pub/a", "content")
			})
		}
	}
}

// A page with a status of the service's is an outage.
func TestPageOfOutage(t *testing.T) {
	t.Parallel()
	for _, status := range []int{408, 429, 500, 502, 503, 504} {
		s := newStudio(t)
		d := s.open(t)
		s.AddFault(drive.Fault{Kind: "*", Effect: drive.EffectHTML, Status: status})
		_, err := d.Put(t.Context(), upload("/SHOW/pub/a", []byte("content")))
		wantClass(t, err, site.Transient)
	}
}

func TestExcerpt(t *testing.T) {
	long := strings.Repeat("word ", 32)
	blocked := "<html><head><title>Blocked &amp; logged</title><style>a{b}</style></head><body>" +
		"<script>x()</script><h1>No</h1>\n<p>go &lt;away&gt;"
	secret := "see https://host/upload?upload_id=S3cr3t or Bearer ya29.S3cr3t, " + strings.Repeat("S3", 30)
	for page, want := range map[string]string{
		"":      "",
		blocked: "Blocked & logged: No go <away>",
		"<title>403 Forbidden</title><body>403 Forbidden nginx": "403 Forbidden nginx",
		"plain\x00 text\r\nin \x1b[31mlines":                    "plain text in [31mlines",
		`{"error":"denied"}`:                                    `{"error":"denied"}`,
		secret:                                                  "see ... or ... ...",
		long + long + long:                                      strings.TrimSpace(long) + "...",
		"<unclosed":                                             "",
		"\xff\xfe":                                              "",
	} {
		if got := excerpt(page); got != want {
			t.Errorf("%.60q: %q, want %q", page, got, want)
		}
	}
}

func TestForeignAnswer(t *testing.T) {
	for _, test := range []struct {
		body   string
		header http.Header
		want   string
	}{
		{"", nil,
			"Forbidden, not an answer of Drive: it may come from a proxy or filter between this machine and Google"},
		{"no", http.Header{"Server": {"nginx"}, "Via": {"1.1 gate\x07"}},
			`"no", not an answer of Drive: it may come from a proxy or filter ` +
				"between this machine and Google (Server: nginx, Via: 1.1 gate)"},
		{"<title>Error 403 (Forbidden)!!1</title>", http.Header{"Server": {"ESF"}},
			`"Error 403 (Forbidden)!!1", a page of Google's servers and not of Drive`},
	} {
		if got := foreignAnswer(&googleapi.Error{Code: 403, Body: test.body, Header: test.header}); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
