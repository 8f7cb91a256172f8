package gdrive

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/api/googleapi"

	"sitesync/site"
)

// unquote reads a string of Drive's query language and returns what follows it.
func unquote(q string) (value, rest string, ok bool) {
	if q == "" || q[0] != '\'' {
		return "", "", false
	}
	var b []byte
	for i := 1; i < len(q); i++ {
		switch {
		case q[i] == '\'':
			return string(b), q[i+1:], true
		case q[i] == '\\' && i+1 < len(q) && (q[i+1] == '\'' || q[i+1] == '\\'):
			i++
		case q[i] == '\\':
			return "", "", false
		}
		b = append(b, q[i])
	}
	return "", "", false
}

func FuzzQuote(f *testing.F) {
	for _, name := range []string{"", "a.ma", "it's", `back\slash`, `\'`, `'\`, "a' or name != 'b", "größe 日本 🎬",
		"\xff\x00"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		const after = " and trashed = false"
		if value, rest, ok := unquote(quote(name) + after); !ok || value != name || rest != after {
			t.Errorf("%q is written as %s, and read as %q before %q", name, quote(name), value, rest)
		}
	})
}

func FuzzParseRange(f *testing.F) {
	for _, h := range []string{"", "bytes=0-0", "bytes=0-262143", "bytes=0-", "bytes=1-5", "bytes 0-5",
		"bytes=0-5,7-9", "bytes=0-9223372036854775807",
		"bytes=0--1", "bytes=0-٣"} {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, h string) {
		got, err := parseRange(h)
		switch {
		case err != nil:
		case h == "":
			if got != 0 {
				t.Errorf("without a header %d bytes have arrived", got)
			}
		case got < 1 || strings.TrimLeft(strings.TrimPrefix(h, "bytes=0-"), "0") !=
			strings.TrimLeft(fmt.Sprint(got-1), "0"):
			t.Errorf("%q is read as %d bytes", h, got)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, h := range []string{"", "0", "1", "120", "-5", "99999999999999999999", "1e3",
		"Wed, 21 Oct 2015 07:28:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", " 7"} {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, h string) {
		got := retryAfter(http.Header{"Retry-After": {h}})
		if got < 0 || got > maxRetryAfter {
			t.Errorf("%q makes us wait for %v", h, got)
		}
		// Whole seconds, as they are written.
		var n int
		if _, err := fmt.Sscanf(h, "%d", &n); err == nil && fmt.Sprint(n) == h && n >= 0 && n <= 3600 &&
			got != time.Duration(n)*time.Second {
			t.Errorf("%q is read as %v", h, got)
		}
	})
}

// FuzzAnswer classifies whatever Drive may answer. The class and the text are of use, and nothing of the request is
// in the text.
func FuzzAnswer(f *testing.F) {
	for _, body := range []string{"", "<html>",
		`{"error": {"code": 403, "message": "m", "errors": [{"reason": "rateLimitExceeded"}]}}`,
		`{"error": null}`, `{"error": {"errors": []}}`, `{"error": {"errors": [null]}}`,
		`{"error": "invalid_grant"}`, `{"error": {"code": "x"}}`} {
		for _, status := range []int{308, 400, 401, 403, 404, 410, 429, 500, 599} {
			f.Add(status, body)
		}
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		err := googleapi.CheckResponse(&http.Response{StatusCode: status, Header: http.Header{},
			Body: io.NopCloser(strings.NewReader(body))})
		if err == nil {
			return
		}
		err = classify(err)
		if err.Error() == "" {
			t.Error("an error without a text")
		}
		var answer *answerError
		if errors.As(err, &answer) {
			status = answer.status // the body's goes before the header's
		}
		switch class := site.ClassOf(err); {
		case status == 401 && class != site.Unavailable && !answer.foreign, // a page says nothing of the credentials
			(status >= 500 || status == 429 || status == 408) && class != site.Transient,
			class == site.NotReady:
			t.Errorf("%d %s is of class %s", status, body, class)
		}
	})
}
