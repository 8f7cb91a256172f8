package config

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// minTokenLength is how long a token must be, in characters: anyone who guesses it has the rights of an administrator.
const minTokenLength = 16

// A Token is the secret that allows changes from the page. No printed or encoded form shows it; only Reveal does.
type Token string

// Reveal is the token itself.
func (t Token) Reveal() string { return string(t) }

// String is *** for a token and empty for none.
func (t Token) String() string {
	if t == "" {
		return ""
	}
	return "***"
}

// Format prints String for all verbs.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// MarshalText is String, for JSON.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// webToken reads the token from its file or, so that containers need no file, from the environment.
func (s *settings) webToken(flag *string) Token {
	const variable = "SITESYNC_WEB_TOKEN"
	if text, ok := s.env(variable); ok && text != "" && flag == nil {
		return s.checkToken(variable, text)
	}
	v, ok := s.find(setting{name: "web-token-file", flag: flag}, "")
	if !ok || v.text == "" {
		return ""
	}
	file := v.origin + " names the file " + v.text + ", which"
	data, info, ok := s.readNamed(file, v.text)
	if !ok {
		return ""
	}
	s.warnFileMode(file, info)
	return s.checkToken(file, string(data))
}

func (s *settings) checkToken(origin, text string) Token {
	text = strings.TrimSpace(text)
	isBlank := func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }
	if len([]rune(text)) < minTokenLength || strings.ContainsFunc(text, isBlank) {
		s.addError(origin, "must hold the token of the page: %d characters or more, without spaces; "+
			"openssl rand -hex 24 makes one", minTokenLength)
		return ""
	}
	return Token(text)
}
