package config

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Mongo says where the documents are.
type Mongo struct {
	// URI is the connection string.
	URI URI
	// Database is the one whose collections are the projects.
	Database string
	// State is sitesync's own database; another one than Database.
	State string
}

// A URI is a MongoDB connection string. However it is printed or encoded, its
// password does not show; only Reveal gives it away.
type URI string

// Reveal is the connection string with its password, for the driver.
func (u URI) Reveal() string { return string(u) }

var secretOption = regexp.MustCompile(`(?i)\b(tlsCertificateKeyFilePassword|sslClientCertificateKeyPassword|authMechanismProperties)=[^&;]*`)

// Redacted is the connection string with *** for all that is secret.
func (u URI) Redacted() string {
	text := secretOption.ReplaceAllString(string(u), "$1=***")
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		scheme, rest = "", text
	} else {
		scheme += "://"
	}
	// The last @, not the first: an unescaped one may stand in the password.
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return scheme + rest
	}
	if user, _, ok := strings.Cut(rest[:at], ":"); ok {
		return scheme + user + ":***" + rest[at:]
	}
	return scheme + rest
}

// String is Redacted.
func (u URI) String() string { return u.Redacted() }

// Format prints Redacted, whatever the verb.
func (u URI) Format(f fmt.State, verb rune) {
	if verb == 'q' || f.Flag('#') {
		_, _ = io.WriteString(f, strconv.Quote(u.Redacted()))
		return
	}
	_, _ = io.WriteString(f, u.Redacted())
}

// MarshalText is Redacted, for JSON.
func (u URI) MarshalText() ([]byte, error) { return []byte(u.Redacted()), nil }

func (s *settings) mongo(flags Flags) Mongo {
	m := Mongo{}
	switch v, ok := s.connection(flags); {
	case !ok:
		s.report.wrong("the MongoDB address", "is not given; set AVALON_MONGO or SITESYNC_MONGO, or give --mongo or --mongo-file, e.g. mongodb://HOST:27017/?replicaSet=NAME")
	case v.where != "": // else what is wrong is told
		m.URI = URI(strings.TrimSpace(v.text))
		s.checkURI(v.where, m.URI)
	}
	m.Database = s.database(setting{name: "db", flag: flags.DB, also: []string{"AVALON_DB"}}, "avalon")
	state := setting{name: "state-db", flag: flags.StateDB}
	m.State = s.database(state, "sitesync")
	if strings.EqualFold(m.State, m.Database) {
		s.report.wrong(s.where(state), "is %q, the database of the projects, but must be another one, as each collection of that is a project", m.State)
	}
	return m
}

// connection finds the connection string. One that was made for sitesync, also
// in a file, goes before the one that all of Pype has.
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
	if text, ok := s.env("AVALON_MONGO"); ok && text != "" {
		return value{"AVALON_MONGO", text}, true
	}
	return value{}, false
}

// connectionIn reads the connection string in a file; none if something is
// wrong with it, which is told.
func (s *settings) connectionIn(file value) value {
	data, info, err := readBounded(file.text)
	text := strings.TrimSpace(string(data))
	if err == nil && text == "" {
		err = errors.New("is empty")
	}
	if err != nil {
		s.report.wrong(file.where, "is %q but must be a file with the connection string of MongoDB: %s", file.text, plain(err))
		return value{}
	}
	v := value{file.where + ": " + file.text, text}
	if URI(text).Redacted() != text {
		warnReadable(v.where, info, s.report)
	}
	return v
}

func (s *settings) checkURI(where string, u URI) {
	if !checkTLS(where, u, s.report) {
		return // the driver would not say which file it is
	}
	if reason := u.check(); reason != "" {
		s.report.wrong(where, "is %q but must be a MongoDB connection string such as mongodb://USER:PASSWORD@HOST:27017/?replicaSet=NAME, with %%XX for special characters in the password: %s", u, reason)
	} else if where == "--mongo" && u.Redacted() != u.Reveal() {
		s.report.odd(where, "has a password in it, which everybody on this machine can see in the list of processes; give it by SITESYNC_MONGO")
	}
}

func (s *settings) database(st setting, def string) string {
	v, ok := s.find(st, "")
	if !ok {
		return def
	}
	switch {
	case v.text == "" || len(v.text) > 63 || strings.ContainsAny(v.text, "/\\. \"$*<>:|?\x00"):
		s.report.wrong(v.where, "is %q but must be the name of a database, 1 to 63 bytes without spaces or any of %s, e.g. %s", v.text, `/\."$*<>:|?`, def)
		return def
	case slices.Contains([]string{"admin", "config", "local"}, strings.ToLower(v.text)):
		s.report.wrong(v.where, "is %q, which belongs to MongoDB itself, but must be another database, e.g. %s", v.text, def)
		return def
	}
	return v.text
}

var quotedText = regexp.MustCompile(`"(\\.|[^"\\])*"`)

// check is why the driver would refuse the connection string; empty if it
// would not. What it quotes may be part of a password and is left out.
func (u URI) check() string {
	text := string(u)
	if rest, ok := strings.CutPrefix(text, "mongodb+srv://"); ok {
		// The driver would ask the DNS for the hosts and options, which is too
		// early here: check only what comes before the options.
		rest, _, _ = strings.Cut(rest, "?")
		text = "mongodb://" + rest
	}
	err := options.Client().ApplyURI(text).Validate()
	if err == nil {
		return ""
	}
	reason := err.Error()
	for _, noise := range []string{"error parsing uri: ", "error validating uri: "} {
		reason = strings.TrimPrefix(reason, noise)
	}
	_, query, _ := strings.Cut(u.Redacted(), "?")
	return quotedText.ReplaceAllStringFunc(reason, func(quoted string) string {
		word := strings.ToLower(strings.Trim(quoted, `"`))
		for pair := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' }) {
			if key, _, _ := strings.Cut(pair, "="); strings.ToLower(key) == word {
				return quoted
			}
		}
		if word == "mongodb" || word == "mongodb+srv" {
			return quoted
		}
		return `"..."`
	})
}
