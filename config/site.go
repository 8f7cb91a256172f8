package config

import (
	"net/mail"
	"net/url"
	"strings"
)

// GoogleDrive is the provider of the sites of gdrive.json, as OpenPype names it.
const GoogleDrive = "gdrive"

// A Site is a storage that files go to, such as a Google Drive of gdrive.json.
type Site struct {
	// Name is the site's key in gdrive.json and its name in the documents.
	Name string
	// Provider is the kind of storage.
	Provider string
	// Credentials is the absolute path of the JSON file with the credentials.
	Credentials string
	// Subject is the e-mail address of the user to act for, by domain-wide delegation; may be empty.
	Subject string
	// Endpoint is the base URL of an emulator or a proxy, without a slash at its end; empty for Google's own.
	Endpoint string
	// Root is "/My Drive[/...]" or "/SHARED DRIVE[/...]", or several of these by name, without slashes at their ends.
	Root Roots
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
		sites[name] = Site{Name: name, Provider: GoogleDrive}
		if o, ok := file.object(key, want); ok {
			sites[name] = readSite(o, name, folder, name == inUse)
		} else if _, set := file.get(key); !set && name == inUse {
			file.wrongKind(key, want)
		}
	}
	return sites
}

func readSite(o object, name, folder string, inUse bool) Site {
	o.warnUnknown(siteKeys...)
	s := Site{Name: name, Provider: GoogleDrive}
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
	if inUse && s.Root.IsZero() && len(o.errs) == before {
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
	return s
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
