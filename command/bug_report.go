package command

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"sitesync/config"
	"sitesync/explain"
	"sitesync/state"
)

// bugReport is what one has to know of an installation to find a bug. It has no secrets: no password, key or token is
// in any of its sources, which are the same as those of the log.
type bugReport struct {
	strings.Builder
	names redactor
}

func (b *bugReport) section(name string) { fmt.Fprintf(b, "\n== %s\n", name) }

func (b *bugReport) field(name string, value any) { fmt.Fprintf(b, "%-17s %v\n", name, value) }

// printBugReport prints the report of an installation. Its error is errFailed if the check in it has failed.
func printBugReport(ctx context.Context, flags *config.Flags, anonymous bool) error {
	var b bugReport
	fmt.Fprintf(&b, "sitesync report of %s\n", time.Now().UTC().Format(time.RFC3339))
	b.section("program")
	b.program()
	cfg, warnings, err := config.Load(*flags, os.LookupEnv)
	var e *env
	var connErr error
	if err == nil {
		b.section("settings")
		for _, f := range cfg.Settings() {
			b.field(f[0], f[1])
		}
		b.section("MongoDB")
		if e, connErr = newEnv(cfg); connErr != nil {
			b.field("error", connErr)
		} else {
			defer e.close()
			b.mongo(ctx, e)
		}
	}
	b.section("check")
	r := checkPrinter{out: &b}
	checkConfig(&r, warnings, err)
	if err == nil {
		runCheck(ctx, &r, cfg, e, connErr)
		b.section("status")
		if connErr != nil {
			b.field("error", connErr)
		} else {
			b.status(ctx, e)
		}
		b.addNames(ctx, cfg, e)
	}
	text := b.String()
	if anonymous {
		text = b.names.redact(text)
	}
	if _, err := os.Stdout.WriteString(text); err != nil || !r.failed {
		return err
	}
	return errFailed
}

// program is what runs, and on what.
func (b *bugReport) program() {
	build := thisBuild()
	b.field("sitesync", build.release())
	b.field("go", build.Go)
	b.field("platform", fmt.Sprintf("%s, %d processors", build.Platform, runtime.NumCPU()))
	if name, err := os.ReadFile("/etc/os-release"); err == nil { // of a container: its image's
		for line := range strings.Lines(string(name)) {
			if value, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
				b.field("system", sanitize(strings.Trim(strings.TrimSpace(value), `"`)))
			}
		}
	}
}

func (b *bugReport) mongo(ctx context.Context, e *env) {
	var build struct {
		Version string   `bson:"version"`
		Modules []string `bson:"modules"`
	}
	var hello struct {
		Set     string   `bson:"setName"`
		Hosts   []string `bson:"hosts"`
		Passive []string `bson:"passives"`
		Arbiter []string `bson:"arbiters"`
		Me      string   `bson:"me"`
		Message string   `bson:"msg"`
		Wire    int      `bson:"maxWireVersion"`
	}
	admin := e.client.Database("admin")
	err := admin.RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&build)
	if err == nil {
		err = admin.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello)
	}
	if err != nil {
		b.field("error", e.client.Explain(err))
		return
	}
	members := slices.Concat(hello.Hosts, hello.Passive, hello.Arbiter)
	b.field("version", strings.TrimSpace(fmt.Sprintf("%s %s", build.Version, strings.Join(build.Modules, " "))))
	b.field("wire version", hello.Wire)
	switch {
	case hello.Message == "isdbgrid":
		b.field("topology", "sharded")
	case hello.Set == "":
		b.field("topology", "standalone")
	default:
		b.field("topology", fmt.Sprintf("replica set %s of %s, %d of them passive, and %s",
			sanitize(hello.Set), explain.Plural(len(hello.Hosts)+len(hello.Passive), "member"), len(hello.Passive),
			explain.Plural(len(hello.Arbiter), "arbiter")))
		b.field("primary", sanitize(hello.Me))
		b.field("members", sanitize(strings.Join(members, " ")))
	}
	for _, host := range members {
		b.names.host(host)
	}
}

func (b *bugReport) status(ctx context.Context, e *env) {
	s, err := statusCmd{}.read(ctx, e, func(string, ...any) {})
	if err != nil {
		b.field("error", err)
		return
	}
	for _, r := range s.routes {
		for _, paused := range r.Paused {
			b.names.add("person", sanitize(paused.By))
			b.names.add("reason", sanitize(paused.Why))
		}
		b.names.host(r.Sitesync.Host)
	}
	b.WriteString(s.text(false))
}

