package config

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/mail"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"unicode"
)

// The providers, as OpenPype names them.
const (
	GoogleDrive = "gdrive"      // of the sites of gdrive.json
	LocalDrive  = "local_drive" // of the active site: folders of this machine
)

// A Site is a storage that has files, such as a Google Drive of gdrive.json.
type Site struct {
	Name     string // key in gdrive.json, and name in the documents
	Provider string // the kind of storage

	// Root are its folders: on a Google Drive "/My Drive[/...]" or "/SHARED DRIVE[/...]", or several by name, without
	// slashes at their ends.
	Root  Roots
	Links []string // of LocalDrive: folders outside of Root that symbolic links in it may lead to

	// Of GoogleDrive.
	Credentials string // absolute path of the JSON file with the credentials
	Subject     string // e-mail address of the user to act for, by domain-wide delegation; may be empty
	Endpoint    string // base URL of an emulator or a proxy, without a slash at its end; empty for Google's own
}

// siteKeys are the keys of a site of gdrive.json. subject and endpoint are additions of sitesync to Pype's.
var siteKeys = []string{"credentials_url", "root", "subject", "endpoint"}

// readSites reads gdrive.json. Missing keys are reported only for the site in use, wrong values for all. Relative paths
// start from folder.
func readSites(file object, folder, inUse string) map[string]Site {
	const want = "an object with credentials_url and root"
	sites := map[string]Site{}
	for _, key := range file.keys {
		name := strings.TrimSpace(key)
		if !validSiteName(name) {
			file.addError(file.at(key), "is %q but must be "+wantSiteName, key)
		}
		if _, twice := sites[name]; twice {
			file.addError(file.at(key), "is the site %q again, except for the blanks around it, which do not count; "+
				"remove one", name)
			continue
		}
		if name != key {
			file.addWarning(file.at(key), "is read as %q; the blanks around it are ignored, as Pype does", name)
		}
		s := Site{Name: name, Provider: GoogleDrive}
		if o, ok := file.object(key, want); ok {
			s.read(o, folder, name == inUse)
		} else if _, set := file.get(key); !set && name == inUse {
			file.wrongKind(key, want)
		}
		sites[name] = s
	}
	return sites
}

func (s *Site) read(o object, folder string, inUse bool) {
	o.warnUnknown(siteKeys...)
	kind := credentialsKind("")

	const wantFile = "the path of a JSON file with the credentials"
	before := len(o.errs)
	if v, ok := o.scalar("credentials_url", wantFile, aString); ok && v.text != "" {
		s.Credentials = o.credentialsPath(v, folder)
		if inUse && s.Credentials != "" {
			kind = o.checkCredentials(v.origin, s.Credentials)
		}
	} else if inUse && len(o.errs) == before {
		o.addError(o.at("credentials_url"), "is missing but must be "+wantFile)
	}

	before = len(o.errs)
	s.Root = o.roots("root", checkRemoteRoot)
	if inUse && len(s.Root) == 0 && len(o.errs) == before {
		o.addError(o.at("root"), `is missing but must be a folder, e.g. "/%s/studio" or "/SHARED DRIVE NAME", `+
			`or an object {"NAME": "PATH"}`, myDrive)
	}
	for root, path := range s.Root.All() {
		if first, _, _ := strings.Cut(path[1:], "/"); strings.EqualFold(first, myDrive) && first != myDrive {
			keys := []string{"root"}
			if root != "" {
				keys = append(keys, strings.Split(root, "][")...)
			}
			o.addWarning(o.at(keys...), `is %q, which names a shared drive; did you mean "/%s"?`, path, myDrive)
		}
	}

	if v, ok := o.scalar("subject", "an e-mail address", aString); ok && v.text != "" {
		address, err := mail.ParseAddress(v.text)
		switch {
		case err != nil || address.Address != v.text:
			o.addError(v.origin, "is %q but must be the e-mail address of the user to act for, "+
				"e.g. pipeline@studio.example", v.text)
		case kind == authorizedUser:
			o.addError(v.origin, "is %q, but only a service account can act for a user, "+
				"and credentials_url has a user's own credentials; remove subject", v.text)
		}
		s.Subject = v.text
	}
	if v, ok := o.scalar("endpoint", "a URL", aString); ok && v.text != "" {
		s.Endpoint = strings.TrimRight(v.text, "/")
		o.checkEndpoint(v)
	}
}

func (p *problems) checkEndpoint(v value) {
	const want = "the absolute http or https URL of an emulator or a proxy, e.g. http://127.0.0.1:9000, " +
		"or absent to use Google's"
	u, err := url.Parse(v.text)
	switch {
	case err == nil && u.User != nil:
		p.addError(v.origin, "has a user or password in it, which is not supported, but must be "+want)
	case err != nil && strings.Contains(v.text, "@"): // it may contain a password
		p.addError(v.origin, "is not a URL but must be "+want)
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery+u.Fragment != "":
		p.addError(v.origin, "is %q but must be "+want, v.text)
	}
}

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
	data, _, ok := p.readNamed(file, path, true)
	if !ok {
		return ""
	}
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
