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
	// Subject is the e-mail address of the user to act for, by domain-wide
	// delegation; mostly empty.
	Subject string
	// Endpoint is the base URL to use instead of Google's, without a slash at
	// its end; for an emulator or a proxy, mostly empty.
	Endpoint string
	// Root is "/My Drive[/...]" or "/SHARED DRIVE[/...]", or several of these
	// by name, without slashes at their ends.
	Root Roots
}

// siteKeys are what a site of gdrive.json may have. subject and endpoint are
// additions of sitesync, the others are Pype's.
var siteKeys = []string{"credentials_url", "root", "subject", "endpoint"}

// readSites reads gdrive.json. What a site lacks is told only of the one in
// use; what is wrong is told of all. folder is what relative paths start from.
func readSites(file object, folder, inUse string) map[string]Site {
	sites := map[string]Site{}
	for _, key := range file.keys {
		name := strings.TrimSpace(key)
		if !validSiteName(name) {
			file.report.wrong(file.at(key), `is %q but must be the name of a site, without "." in it or "$" at its start`, key)
		}
		if _, twice := sites[name]; twice {
			file.report.wrong(file.at(key), "is the site %q again, but for the blanks around it, which do not count; remove one", name)
			continue
		}
		if name != key {
			file.report.odd(file.at(key), "is taken for %q; the blanks around it are ignored, as Pype does", name)
		}
		o, ok := file.object(key, "an object with credentials_url and root")
		if !ok { // its name exists; what is wrong with it is told
			if name == inUse && kindOf(file.values[key]) == aNull {
				file.wrongKind(key, "an object with credentials_url and root")
			}
			sites[name] = Site{Name: name, Provider: GoogleDrive}
			continue
		}
		sites[name] = readSite(o, name, folder, name == inUse)
	}
	return sites
}

func readSite(o object, name, folder string, inUse bool) Site {
	o.warnUnknown(siteKeys...)
	s := Site{Name: name, Provider: GoogleDrive}

	const wantFile = "the path of a JSON file with the credentials"
	before := len(o.report.errs)
	v, ok := o.scalar("credentials_url", wantFile, aString)
	told := len(o.report.errs) > before
	switch {
	case ok && v.text != "":
		s.Credentials = credentialsPath(v, folder, o.report)
	case inUse && !told:
		o.report.wrong(o.at("credentials_url"), "is missing but must be %s", wantFile)
	}
	kind := credentialsKind("")
	if inUse && s.Credentials != "" {
		kind = checkCredentials(v.where, s.Credentials, o.report)
	}

	before = len(o.report.errs)
	s.Root = o.roots("root", checkRemoteRoot)
	if inUse && s.Root.IsZero() && len(o.report.errs) == before {
		o.report.wrong(o.at("root"), `is missing but must be a folder, e.g. "/My Drive/studio" or "/SHARED DRIVE NAME", or an object {"NAME": "PATH"}`)
	}
	for root, path := range s.Root.All() {
		if first, _, _ := strings.Cut(path[1:], "/"); strings.EqualFold(first, myDrive) && first != myDrive {
			where := []string{"root"}
			if root != "" {
				where = append(where, strings.Split(root, "][")...)
			}
			o.report.odd(o.at(where...), `is %q, which names a shared drive; did you mean "/%s"?`, path, myDrive)
		}
	}

	if v, ok := o.scalar("subject", "an e-mail address", aString); ok && v.text != "" {
		address, err := mail.ParseAddress(v.text)
		switch {
		case err != nil || address.Address != v.text:
			o.report.wrong(v.where, "is %q but must be the e-mail address of the user to act for, e.g. pipeline@studio.example", v.text)
		case kind == authorizedUser:
			o.report.wrong(v.where, "is %q, but acting for a user takes a service account, and credentials_url has a user's own credentials; drop subject", v.text)
		}
		s.Subject = v.text
	}
	if v, ok := o.scalar("endpoint", "a URL", aString); ok && v.text != "" {
		s.Endpoint = strings.TrimRight(v.text, "/")
		checkEndpoint(v, o.report)
	}
	return s
}

func checkEndpoint(v value, r *report) {
	const want = "the absolute http or https URL of an emulator or a proxy, e.g. http://127.0.0.1:9000, or absent to use Google's"
	u, err := url.Parse(v.text)
	switch {
	case err == nil && u.User != nil:
		r.wrong(v.where, "has a user or password in it, which is not supported, but must be %s", want)
	case err != nil && strings.Contains(v.text, "@"): // perhaps with a password: not to be printed
		r.wrong(v.where, "is not a URL but must be %s", want)
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "":
		r.wrong(v.where, "is %q but must be %s", v.text, want)
	}
}
