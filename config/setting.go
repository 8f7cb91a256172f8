package config

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sitesync/duration"
)

// A setting is one thing that can be told, and every place it can be told in.
type setting struct {
	name string   // of the flag, without the dashes
	flag *string  // nil if not given
	also []string // older names of the environment variable
	key  string   // in config.json; empty if it cannot stand there
	// mayBeEmpty is whether an empty environment variable says something.
	// Mostly it doesn't: compose files and manifests hand down empty variables
	// for what nobody has set.
	mayBeEmpty bool
}

// A value is what was told, and where.
type value struct {
	where string
	text  string
}

// settings finds and understands values: flag, environment, file, default.
type settings struct {
	env    func(string) (string, bool)
	file   object // config.json; empty if it could not be read
	report *report
}

func variable(name string) string {
	return "SITESYNC_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// find is the value that counts. kinds are the JSON types allowed in the file;
// want is what the error says about another one.
func (s *settings) find(st setting, want string, kinds ...kind) (value, bool) {
	if st.flag != nil {
		return value{"--" + st.name, *st.flag}, true
	}
	if v, ok := s.fromEnv(st); ok {
		return v, true
	}
	if st.key == "" {
		return value{}, false
	}
	return s.file.scalar(st.key, want, kinds...)
}

func (s *settings) fromEnv(st setting) (value, bool) {
	for _, name := range append([]string{variable(st.name)}, st.also...) {
		if text, ok := s.env(name); ok && (text != "" || st.mayBeEmpty) {
			return value{name, text}, true
		}
	}
	return value{}, false
}

// where names the place that decides a setting, for errors about two of them.
func (s *settings) where(st setting) string {
	switch v, ok := s.fromEnv(st); {
	case st.flag != nil:
		return "--" + st.name
	case ok:
		return v.where
	case st.key != "" && s.file.has(st.key):
		return s.file.at(st.key)
	}
	return "the default of --" + st.name
}

func (s *settings) integer(st setting, def, least, most int) int {
	want := fmt.Sprintf("a whole number from %d to %d, e.g. %d", least, most, def)
	v, ok := s.find(st, want, aNumber, aString)
	if !ok {
		return def
	}
	// As a float, because JSON writers may give 3.0 or 3e0 for 3.
	f, err := strconv.ParseFloat(strings.TrimSpace(v.text), 64)
	if err != nil || f != math.Trunc(f) || !(f >= float64(least) && f <= float64(most)) {
		s.report.wrong(v.where, "is %q but must be %s", v.text, want)
		return def
	}
	return int(f)
}

// duration understands a bare number as seconds, like Pype, and Go's durations.
func (s *settings) duration(st setting, def, least, most time.Duration) time.Duration {
	want := fmt.Sprintf("a number of seconds or a duration such as 90s, 5m or 1h, from %s to %s", duration.Exact(least), duration.Exact(most))
	v, ok := s.find(st, want, aNumber, aString)
	if !ok {
		return def
	}
	text := strings.TrimSpace(v.text)
	d, err := time.ParseDuration(text)
	if err != nil {
		d, err = time.ParseDuration(text + "s")
	}
	if f, e := strconv.ParseFloat(text, 64); err != nil && e == nil && math.Abs(f) < 1e9 {
		d, err = time.Duration(f*float64(time.Second)), nil // 6e1, as JSON may have it
	}
	if err != nil || d < least || d > most {
		s.report.wrong(v.where, "is %q but must be %s", v.text, want)
		return def
	}
	return d
}

// oneOf is one of a few words.
func (s *settings) oneOf(st setting, def string, words ...string) string {
	v, ok := s.find(st, "")
	if !ok {
		return def
	}
	if text := strings.ToLower(strings.TrimSpace(v.text)); slices.Contains(words, text) {
		return text
	}
	s.report.wrong(v.where, "is %q but must be %s%s", v.text, either(words), didYouMean(v.text, words))
	return def
}

func (s *settings) boolean(name string, flag *bool) bool {
	if flag != nil {
		return *flag
	}
	v, ok := s.fromEnv(setting{name: name})
	if !ok {
		return false
	}
	b, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(v.text)))
	if err != nil {
		s.report.wrong(v.where, "is %q but must be true or false", v.text)
	}
	return b
}

