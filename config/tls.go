package config

import (
	"net/url"
	"slices"
	"strings"
)

// Options of a connection string that name files, by the names that the driver knows, in small letters.
var (
	keyFiles = []string{"tlscertificatekeyfile", "sslclientcertificatekeyfile", "tlsprivatekeyfile"}
	tlsFiles = append([]string{"tlscafile", "sslcertificateauthorityfile", "tlscertificatefile"}, keyFiles...)
)

// checkTLS looks at what a connection string says of TLS. It reports whether all files that it names can be read; the
// driver, which reads them too, would say why not but not whose they are.
func checkTLS(where string, u URI, r *report) bool {
	_, query, _ := strings.Cut(string(u), "?")
	readable := true
	for pair := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' }) {
		name, text, _ := strings.Cut(pair, "=")
		value, err := url.QueryUnescape(text)
		if err != nil {
			continue // told of by URI.check
		}
		switch key := strings.ToLower(name); {
		case slices.Contains(tlsFiles, key):
			_, info, err := readBounded(value)
			if err != nil {
				r.wrong(where, "names the file %s in %s, which cannot be read: %s", value, name, plain(err))
				readable = false
			} else if slices.Contains(keyFiles, key) {
				warnReadable(where+" names the file "+value+" in "+name, info, r)
			}
		case (key == "tlsinsecure" || key == "sslinsecure") && value == "true":
			r.odd(where, "has %s=true, so whoever is on the way to the database can read and change everything; "+
				"name the file of the servers' CA by tlsCAFile instead", name)
		}
	}
	return readable
}
