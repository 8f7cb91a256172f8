// Package config turns the studio's two preset files (config.json and gdrive.json, unchanged from Pype), the
// environment and the command line into one validated Config. Only this package knows where a setting comes from and
// which source wins: flag, environment, file, default. All problems are reported at once, each with its place and the
// fix. What needs the network or the studio's storage is checked by `sitesync check` instead.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap/zapcore"

	"sitesync/duration"
)

// Config has all settings, complete and valid. Load makes it; nothing changes it afterwards. Its printed forms hold no
// secret.
type Config struct {
	Presets        string        // absolute path of the folder with the preset files, or its subfolder sync_server
	LocalID        string        // this machine's own site, which "local" stands for below, as in OpenPype; optional
	RetryCount     int           // how often a failing file is tried, 1 to 1000
	LoopDelay      time.Duration // between two fallback polls, 10ms to 24h
	ActiveSite     string        // the site of this machine's storage
	RemoteSite     string        // the site that it is synced with, a key of Sites; empty: nothing is synced
	Direction      Direction     // which ways files are synced
	LocalRoot      Roots         // where the storage is mounted here; empty: context.root of the documents says so
	LocalRootLinks []string      // folders outside of LocalRoot that symbolic links in it may lead to

	// AlwaysAccessibleOn are the sites that every published file gets a record of, each once. They need not be sites of
	// this machine or of gdrive.json: another machine may bring the files there.
	AlwaysAccessibleOn []string

	Sites map[string]Site // all sites of gdrive.json by name; only RemoteSite's is known to be complete
	Mongo Mongo           // where the documents are

	Transfers int    // how many files are transferred at once, in both directions together, 1 to 256
	Listen    string // HOST:PORT of the page, health and metrics; empty: off
	Pprof     bool   // serve profiles for go tool pprof there
	WebToken  Token  // the secret that allows changes from the page; empty: the page is read-only
	LogFormat string // auto, console or json
	LogLevel  string // debug, info, warn or error

	// SourceGracePeriod is how long a source file may be missing or incomplete before that counts as a failure, 0 to
	// 24h. The default is LoopDelay.
	SourceGracePeriod time.Duration
	RetryDelay        time.Duration // before a file's second try, 1ms to 24h; doubles with each, up to MaxRetryDelay
	MaxRetryDelay     time.Duration // the longest wait between two tries, RetryDelay to 720h
	ShutdownTimeout   time.Duration // how long running transfers go on after the first signal to stop, 0 to 1h

	Index          bool // create the index of the pending query at start
	Stream         bool // use change streams; Stream or Poll is true
	Poll           bool // use the fallback poll
	RecordProgress bool // show the progress of large files in their records
}

// configKeys are the keys of config.json. The last three are additions of sitesync to Pype's.
var configKeys = []string{
	"local_id", "retry_cnt", "loop_delay", "active_site", "remote_site", "local_root", "local_root_links",
	"always_accessible_on",
}

// problems collects all errors, and warnings of harmless but probably unintended settings, such as an unknown key. Each
// is a line, so that one start reports them together. An origin names the place: `config.json: retry_cnt`,
// `--retry-cnt` or `SITESYNC_RETRY_CNT`.
type problems struct {
	errs     []error
	warnings []string
}

func (p *problems) addError(origin, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("%s %s", origin, fmt.Sprintf(format, args...)))
}

func (p *problems) addWarning(origin, format string, args ...any) {
	p.warnings = append(p.warnings, origin+" "+fmt.Sprintf(format, args...))
}

// Remote is the site that the active one is synced with; false if nothing is synced.
func (c *Config) Remote() (Site, bool) {
	site, ok := c.Sites[c.RemoteSite]
	return site, ok
}

// Active is the site of this machine's storage. It has no Root where context.root of the documents says so.
func (c *Config) Active() Site {
	return Site{Name: c.ActiveSite, Provider: LocalDrive, Root: c.LocalRoot, Links: c.LocalRootLinks}
}

// Direction is a way, or both ways, between the active and the remote site.
type Direction string

// The directions.
const (
	Up   Direction = "up"   // from the active site to the remote one
	Down Direction = "down" // from the remote site to the active one
	Both Direction = "both"
)

// Noun is what the transfer of a file in this direction is called.
func (d Direction) Noun() string {
	if d == Down {
		return "download"
	}
	return "upload"
}