// addNames adds the names that may be confidential. Those that are not known here are in no other part either. e is nil
// if there is no connection.
func (b *bugReport) addNames(ctx context.Context, cfg *config.Config, e *env) {
	if host, err := os.Hostname(); err == nil {
		b.names.host(host)
	}
	b.names.add("person", state.Person())
	o := options.Client().ApplyURI(cfg.Mongo.URI.Reveal())
	for _, host := range o.Hosts {
		b.names.host(host)
	}
	if o.Auth != nil {
		b.names.add("user", o.Auth.Username)
	}
	remote, _ := cfg.Remote() // empty names are not added
	b.names.add("account", remote.Subject)
	b.names.add("endpoint", remote.Endpoint)
	b.names.add("path", remote.Credentials)
	for _, r := range []config.Roots{cfg.LocalRoot, remote.Root} {
		for _, root := range r.All() {
			b.names.add("path", root)
		}
	}
	// A site of a person's machine mostly has the name of one or the other.
	for _, site := range append([]string{cfg.LocalID}, cfg.AlwaysAccessibleOn...) {
		isStudios := site != cfg.LocalID && (site == cfg.ActiveSite || site == cfg.RemoteSite)
		if !isStudios && strings.ContainsFunc(site, unicode.IsLetter) { // a number would be found everywhere
			b.names.add("site", site)
		}
	}
	for _, folder := range cfg.LocalRootLinks {
		b.names.add("path", folder)
	}
	b.names.add("path", cfg.Presets)
	if e == nil {
		return
	}
	projects, _ := e.store.ProjectNames(ctx) // none if it does not answer
	for _, name := range projects {
		b.names.add("project", name)
		b.names.add("project", sanitize(name))
	}
}

// redactor replaces names: by project-1 and so on.
type redactor struct {
	replacements map[string]string
	count        map[string]int // by kind
}

// add adds a name of a kind, and returns its replacement.
func (r *redactor) add(kind, name string) string {
	if name == "" {
		return ""
	}
	if r.replacements == nil {
		r.replacements, r.count = map[string]string{}, map[string]int{}
	}
	if r.replacements[name] == "" {
		r.count[kind]++
		r.replacements[name] = fmt.Sprintf("%s-%d", kind, r.count[kind])
	}
	return r.replacements[name]
}

// host adds the name of a host, also without its port.
func (r *redactor) host(name string) {
	r.add("host", name)
	if host, _, ok := strings.Cut(name, ":"); ok {
		r.add("host", host)
	}
}

// What looks like a path or a mail address that is not known: in quotation marks, or up to the next space.
var (
	quotedPath = regexp.MustCompile(`"(?:[A-Za-z]:)?[^"]*[/\\][^"]*"`)
	barePath   = regexp.MustCompile(`(^|[\s"'(=])((?:[A-Za-z]:)?[/\\][^\s"'):;,]+)`)
	mail       = regexp.MustCompile(`[\w.+-]+@[\w-]+\.[\w.-]*\w`)
)

// redact replaces all names in a text.
func (r *redactor) redact(text string) string {
	// A path before the project that is named in it.
	longestFirst := func(a, b string) int { return cmp.Or(len(b)-len(a), cmp.Compare(a, b)) }
	for _, name := range slices.SortedFunc(maps.Keys(r.replacements), longestFirst) {
		text = replaceWord(text, name, r.replacements[name])
	}
	text = mail.ReplaceAllStringFunc(text, func(s string) string { return r.add("account", s) })
	text = quotedPath.ReplaceAllStringFunc(text, func(s string) string { return `"` + r.add("path", s) + `"` })
	return barePath.ReplaceAllStringFunc(text, func(s string) string {
		parts := barePath.FindStringSubmatch(s)
		return parts[1] + r.add("path", parts[2])
	})
}

// replaceWord replaces a name where it is not part of a longer word.
func replaceWord(text, name, with string) string {
	isWord := func(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) || c == '_' }
	first, _ := utf8.DecodeRuneInString(name)
	last, _ := utf8.DecodeLastRuneInString(name)
	var out strings.Builder
	for done := 0; ; {
		at := strings.Index(text[done:], name)
		if at < 0 {
			out.WriteString(text[done:])
			return out.String()
		}
		at += done
		end := at + len(name)
		before, _ := utf8.DecodeLastRuneInString(text[:at])
		after, _ := utf8.DecodeRuneInString(text[end:])
		out.WriteString(text[done:at])
		if isWord(first) && isWord(before) || isWord(last) && isWord(after) {
			out.WriteString(name)
		} else {
			out.WriteString(with)
		}
		done = end
	}
}
