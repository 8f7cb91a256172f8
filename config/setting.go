package config

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"

	"sitesync/duration"
)

// A setting is one setting and every place that can set it.
type setting struct {
	name    string   // of the flag, without the dashes
	flag    *string  // nil if not given
	aliases []string // other names of the environment variable
	key     string   // in config.json; empty if it cannot be set there
	// allowEmpty is whether an empty environment variable counts. Usually it does not: compose files and manifests pass
	// empty variables for what is not set.
	allowEmpty bool
}

// A value is the text of a setting and the place it was found in.
type value struct {
	origin string
	text   string
}

// settings finds and parses values: flag, environment, file, default.
type settings struct {
	*problems
	env  func(string) (string, bool)
	file object // config.json; empty if it cannot be read
}

func variable(name string) string {
	return "SITESYNC_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// find is the value that counts. kinds are the JSON types allowed in the file; want is for the error about another.
func (s *settings) find(st setting, want string, kinds ...kind) (value, bool) {
	if st.flag != nil {
		return value{"--" + st.name, *st.flag}, true
	}
	if v, ok := s.fromEnv(st); ok || st.key == "" {
		return v, ok
	}
	return s.file.scalar(st.key, want, kinds...)
}

// get is the value that counts, or the default.
func (s *settings) get(st setting, def, want string, kinds ...kind) value {
	if v, ok := s.find(st, want, kinds...); ok {
		return v
	}
	return value{"the default of --" + st.name, def}
}

func (s *settings) fromEnv(st setting) (value, bool) {
	for _, name := range append([]string{variable(st.name)}, st.aliases...) {
		if text, ok := s.env(name); ok && (text != "" || st.allowEmpty) {
			return value{name, text}, true
		}
	}
	return value{}, false
}

// origin names the place that decides a setting, for errors about two of them.
func (s *settings) origin(st setting) string {
	if st.flag != nil {
		return "--" + st.name
	}
	if v, ok := s.fromEnv(st); ok {
		return v.origin
	}
	if _, ok := s.file.get(st.key); ok && st.key != "" {
		return s.file.at(st.key)
	}
	return "the default of --" + st.name
}

func (s *settings) integer(st setting, def, min, max int) int {
	want := fmt.Sprintf("a whole number from %d to %d, e.g. %d", min, max, def)
	v := s.get(st, strconv.Itoa(def), want, aNumber, aString)
	// As a float, because JSON writers may write 3.0 or 3e0 for 3.
	f, err := strconv.ParseFloat(strings.TrimSpace(v.text), 64)
	if err != nil || f != math.Trunc(f) || !(f >= float64(min) && f <= float64(max)) {
		s.addError(v.origin, "is %q but must be %s", v.text, want)
		return def
	}
	return int(f)
}

// duration accepts a bare number as seconds, as Pype does, and Go's durations.
func (s *settings) duration(st setting, def, min, max time.Duration) time.Duration {
	want := fmt.Sprintf("a number of seconds or a duration such as 90s, 5m or 1h, from %s to %s",
		duration.Exact(min), duration.Exact(max))
	v := s.get(st, def.String(), want, aNumber, aString)
	text := strings.TrimSpace(v.text)
	d, err := time.ParseDuration(text)
	if seconds, bare := strconv.ParseFloat(text, 64); bare == nil && math.Abs(seconds) < 1e9 {
		d, err = time.Duration(math.Round(seconds*1e9)), nil
	}
	if err != nil || d < min || d > max {
		s.addError(v.origin, "is %q but must be %s", v.text, want)
		return def
	}
	return d
}

func (s *settings) oneOf(st setting, def string, words ...string) string {
	v := s.get(st, def, "")
	if text := strings.ToLower(strings.TrimSpace(v.text)); slices.Contains(words, text) {
		return text
	}
	last := len(words) - 1
	s.addError(v.origin, "is %q but must be %s or %s%s", v.text, strings.Join(words[:last], ", "), words[last],
		didYouMean(v.text, words))
	return def
}

func (s *settings) boolean(name string, flag *bool) bool {
	if flag != nil {
		return *flag
	}
	v := s.get(setting{name: name}, "false", "")
	b, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(v.text)))
	if err != nil {
		s.addError(v.origin, "is %q but must be true or false", v.text)
	}
	return b
}

