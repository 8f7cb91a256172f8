package config

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"unicode"
)

// credentialsKind is the type of a credentials file.
type credentialsKind string

const (
	serviceAccount credentialsKind = "service_account"
	authorizedUser credentialsKind = "authorized_user"
)

// neededFields are those that Google's client needs of each type.
var neededFields = map[credentialsKind][]string{
	serviceAccount: {"client_email", "private_key", "token_uri"},
	authorizedUser: {"client_id", "client_secret", "refresh_token"},
}

// credentialsPath is the absolute path for a credentials_url: a path, relative to folder, or a file:// URL. Empty if it
// is neither.
func (p *problems) credentialsPath(v value, folder string) string {
	path := v.text
	scheme, _, isURL := strings.Cut(path, "://")
	switch {
	case strings.HasPrefix(strings.TrimSpace(path), "{"):
		p.addError(v.origin, "holds the credentials themselves but must be the path of a file with them")
		return ""
	case strings.ContainsFunc(path, unicode.IsControl):
		p.addError(v.origin, "has a line break or another control character in it but must be the path of a file")
		return ""
	case isURL && strings.EqualFold(scheme, "file"):
		u, err := url.Parse(path)
		if err != nil || u.Host != "" && u.Host != "localhost" || u.Path == "" {
			p.addError(v.origin, "is %q but must be a path or a URL of this machine, "+
				"e.g. file:///run/secrets/gdrive.json", v.text)
			return ""
		}
		path = filepath.FromSlash(u.Path)
		if runtime.GOOS == "windows" { // file:///C:/x has the path /C:/x
			path = strings.TrimPrefix(path, `\`)
		}
	case isURL:
		p.addError(v.origin, "is an address of %s but must be the path of a file on this machine",
			strings.ToLower(scheme))
		return ""
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(folder, path)
	}
	return filepath.Clean(path)
}

// checkCredentials checks the credentials file at a path without printing any of its content.
func (p *problems) checkCredentials(origin, path string) credentialsKind {
	file := origin + " names the credentials file " + path + ", which"
	data, info, ok := p.readNamed(file, path)
	if !ok {
		return ""
	}
	p.warnFileMode(file, info)
	const again = "; download the key from Google again"

	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, new(json.RawMessage)); err != nil {
		line, column := position(data, syntaxOffset(data, err))
		p.addError(file, "is not valid JSON (line %d, column %d)"+again, line, column)
		return ""
	}
	if json.Unmarshal(data, &fields) != nil || fields == nil {
		p.addError(file, "is not a JSON object"+again)
		return ""
	}
	field := func(name string) string {
		var s string
		_ = json.Unmarshal(fields[name], &s) // missing or of another type: empty
		return s
	}
	kind := credentialsKind(field("type"))
	switch needed := neededFields[kind]; {
	case needed == nil && (fields["installed"] != nil || fields["web"] != nil):
		p.addError(file, "describes an OAuth client, not an account; "+
			"it must be the key of a service account, with type %s", serviceAccount)
		return ""
	case needed == nil:
		p.addError(file, "must have type %s or %s", serviceAccount, authorizedUser)
		return ""
	}
	for _, name := range neededFields[kind] {
		if field(name) == "" {
			p.addError(file, "lacks %s, which type %s needs"+again, name, kind)
		}
	}
	if key := field("private_key"); kind == serviceAccount && key != "" && !isPrivateKey(key) {
		p.addError(file, "has a private_key that is not an RSA key in PEM format; "+
			"were its line breaks (\\n) lost on the way?")
	}
	if uri := field("token_uri"); uri != "" {
		if u, err := url.Parse(uri); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			p.addError(file, "has a token_uri that is not an http or https URL")
		}
	}
	return kind
}

func isPrivateKey(text string) bool {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return false
	}
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		_, isRSA := key.(*rsa.PrivateKey)
		return isRSA
	}
	_, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	return err == nil
}