// Directions are the ways that files are synced: none without a remote site, and none down without a local root.
// Nothing is written where context.root of a document says, which is on the publisher's machine.
func (c *Config) Directions() (all []Direction) {
	for _, d := range []Direction{Up, Down} {
		if c.WhyOff(d) == "" {
			all = append(all, d)
		}
	}
	return all
}

// WhyOff says which setting has no file synced in a direction, Up or Down; it is empty if files are.
func (c *Config) WhyOff(d Direction) string {
	switch _, ok := c.Remote(); {
	case !ok:
		return "remote_site is empty"
	case c.Direction != Both && c.Direction != d:
		return "--direction is " + string(c.Direction)
	case d == Down && len(c.LocalRoot) == 0:
		return "there is no local_root that says where files may be written to"
	}
	return ""
}

// Load reads, merges and checks all settings. env looks up an environment variable: os.LookupEnv in production. The
// error joins all problems, a line each; the warnings are complete even if there is an error.
func Load(flags Flags, env func(string) (string, bool)) (*Config, []string, error) {
	p := &problems{}
	s := &settings{env: env, problems: p}
	c := &Config{Sites: map[string]Site{}}

	if folder, ok := s.presets(flags.Presets); ok {
		c.Presets = folder
		s.file, _ = readFile(folder, configFile, true, p)
		s.file.warnUnknown(configKeys...)
	}
	c.LocalID = s.siteName(setting{name: "local-id", flag: flags.LocalID, key: "local_id", allowEmpty: true}, "")
	c.RetryCount = s.integer(setting{name: "retry-cnt", flag: flags.RetryCnt, key: "retry_cnt"}, 3, 1, 1000)
	c.LoopDelay = s.duration(setting{name: "loop-delay", flag: flags.LoopDelay, key: "loop_delay"},
		time.Minute, 10*time.Millisecond, 24*time.Hour)
	active := setting{name: "active-site", flag: flags.ActiveSite, key: "active_site"}
	c.ActiveSite = c.resolveLocal(s.siteName(active, "studio"))
	if c.ActiveSite == "local" && c.LocalID == "" {
		p.addWarning(s.origin(active), `is "local", which stands for local_id, but that is not given, so the site is `+
			`called "local" like that of every machine without one; give each a local_id of its own`)
	}
	remote := setting{name: "remote-site", flag: flags.RemoteSite, key: "remote_site", allowEmpty: true}
	c.RemoteSite = c.resolveLocal(s.siteName(remote, ""))
	if c.RemoteSite != "" && c.RemoteSite == c.ActiveSite {
		p.addError(s.origin(remote), "is %q, the same as active_site, but must be another site, one of gdrive.json, "+
			"or empty to sync nothing", c.RemoteSite)
	}
	c.LocalRoot = s.localRoot(flags.LocalRoot)
	direction := setting{name: "direction", flag: flags.Direction}
	c.Direction = Direction(s.oneOf(direction, string(Both), string(Up), string(Down), string(Both)))
	if c.Direction == Down && len(c.LocalRoot) == 0 && c.RemoteSite != "" {
		p.addError(s.origin(direction), "is down, but there is no local_root, so nothing could be written anywhere; "+
			"say in local_root of config.json, or with --local-root, where the storage is mounted on this machine")
	}
	c.LocalRootLinks = s.localRootLinks(flags.LocalRootLinks)
	for _, site := range s.siteNames("always-accessible-on", "always_accessible_on", flags.AlwaysAccessibleOn) {
		if site = c.resolveLocal(site); !slices.Contains(c.AlwaysAccessibleOn, site) {
			c.AlwaysAccessibleOn = append(c.AlwaysAccessibleOn, site)
		}
	}

	if c.Presets != "" {
		file, ok := readFile(c.Presets, gdriveFile, c.RemoteSite != "", p)
		c.Sites = readSites(file, c.Presets, c.RemoteSite)
		if _, known := c.Remote(); ok && !known && c.RemoteSite != "" {
			p.addError(s.origin(remote), "is %q, which is not a site of gdrive.json; %s",
				c.RemoteSite, choices("it has", slices.Sorted(maps.Keys(c.Sites)), c.RemoteSite))
		}
	}

	c.Mongo = s.mongo(flags)

	c.Transfers = s.integer(setting{name: "transfers", flag: flags.Transfers}, 8, 1, 256)
	c.Pprof = s.boolean("pprof", flags.Pprof)
	c.Listen = s.listen(flags.Listen)
	c.WebToken = s.webToken(flags.WebTokenFile)
	c.LogFormat = s.oneOf(setting{name: "log-format", flag: flags.LogFormat}, "auto", "auto", "console", "json")
	c.LogLevel = s.oneOf(setting{name: "log-level", flag: flags.LogLevel}, "info", "debug", "info", "warn", "error")
	c.SourceGracePeriod = s.duration(setting{name: "settle", flag: flags.SourceGracePeriod},
		c.LoopDelay, 0, 24*time.Hour)
	c.RetryDelay = s.duration(setting{name: "retry-delay", flag: flags.RetryDelay},
		10*time.Second, time.Millisecond, 24*time.Hour)
	maxRetryDelay := setting{name: "max-retry-delay", flag: flags.MaxRetryDelay}
	c.MaxRetryDelay = s.duration(maxRetryDelay, max(time.Hour, c.RetryDelay), time.Millisecond, 720*time.Hour)
	if c.MaxRetryDelay < c.RetryDelay {
		p.addError(s.origin(maxRetryDelay), "is %s but must not be less than retry-delay, %s",
			duration.Exact(c.MaxRetryDelay), duration.Exact(c.RetryDelay))
	}
	c.Index = !s.boolean("no-index", flags.NoIndex)
	c.Stream = !s.boolean("no-stream", flags.NoStream)
	c.Poll = !s.boolean("no-poll", flags.NoPoll)
	if !c.Stream && !c.Poll {
		p.addError("no-stream and no-poll", "are both set, so nothing would ever be found to sync; remove one of them")
	}
	c.RecordProgress = s.boolean("record-progress", flags.RecordProgress)
	c.ShutdownTimeout = s.duration(setting{name: "shutdown-timeout", flag: flags.ShutdownTimeout},
		10*time.Second, 0, time.Hour)

	if err := errors.Join(p.errs...); err != nil {
		return nil, p.warnings, err
	}
	return c, p.warnings, nil
}

