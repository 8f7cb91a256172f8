package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode"
)

// leastToken is how long a token must be, in characters. Whoever has it can't be told from an administrator.
const leastToken = 16

// A Token is what somebody has to know to change something from the page. However it is printed or encoded, it does not
// show; only Reveal gives it away.
type Token string

// Reveal is the token itself.
func (t Token) Reveal() string { return string(t) }

// String says only whether there is one.
func (t Token) String() string {
	if t == "" {
		return ""
	}
	return "***"
}

// Format prints String, whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// MarshalText is String, for JSON.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// webToken reads the token from its file or, so that containers need no file, from the environment.
func (s *settings) webToken(flag *string) Token {
	file := setting{name: "web-token-file", flag: flag}
	const inEnvironment = "SITESYNC_WEB_TOKEN"
	if text, ok := s.env(inEnvironment); ok && text != "" && flag == nil {
		return s.checkToken(inEnvironment, text)
	}
	v, ok := s.find(file, "")
	if !ok || v.text == "" {
		return ""
	}
	where := v.where + " names the file " + v.text + ", which"
	data, info, err := readBounded(v.text)
	if err != nil {
		mend := ""
		if errors.Is(err, fs.ErrPermission) {
			mend = fmt.Sprintf("; sitesync runs as user %d", os.Getuid())
		}
		s.report.wrong(where, "cannot be read: %s%s", plain(err), mend)
		return ""
	}
	warnReadable(v.where+" names the file "+v.text, info, s.report)
	return s.checkToken(where, string(data))
}

func (s *settings) checkToken(where, text string) Token {
	text = strings.TrimSpace(text)
	if len([]rune(text)) < leastToken || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		s.report.wrong(where, "must hold the token of the page: %d characters or more, without spaces; openssl rand -hex 24 makes one", leastToken)
		return ""
	}
	return Token(text)
}
