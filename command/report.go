package command

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"sitesync/config"
	"sitesync/state"
)

// bugReport is all that whoever looks for a bug has to know of an installation, without what is secret: no password, key
// or token is in any of its sources, which are the same as those of the log.
type bugReport struct {
	strings.Builder
	names masks
}

func (b *bugReport) section(name string) { fmt.Fprintf(b, "\n== %s\n", name) }

func (b *bugReport) field(name string, value any) { fmt.Fprintf(b, "%-17s %v\n", name, value) }

// writeReport writes the report of an installation, and reports whether the check that is in it has failed.
func writeReport(ctx context.Context, out io.Writer, flags *config.Flags, anonymous bool) (failed bool, err error) {
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
	r := report{out: &b}
	checkConfig(&r, warnings, err)
	if err == nil {
		runCheck(ctx, &r, cfg, e, connErr)
		b.section("status")
		if connErr != nil {
			b.field("error", connErr)
		} else {
			b.status(ctx, e)
		}
		b.learn(ctx, cfg, e)
	}
	text := b.String()
	if anonymous {
		text = b.names.hide(text)
	}
	_, err = io.WriteString(out, text)
	return r.failed, err
}

// program tells what runs, and on what.
func (b *bugReport) program() {
	version, commit := "unknown", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		version = cmp.Or(info.Main.Version, "unknown")
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" || s.Key == "vcs.modified" {
				commit += " " + strings.TrimPrefix(s.Key, "vcs.") + "=" + s.Value
			}
		}
	}
	b.field("sitesync", version+commit)
	b.field("go", runtime.Version())
	b.field("platform", fmt.Sprintf("%s/%s, %d processors", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()))
	if name, err := os.ReadFile("/etc/os-release"); err == nil { // of a container: its image's
		for line := range strings.Lines(string(name)) {
			if value, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
				b.field("system", printable(strings.Trim(strings.TrimSpace(value), `"`)))
			}
		}
	}
}

// mongo tells of the servers.
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
	b.field("version", strings.TrimSpace(fmt.Sprintf("%s %s", build.Version, strings.Join(build.Modules, " "))))
	b.field("wire version", hello.Wire)
	switch {
	case hello.Message == "isdbgrid":
		b.field("topology", "sharded")
	case hello.Set == "":
		b.field("topology", "standalone")
	default:
		b.field("topology", fmt.Sprintf("replica set %s of %d member(s), %d of them passive, and %d arbiter(s)", printable(hello.Set),
			len(hello.Hosts)+len(hello.Passive), len(hello.Passive), len(hello.Arbiter)))
		b.field("primary", printable(hello.Me))
		b.field("members", printable(strings.Join(slices.Concat(hello.Hosts, hello.Passive, hello.Arbiter), " ")))
	}
	for _, host := range slices.Concat(hello.Hosts, hello.Passive, hello.Arbiter) {
		b.names.host(host)
	}
}

// status tells how far everything is.
func (b *bugReport) status(ctx context.Context, e *env) {
	p := startProgress(io.Discard, false)
	s, err := statusCmd{}.read(ctx, e.cfg, e, p)
	p.stop()
	if err != nil {
		b.field("error", err)
		return
	}
	for _, paused := range s.Paused {
		b.names.add("person", printable(paused.By))
		b.names.add("reason", printable(paused.Why))
	}
	b.names.host(s.Sitesync.Host)
	b.WriteString(s.text(false))
}

// learn learns the names that somebody may not want to tell. Those that can't be learned are in no other part either. The
// desk is nil if there is no connection.
func (b *bugReport) learn(ctx context.Context, cfg *config.Config, e *env) {
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
	roots := []config.Roots{cfg.LocalRoot}
	if remote, ok := cfg.Remote(); ok {
		roots = append(roots, remote.Root)
		b.names.add("account", remote.Subject)
		b.names.add("endpoint", remote.Endpoint)
		b.names.add("path", remote.Credentials)
	}
	for _, r := range roots {
		for _, root := range r.All() {
			b.names.add("path", root)
		}
		for _, folder := range r.Links() {
			b.names.add("path", folder)
		}
	}
	b.names.add("path", cfg.Presets)
	if e == nil {
		return
	}
	projects, err := e.store.Projects(ctx)
	if err != nil {
		return
	}
	for _, p := range projects {
		b.names.add("project", p.Name)
		b.names.add("project", printable(p.Name))
	}
}

// masks are what names are replaced with: project-1 and so on.
type masks struct {
	of    map[string]string
	count map[string]int
}

func (m *masks) add(kind, name string) string {
	if name == "" {
		return ""
	}
	if m.of == nil {
		m.of, m.count = map[string]string{}, map[string]int{}
	}
	if m.of[name] == "" {
		m.count[kind]++
		m.of[name] = fmt.Sprintf("%s-%d", kind, m.count[kind])
	}
	return m.of[name]
}

// host adds the name of a host, also without its port.
func (m *masks) host(name string) {
	m.add("host", name)
	if host, _, ok := strings.Cut(name, ":"); ok {
		m.add("host", host)
	}
}

// What looks like a path, or an address of mail, though nobody knows it: in quotation marks, or up to the next space.
var (
	quotedPath = regexp.MustCompile(`"(?:[A-Za-z]:)?[^"]*[/\\][^"]*"`)
	barePath   = regexp.MustCompile(`(^|[\s"'(=])((?:[A-Za-z]:)?[/\\][^\s"'):;,]+)`)
	mail       = regexp.MustCompile(`[\w.+-]+@[\w-]+\.[\w.-]*\w`)
)

// hide replaces all names in a text.
func (m *masks) hide(text string) string {
	known := make([]string, 0, len(m.of))
	for name := range m.of {
		known = append(known, name)
	}
	// A path before the project that is named in it.
	slices.SortFunc(known, func(a, b string) int { return cmp.Or(len(b)-len(a), cmp.Compare(a, b)) })
	for _, name := range known {
		text = replaceWord(text, name, m.of[name])
	}
	text = mail.ReplaceAllStringFunc(text, func(s string) string { return m.add("account", s) })
	text = quotedPath.ReplaceAllStringFunc(text, func(s string) string { return `"` + m.add("path", s) + `"` })
	return barePath.ReplaceAllStringFunc(text, func(s string) string {
		parts := barePath.FindStringSubmatch(s)
		return parts[1] + m.add("path", parts[2])
	})
}

// replaceWord replaces a name where it is not part of a longer word.
func replaceWord(text, name, with string) string {
	isWord := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' }
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