// siteName checks what a name must be to serve as a field name, which it is in
// documents whose sites are a dict. Blanks around it are no part of it: Pype
// takes them off when it publishes, so no record has them.
func (s *settings) siteName(st setting, def string) string {
	want := `the name of a site, without "." in it or "$" at its start`
	if st.mayBeEmpty {
		want += ", or empty"
	}
	v, ok := s.find(st, want, aString)
	if !ok {
		return def
	}
	name := strings.TrimSpace(v.text)
	if name == "" && st.mayBeEmpty {
		return def
	}
	if !validSiteName(name) {
		s.report.wrong(v.where, "is %q but must be %s", v.text, want)
		return def
	}
	if name != v.text {
		s.report.odd(v.where, "is %q; the blanks around %q are ignored, as Pype does", v.text, name)
	}
	return name
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
		s.report.wrong("the presets folder", "is not given; name the folder of config.json and gdrive.json by --presets or SITESYNC_PRESETS, or set PYPE_CONFIG to the folder above presets")
		return "", false
	}
	folder, err := filepath.Abs(v.text)
	if err != nil {
		s.report.wrong(v.where, "is %q: %s", v.text, plain(err))
		return "", false
	}
	info, err := os.Stat(folder)
	switch {
	case err != nil:
		s.report.wrong(v.where, "names the presets folder %s: %s", folder, plain(err))
		return "", false
	case !info.IsDir():
		s.report.wrong(v.where, "is %q, a file, but must be the folder of config.json and gdrive.json", v.text)
		return "", false
	}
	if sub := filepath.Join(folder, "sync_server"); isDir(sub) {
		folder = sub
	}
	return folder, true
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// localRoot reads [NAME=]PATH from the flags, the same separated by ; from the
// environment, or a string or dict from the file.
func (s *settings) localRoot(flags []string) Roots {
	const name, key = "local-root", "local_root"
	where, given := "--"+name, flags
	if len(flags) == 0 {
		if v, ok := s.fromEnv(setting{name: name}); ok {
			where, given = v.where, strings.Split(strings.TrimSuffix(v.text, ";"), ";")
		}
	}
	if len(given) == 0 {
		return s.file.roots(key, checkLocalRoot)
	}
	named := map[string]string{}
	for _, text := range given {
		root, path, ok := strings.Cut(text, "=")
		if filepath.IsAbs(text) || !ok {
			root, path = "", text
		} else if root == "" {
			s.report.wrong(where, "is %q, whose name is empty, but must be PATH or NAME=PATH", text)
			continue
		}
		root = rootNameOf(root)
		if _, twice := named[root]; twice || len(given) > 1 && root == "" {
			s.report.wrong(where, "has %q, but several roots must each have a name of their own: NAME=PATH", text)
			continue
		}
		path, err := checkLocalRoot(path)
		if err != nil {
			s.report.wrong(where, "is %q but %s", text, err)
			continue
		}
		named[root] = path
	}
	if path, ok := named[""]; ok {
		return OneRoot(path)
	}
	return NamedRoots(named)
}

// localRootLinks reads paths from the flags, separated by ; from the environment,
// or a string or a list of strings from the file.
func (s *settings) localRootLinks(flags []string) []string {
	const name, key = "local-root-links", "local_root_links"
	where, given := "--"+name, flags
	if len(given) == 0 {
		if v, ok := s.fromEnv(setting{name: name}); ok {
			where, given = v.where, strings.Split(strings.TrimSuffix(v.text, ";"), ";")
		} else if s.file.has(key) {
			where, given = s.file.at(key), s.file.texts(key, "a path, or a list of paths")
		}
	}
	var folders []string
	for _, text := range given {
		folder, err := checkLocalRoot(text)
		if err == nil && folder == filepath.Dir(folder) {
			err = errors.New("must not be everything; name the folders that links lead to")
		}
		if err != nil {
			s.report.wrong(where, "is %q but %s", text, err)
			continue
		}
		folders = append(folders, folder)
	}
	return folders
}
