package config

import (
	"net/url"
	"slices"
	"strings"
)

// Options of a connection string that name files, in lower case, as the driver knows them.
var (
	keyFiles = []string{"tlscertificatekeyfile", "sslclientcertificatekeyfile", "tlsprivatekeyfile"}
	tlsFiles = append([]string{"tlscafile", "sslcertificateauthorityfile", "tlscertificatefile"}, keyFiles...)
)

// checkTLS checks the TLS options of a connection string and reports whether all files that it names can be read. The
// driver reads them too, but its error does not name the file.
func (p *problems) checkTLS(origin string, u URI) bool {
	_, query, _ := strings.Cut(string(u), "?")
	readable := true
	for pair := range strings.FieldsFuncSeq(query, isOptionSeparator) {
		name, text, _ := strings.Cut(pair, "=")
		value, err := url.QueryUnescape(text)
		if err != nil {
			continue // reported by URI.check
		}
		switch key := strings.ToLower(name); {
		case slices.Contains(tlsFiles, key):
			file := origin + " names the file " + value + " in " + name + ", which"
			_, info, ok := p.readNamed(file, value)
			readable = readable && ok
			if ok && slices.Contains(keyFiles, key) {
				p.warnFileMode(file, info)
			}
		case (key == "tlsinsecure" || key == "sslinsecure") && value == "true":
			p.addWarning(origin, "has %s=true, so anyone between here and the database can read and change everything"+
				"; name the CA file of the servers by tlsCAFile instead", name)
		}
	}
	return readable
}

func isOptionSeparator(r rune) bool { return r == '&' || r == ';' }