// resolveLocal returns the name that records have for a site of the settings, in which "local" is the machine's own.
// Without a local_id a site may well be called local.
func (c *Config) resolveLocal(site string) string {
	if site == "local" {
		return cmp.Or(c.LocalID, site)
	}
	return site
}

// Listen is Config.Listen alone. It does not need the preset files, so problems in them do no harm.
func Listen(flags Flags, env func(string) (string, bool)) (string, error) {
	s := &settings{env: env, problems: &problems{}}
	address := s.listen(flags.Listen)
	return address, errors.Join(s.problems.errs...)
}

// Settings are the names and values of all settings, in the order of the log, without secrets.
func (c *Config) Settings() [][2]string {
	f := [][2]string{
		{"presets", c.Presets},
		{"local_id", c.LocalID},
		{"retry_cnt", fmt.Sprint(c.RetryCount)},
		{"loop_delay", duration.Exact(c.LoopDelay)},
		{"active_site", c.ActiveSite},
		{"remote_site", c.RemoteSite},
		{"direction", string(c.Direction)},
		{"local_root", c.LocalRoot.String()},
		{"local_root_links", strings.Join(c.LocalRootLinks, ";")},
		{"always_accessible_on", strings.Join(c.AlwaysAccessibleOn, ";")},
		{"mongo", c.Mongo.URI.Redacted()},
		{"db", c.Mongo.Database},
		{"state_db", c.Mongo.State},
		{"transfers", fmt.Sprint(c.Transfers)},
		{"listen", cmp.Or(c.Listen, "off")},
		{"pprof", fmt.Sprint(c.Pprof)},
		{"web_token", c.WebToken.String()},
		{"log_format", c.LogFormat},
		{"log_level", c.LogLevel},
		{"settle", duration.Exact(c.SourceGracePeriod)},
		{"retry_delay", duration.Exact(c.RetryDelay)},
		{"max_retry_delay", duration.Exact(c.MaxRetryDelay)},
		{"index", fmt.Sprint(c.Index)},
		{"stream", fmt.Sprint(c.Stream)},
		{"poll", fmt.Sprint(c.Poll)},
		{"record_progress", fmt.Sprint(c.RecordProgress)},
		{"shutdown_timeout", duration.Exact(c.ShutdownTimeout)},
	}
	if site, ok := c.Remote(); ok {
		f = append(f, [][2]string{
			{"remote_root", site.Root.String()},
			{"credentials", site.Credentials},
			{"subject", site.Subject},
			{"endpoint", site.Endpoint},
		}...)
	}
	return f
}

// MarshalLogObject logs the Settings that are not empty.
func (c *Config) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	for _, f := range c.Settings() {
		if f[1] != "" {
			enc.AddString(f[0], f[1])
		}
	}
	return nil
}