const wantSiteName = `the name of a site, without "." in it or "$" at its start`

// siteName is a name that can be a field name, as it is in documents whose sites are a dict. Blanks around it do not
// count: Pype removes them when it publishes, so no record has them.
func (s *settings) siteName(st setting, def string) string {
	want := wantSiteName
	if st.allowEmpty {
		want += ", or empty"
	}
	v := s.get(st, def, want, aString)
	if st.allowEmpty && strings.TrimSpace(v.text) == "" {
		return def
	}
	if name, ok := s.checkSiteName(v, want); ok {
		return name
	}
	return def
}

// siteNames reads names from the flags or the environment, or a string or a list of strings from the file. A single one
// that is empty stands for none.
func (s *settings) siteNames(name, key string, flags []string) (names []string) {
	origin, values := s.list(name, flags)
	if len(values) == 0 {
		origin, values = s.file.at(key), s.file.texts(key, wantSiteName+", or a list of names")
	}
	if len(values) == 1 && strings.TrimSpace(values[0]) == "" {
		return nil
	}
	for _, text := range values {
		if site, ok := s.checkSiteName(value{origin, text}, wantSiteName); ok {
			names = append(names, site)
		}
	}
	return names
}

// checkSiteName is the name without the blanks around it.
func (s *settings) checkSiteName(v value, want string) (string, bool) {
	name := strings.TrimSpace(v.text)
	if !validSiteName(name) {
		s.addError(v.origin, "is %q but must be %s", v.text, want)
		return "", false
	}
	if name != v.text {
		s.addWarning(v.origin, "is %q; the blanks around %q are ignored, as Pype does", v.text, name)
	}
	return name, true
}

func validSiteName(name string) bool {
	return name != "" && !strings.ContainsAny(name, ".\x00") && name[0] != '$'
}

// presets finds the folder of the preset files.
func (s *settings) presets(flag *string) (string, bool) {
	v, ok := s.find(setting{name: "presets", flag: flag}, "")
	if pype, set := s.env("PYPE_CONFIG"); !ok && set && pype != "" {
		v, ok = value{"PYPE_CONFIG", filepath.Join(pype, "presets")}, true
	}
	if !ok || v.text == "" {
		s.addError("the presets folder", "is not given; name the folder of config.json and gdrive.json by --presets "+
			"or SITESYNC_PRESETS, or set PYPE_CONFIG to the folder above presets")
		return "", false
	}
	folder, err := filepath.Abs(v.text)
	if err != nil {
		s.addError(v.origin, "is %q: %s", v.text, withoutPath(err))
		return "", false
	}
	switch info, err := os.Stat(folder); {
	case err != nil:
		s.addError(v.origin, "names the presets folder %s: %s", folder, withoutPath(err))
		return "", false
	case !info.IsDir():
		s.addError(v.origin, "is %q, a file, but must be the folder of config.json and gdrive.json", v.text)
		return "", false
	}
	sub := filepath.Join(folder, "sync_server")
	if info, err := os.Stat(sub); err == nil && info.IsDir() {
		return sub, true
	}
	return folder, true
}

// list is a setting of several values: a flag that is repeated, or a variable with ; between the values.
func (s *settings) list(name string, flags []string) (origin string, values []string) {
	if v, ok := s.fromEnv(setting{name: name}); ok && len(flags) == 0 {
		return v.origin, strings.Split(strings.TrimSuffix(v.text, ";"), ";")
	}
	return "--" + name, flags
}

// localRoot reads [NAME=]PATH from the flags or the environment, or a string or dict from the file.
func (s *settings) localRoot(flags []string) Roots {
	origin, values := s.list("local-root", flags)
	if len(values) == 0 {
		return s.file.roots("local_root", checkLocalRoot)
	}
	roots := Roots{}
	for _, text := range values {
		name, path, named := strings.Cut(text, "=")
		if filepath.IsAbs(text) || !named {
			name, path = "", text
		} else if name == "" {
			s.addError(origin, "is %q, whose name is empty, but must be PATH or NAME=PATH", text)
			continue
		}
		if inner, ok := strings.CutPrefix(name, "["); ok && strings.HasSuffix(inner, "]") { // [KEY][KEY]
			name = strings.TrimSuffix(inner, "]")
		}
		if _, twice := roots[name]; twice || len(values) > 1 && name == "" {
			s.addError(origin, "has %q, but several roots must each have a name of their own: NAME=PATH", text)
			continue
		}
		path, err := checkLocalRoot(path)
		if err != nil {
			s.addError(origin, "is %q but %s", text, err)
			continue
		}
		roots[name] = path
	}
	return roots
}

