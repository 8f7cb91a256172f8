package config

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
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

// credentialsPath is the absolute path that credentials_url means: a path,
// relative to folder, or a file:// URL. Empty if it is wrong.
func credentialsPath(v value, folder string, r *report) string {
	path := v.text
	scheme, _, isURL := strings.Cut(path, "://")
	switch {
	case strings.HasPrefix(strings.TrimSpace(path), "{"):
		r.wrong(v.where, "holds the credentials themselves but must be the path of a file with them")
		return ""
	case strings.ContainsFunc(path, unicode.IsControl):
		r.wrong(v.where, "has a line break or another control character in it but must be the path of a file")
		return ""
	case isURL && strings.EqualFold(scheme, "file"):
		u, err := url.Parse(path)
		if err != nil || u.Host != "" && u.Host != "localhost" || u.Path == "" {
			r.wrong(v.where, "is %q but must be a path or a URL of this machine, e.g. file:///run/secrets/gdrive.json", v.text)
			return ""
		}
		path = filepath.FromSlash(u.Path)
		if runtime.GOOS == "windows" { // file:///C:/x has the path /C:/x
			path = strings.TrimPrefix(path, `\`)
		}
	case isURL:
		r.wrong(v.where, "is an address of %s but must be the path of a file on this machine", strings.ToLower(scheme))
		return ""
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(folder, path)
	}
	return filepath.Clean(path)
}

// checkCredentials looks into the file. Nothing of its content is ever printed.
func checkCredentials(where, path string, r *report) credentialsKind {
	data, info, err := readBounded(path)
	if err != nil {
		mend := ""
		if errors.Is(err, fs.ErrPermission) {
			mend = fmt.Sprintf("; sitesync runs as user %d", os.Getuid())
		}
		r.wrong(where, "names the credentials file %s, which cannot be read: %s%s", path, plain(err), mend)
		return ""
	}
	warnReadable(where+" names the credentials file "+path, info, r)
	return checkCredentialsContent(where+" names the credentials file "+path+", which", data, r)
}

// warnReadable warns of a file with a secret that others can read. The mode is that of the file itself: Kubernetes
// mounts links to it. A file of another user can only be read by us through its group or an access list, whose bits
// are the group's; Kubernetes (fsGroup) and systemd (LoadCredential) hand out secrets so.
func warnReadable(file string, info fs.FileInfo, r *report) {
	others := fs.FileMode(0o077)
	if !isOurs(info) {
		others = 0o007
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&others != 0 {
		r.odd(file+",", "which others can read (mode %04o); run chmod 600 on it (Kubernetes: set defaultMode: 0440 on the secret's volume, and fsGroup)", mode)
	}
}

func checkCredentialsContent(where string, data []byte, r *report) credentialsKind {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, new(json.RawMessage)); err != nil {
		line, column := position(data, syntaxOffset(data, err))
		r.wrong(where, "is not valid JSON (line %d, column %d); download the key from Google anew", line, column)
		return ""
	}
	if json.Unmarshal(data, &fields) != nil || fields == nil {
		r.wrong(where, "is not a JSON object; download the key from Google anew")
		return ""
	}
	field := func(name string) string {
		var s string
		_ = json.Unmarshal(fields[name], &s) // absent or of another type: not there
		return s
	}
	var needed []string
	kind := credentialsKind(field("type"))
	switch kind {
	case serviceAccount:
		needed = []string{"client_email", "private_key", "token_uri"}
	case authorizedUser:
		needed = []string{"client_id", "client_secret", "refresh_token"}
	default:
		if fields["installed"] != nil || fields["web"] != nil {
			r.wrong(where, "describes an OAuth client, not an account; it must be the key of a service account, with type %s", serviceAccount)
		} else {
			r.wrong(where, "must have type %s or %s", serviceAccount, authorizedUser)
		}
		return ""
	}
	for _, name := range needed {
		if field(name) == "" {
			r.wrong(where, "lacks %s, which type %s needs; download the key from Google anew", name, kind)
		}
	}
	if key := field("private_key"); kind == serviceAccount && key != "" && !isPrivateKey(key) {
		r.wrong(where, "has a private_key that is not an RSA key in PEM form; were its line breaks (\\n) lost on the way?")
	}
	if uri := field("token_uri"); uri != "" {
		if u, err := url.Parse(uri); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			r.wrong(where, "has a token_uri that is not an http or https URL")
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
