package config

import (
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Mongo says where the documents are.
type Mongo struct {
	URI      URI
	Database string // the one whose collections are the projects
	State    string // sitesync's own database, another than Database
}

// A URI is a MongoDB connection string. No printed or encoded form shows its password; only Reveal does.
type URI string

// Reveal is the connection string with its password, for the driver.
func (u URI) Reveal() string { return string(u) }

var secretOption = regexp.MustCompile(
	`(?i)\b(tlsCertificateKeyFilePassword|sslClientCertificateKeyPassword|authMechanismProperties)=[^&;]*`)

// Redacted is the connection string with *** for each secret in it.
func (u URI) Redacted() string {
	text := secretOption.ReplaceAllString(string(u), "$1=***")
	scheme, rest, ok := strings.Cut(text, "://")
	if ok {
		scheme += "://"
	} else {
		scheme, rest = "", text
	}
	// The last @, as an unescaped one may be part of the password.
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		if user, _, ok := strings.Cut(rest[:at], ":"); ok {
			rest = user + ":***" + rest[at:]
		}
	}
	return scheme + rest
}

// Format prints Redacted for all verbs.
func (u URI) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, u.Redacted()) }

// MarshalText is Redacted, for JSON.
func (u URI) MarshalText() ([]byte, error) { return []byte(u.Redacted()), nil }

func (s *settings) mongo(flags Flags) Mongo {
	m := Mongo{}
	switch v, ok := s.connection(flags); {
	case !ok:
		s.addError("the MongoDB address", "is not given; set AVALON_MONGO or SITESYNC_MONGO, "+
			"or give --mongo or --mongo-file, e.g. mongodb://HOST:27017/?replicaSet=NAME")
	case v.origin != "": // otherwise the problem is reported already
		m.URI = URI(strings.TrimSpace(v.text))
		s.checkURI(v.origin, m.URI)
	}
	m.Database = s.database(setting{name: "db", flag: flags.DB, aliases: []string{"AVALON_DB"}}, "avalon")
	state := setting{name: "state-db", flag: flags.StateDB}
	m.State = s.database(state, "sitesync")
	if strings.EqualFold(m.State, m.Database) {
		s.addError(s.origin(state), "is %q, the database of the projects, but must be another one, "+
			"as each collection of that is a project", m.State)
	}
	return m
}

// connection finds the connection string. One for sitesync alone, also in a file, goes before AVALON_MONGO, which all
// of Pype uses.
func (s *settings) connection(flags Flags) (value, bool) {
	if flags.Mongo == nil && flags.MongoFile != nil {
		return s.connectionIn(value{"--mongo-file", *flags.MongoFile}), true
	}
	if v, ok := s.find(setting{name: "mongo", flag: flags.Mongo}, ""); ok {
		return v, true
	}
	if v, ok := s.fromEnv(setting{name: "mongo-file"}); ok {
		return s.connectionIn(v), true
	}
	text, ok := s.env("AVALON_MONGO")
	return value{"AVALON_MONGO", text}, ok && text != ""
}

// connectionIn reads the connection string from a file. It returns no value after it has reported a problem.
func (s *settings) connectionIn(v value) value {
	file := v.origin + " names the file " + v.text + ", which"
	data, info, ok := s.readNamed(file, v.text, false)
	if !ok {
		return value{}
	}
	text := strings.TrimSpace(string(data))
	if text == "" {
		s.addError(file, "is empty but must hold the connection string of MongoDB")
		return value{}
	}
	if URI(text).Redacted() != text {
		s.warnFileMode(file, info)
	}
	return value{v.origin + ": " + v.text, text}
}

func (s *settings) checkURI(origin string, u URI) {
	if !s.checkTLS(origin, u) {
		return // the driver would report the same files without their names
	}
	if reason := u.check(); reason != "" {
		s.addError(origin, "is %q but must be a MongoDB connection string such as "+
			"mongodb://USER:PASSWORD@HOST:27017/?replicaSet=NAME, with %%XX for special characters in the password: %s",
			u.Redacted(), reason)
	} else if origin == "--mongo" && u.Redacted() != u.Reveal() {
		s.addWarning(origin, "has a password in it, which everyone on this machine can see in the list of processes; "+
			"give it by SITESYNC_MONGO")
	}
}

func (s *settings) database(st setting, def string) string {
	v := s.get(st, def, "")
	switch {
	case v.text == "" || len(v.text) > 63 || strings.ContainsAny(v.text, "/\\. \"$*<>:|?\x00"):
		s.addError(v.origin, "is %q but must be the name of a database, 1 to 63 bytes without spaces or any of %s, "+
			"e.g. %s", v.text, `/\."$*<>:|?`, def)
	case slices.Contains([]string{"admin", "config", "local"}, strings.ToLower(v.text)):
		s.addError(v.origin, "is %q, which belongs to MongoDB itself, but must be another database, e.g. %s",
			v.text, def)
	default:
		return v.text
	}
	return def
}

var quotedText = regexp.MustCompile(`"(\\.|[^"\\])*"`)

// check is why the driver would reject the connection string; empty if it would not. Quoted words that may be part of a
// password are left out.
func (u URI) check() string {
	text := string(u)
	if rest, ok := strings.CutPrefix(text, "mongodb+srv://"); ok {
		// The driver would ask the DNS for hosts and options, which is too early here. Check only what precedes them.
		rest, _, _ = strings.Cut(rest, "?")
		text = "mongodb://" + rest
	}
	err := options.Client().ApplyURI(text).Validate()
	if err == nil {
		return ""
	}
	reason := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "error parsing uri: "), "error validating uri: ")
	harmless := []string{"mongodb", "mongodb+srv"}
	_, query, _ := strings.Cut(u.Redacted(), "?")
	for pair := range strings.FieldsFuncSeq(query, isOptionSeparator) {
		key, _, _ := strings.Cut(pair, "=")
		harmless = append(harmless, strings.ToLower(key))
	}
	return quotedText.ReplaceAllStringFunc(reason, func(quoted string) string {
		if slices.Contains(harmless, strings.ToLower(strings.Trim(quoted, `"`))) {
			return quoted
		}
		return `"..."`
	})
}

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
			_, _, ok := p.readNamed(file, value, slices.Contains(keyFiles, key))
			readable = readable && ok
		case (key == "tlsinsecure" || key == "sslinsecure") && value == "true":
			p.addWarning(origin, "has %s=true, so anyone between here and the database can read and change everything"+
				"; name the CA file of the servers by tlsCAFile instead", name)
		}
	}
	return readable
}

func isOptionSeparator(r rune) bool { return r == '&' || r == ';' }