// localRootLinks reads paths from the flags or the environment, or a string or a list of strings from the file.
func (s *settings) localRootLinks(flags []string) (folders []string) {
	const key = "local_root_links"
	origin, values := s.list("local-root-links", flags)
	if len(values) == 0 {
		origin, values = s.file.at(key), s.file.texts(key, "a path, or a list of paths")
	}
	for _, text := range values {
		folder, err := checkLocalRoot(text)
		if err == nil && folder == filepath.Dir(folder) {
			err = errors.New("must not be everything; name the folders that links lead to")
		}
		if err != nil {
			s.addError(origin, "is %q but %s", text, err)
			continue
		}
		folders = append(folders, folder)
	}
	return folders
}

// listen is the address of a listener, empty for none. Port 0 is any free one.
func (s *settings) listen(flag *string) string {
	const def = "127.0.0.1:9105"
	v := s.get(setting{name: "listen", flag: flag}, def, "")
	text := strings.TrimSpace(v.text)
	if text == "" || strings.EqualFold(text, "off") {
		return ""
	}
	host, port, err := net.SplitHostPort(text)
	if _, badPort := strconv.ParseUint(port, 10, 16); err != nil || badPort != nil || strings.ContainsAny(host, "/@ ") {
		s.addError(v.origin, "is %q but must be HOST:PORT, e.g. 127.0.0.1:9105 for this machine only "+
			"or 0.0.0.0:9105 for all, or off", v.text)
		return def
	}
	if !IsLoopback(host) {
		s.addWarning(v.origin, "is %q, so other machines can read the page, health and metrics without a password; "+
			"restrict access by a firewall", v.text)
	}
	return text
}

// IsLoopback reports whether a host, by name or address, is reachable from this machine only.
func IsLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
}

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
	data, _, ok := s.readNamed(file, v.text, true)
	if !ok {
		return ""
	}
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

// Nearest is the known word that was probably meant; empty if none is similar.
func Nearest(word string, known []string) string {
	plain := strings.NewReplacer("-", "_", " ", "_")
	w := plain.Replace(strings.ToLower(word))
	best, bestDistance := "", 0
	for _, candidate := range known {
		k := plain.Replace(strings.ToLower(candidate))
		d, length := levenshtein.ComputeDistance(w, k), utf8.RuneCountInString(k)
		// A third of the letters may differ: more is another word.
		if d <= max(1, max(utf8.RuneCountInString(w), length)/3) && d < length && (best == "" || d < bestDistance) {
			best, bestDistance = candidate, d
		}
	}
	return best
}

func didYouMean(word string, known []string) string {
	if n := Nearest(word, known); n != "" {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	return ""
}

// choices lists the known words and the nearest of them.
func choices(what string, known []string, word string) string {
	if len(known) == 0 {
		return what + " none"
	}
	quoted := make([]string, len(known))
	for i, k := range known {
		quoted[i] = fmt.Sprintf("%q", k)
	}
	return what + " " + strings.Join(quoted, ", ") + didYouMean(word, known)
}

// UnknownProject is the error that a database has no project of that name. It suggests the one that was probably meant.
func UnknownProject(name, database string, known []string) error {
	const maxListed = 10
	hint := fmt.Sprintf("but %q", known)
	switch near := Nearest(name, known); {
	case near != "":
		return fmt.Errorf("database %s has no project %q; did you mean %q?", database, name, near)
	case len(known) == 0:
		hint = "nor any other; is it the right one? (--db)"
	case len(known) > maxListed:
		hint = fmt.Sprintf("but %d others, such as %q", len(known), known[0])
	}
	return fmt.Errorf("database %s has no project %q, %s", database, name, hint)
}
