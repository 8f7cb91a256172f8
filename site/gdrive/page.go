package gdrive

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"regexp"
	"strings"
	"unicode"

	"google.golang.org/api/googleapi"
)

const (
	// maxPage is how much is read of an answer that is not one of Drive's API, bytes.
	maxPage = 64 << 10

	// maxExcerpt bounds the excerpt of such an answer in an error, characters.
	maxExcerpt = 160
)

// isPage reports whether an answer that is no error by its status is a page for people instead: a login page, or one
// that says that something is blocked. Drive's own answers may name HTML as their type too, but have no body then.
func isPage(res *http.Response) bool {
	switch {
	case res.StatusCode == http.StatusPermanentRedirect && res.Header.Get("Location") != "":
		return true // Drive's "resume incomplete" leads nowhere
	case res.StatusCode >= 300 && res.StatusCode != http.StatusPermanentRedirect:
		return false
	}
	return strings.Contains(strings.ToLower(res.Header.Get("Content-Type")), "html") && res.ContentLength != 0
}

// pageError reads a page and returns it as Google's client returns errors.
func pageError(res *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxPage)) // what there is of it
	return &googleapi.Error{Code: res.StatusCode, Header: res.Header, Body: string(body)}
}

// foreign reports whether an answer was not made by Drive's API, whose errors are JSON. One that was broken off may
// have been.
func foreign(ge *googleapi.Error) bool {
	broken := strings.Contains(ge.Header.Get("Content-Type"), "json") && !json.Valid([]byte(ge.Body))
	return ge.Message == "" && len(ge.Errors) == 0 && !broken
}

// foreignAnswer describes an answer that Drive's API did not make: its text, and where it may come from.
func foreignAnswer(ge *googleapi.Error) string {
	text := excerpt(ge.Body)
	switch {
	case text != "":
		text = fmt.Sprintf("%q", text)
	case http.StatusText(ge.Code) != "":
		text = http.StatusText(ge.Code)
	default:
		text = "without words"
	}
	if fromGoogle(ge) {
		return text + ", a page of Google's servers and not of Drive"
	}
	text += ", not an answer of Drive: it may come from a proxy or filter between this machine and Google"
	if by := sender(ge.Header); by != "" {
		text += " (" + by + ")"
	}
	return text
}

// sender is who says to have made an answer, or handed it on.
func sender(h http.Header) string {
	var by []string
	for _, name := range []string{"Server", "Via"} {
		if v := shorten(printable(h.Get(name)), 80); v != "" {
			by = append(by, name+": "+v)
		}
	}
	return strings.Join(by, ", ")
}

// fromGoogle reports whether a page looks like one of Google's front ends. It only affects messages.
func fromGoogle(ge *googleapi.Error) bool {
	switch ge.Header.Get("Server") {
	case "ESF", "GSE", "gws", "sffe", "UploadServer", "Google Frontend":
		return ge.Header.Get("Via") == ""
	}
	return strings.Contains(ge.Body, "<title>Error ") && strings.Contains(ge.Body, "That’s an error.")
}

var (
	titleTag  = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title`)
	unseenTag = regexp.MustCompile(
		`(?is)<(script|style|title|noscript)\b.*?</(script|style|title|noscript)\s*>|<!--.*?-->`,
	)
	anyTag = regexp.MustCompile(`(?s)<[^>]*>?`)

	// secretLike is what may be a token, a key or a session's id: a page may repeat the request.
	secretLike = regexp.MustCompile(`(?i)(https?://|ya29\.|bearer\s|upload_id)\S*|[A-Za-z0-9_\-+/=]{32,}`)
)

// excerpt is what a page says to people: its title and the beginning of its text.
func excerpt(page string) string {
	page = strings.ToValidUTF8(page[:min(len(page), maxPage)], "")
	var title string
	if m := titleTag.FindStringSubmatch(page); m != nil {
		title = plain(m[1])
	}
	text := plain(unseenTag.ReplaceAllString(page, " "))
	switch {
	case title == "" || strings.HasPrefix(text, title):
	case text == "":
		text = title
	default:
		text = title + ": " + text
	}
	return shorten(text, maxExcerpt)
}

// plain is text without tags, secrets and what can't be printed.
func plain(text string) string {
	text = printable(html.UnescapeString(anyTag.ReplaceAllString(text, " ")))
	return secretLike.ReplaceAllString(text, "...")
}

// printable is text in one line.
func printable(text string) string {
	return strings.Join(
		strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }),
		" ",
	)
}

func shorten(text string, most int) string {
	if r := []rune(text); len(r) > most {
		return strings.TrimSpace(string(r[:most])) + "..."
	}
	return text
}
