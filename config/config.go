// Package config turns the studio's two preset files (config.json and
// gdrive.json, unchanged from Pype), the environment and the command line into
// one validated Config. It is the only place that knows where a setting comes
// from and which one wins: flag, then environment, then file, then default.
// Everything is checked here, before anything is started, and all problems are
// told at once, each with the place it was found in and what would be right.
// Whatever needs the network or the studio's storage is not checked here: that
// is the work of `sitesync check`.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sitesync/duration"

	"go.uber.org/zap/zapcore"
)

// Config is everything that sitesync can be told, complete and valid. It is
// made by Load and not changed afterwards. Its printed forms hold no secret.
type Config struct {
	// Presets is the folder that the preset files were read from, absolute;
	// it ends in sync_server when that sub-folder exists.
	Presets string

	// LocalID is the name of this machine's own site, which "local" stands for in ActiveSite and RemoteSite, as in
	// OpenPype; may be empty.
	LocalID string
	// RetryCount is how often a failing file is tried, 1 to 1000.
	RetryCount int
	// LoopDelay is the time between two fallback polls, 10ms to 24h.
	LoopDelay time.Duration
	// ActiveSite is the name of the site that files come from.
	ActiveSite string
	// RemoteSite is the name of the site that files go to, a key of Sites.
	// Empty means that nothing is synced.
	RemoteSite string
	// LocalRoot is where the studio's storage is mounted on this machine. It
	// overrides context.root of the documents; zero if the documents decide.
	// Its Links are the folders that symbolic links in it may lead to.
	LocalRoot Roots

	// Sites are all sites of gdrive.json by name. Only the one called
	// RemoteSite is checked for being complete.
	Sites map[string]Site

	// Mongo says where the documents are.
	Mongo Mongo

	// Transfers is how many files are uploaded at once, 1 to 256.
	Transfers int
	// Listen is where the page, health and metrics are served, HOST:PORT; empty if they
	// are not.
	Listen string
	// Pprof is whether profiles for go tool pprof are served there too.
	Pprof bool
	// WebToken lets whoever knows it change things from the page; empty: nobody
	// may.
	WebToken Token
	// LogFormat is auto, console or json.
	LogFormat string
	// LogLevel is debug, info, warn or error.
	LogLevel string
	// Settle is how long a source file that is missing or incomplete is waited
	// for before that counts as a failure, 0 to 24h. The default is LoopDelay.
	Settle time.Duration
	// RetryDelay is the wait before a failed file's second try, 1ms to 24h. It
	// doubles with each try, up to MaxRetryDelay.
	RetryDelay time.Duration
	// MaxRetryDelay is the longest wait between two tries, RetryDelay to 720h.
	MaxRetryDelay time.Duration
	// Index is whether the index of the pending query is created at start.
	Index bool
	// Stream is whether change streams are used. Stream or Poll is true.
	Stream bool
	// Poll is whether the fallback poll is used.
	Poll bool
	// RecordProgress is whether records of large files tell how far they are.
	RecordProgress bool
	// ShutdownTimeout is how long running uploads may go on after the first
	// signal to stop, 0 to 1h.
	ShutdownTimeout time.Duration
}

// configKeys are what config.json may have. local_root and local_root_links are
// additions of sitesync, the others are Pype's.
var configKeys = []string{"local_id", "retry_cnt", "loop_delay", "active_site", "remote_site", "local_root", "local_root_links"}

// A Warning is a sentence about something that does no harm but is hardly
// meant, such as a key that is not known.
type Warning string

// Remote is the site that files go to; false if nothing is synced.
func (c *Config) Remote() (Site, bool) {
	site, ok := c.Sites[c.RemoteSite]
	return site, ok
}

// Load reads, merges and checks all settings. env looks up one environment
// variable: os.LookupEnv in production. The error joins every problem, one line
// each; the warnings are complete also when there is an error.
func Load(flags Flags, env func(string) (string, bool)) (*Config, []Warning, error) {
	r := &report{}
	s := &settings{env: env, report: r}
	c := &Config{Sites: map[string]Site{}}

	haveSites := false
	if folder, ok := s.presets(flags.Presets); ok {
		c.Presets = folder
		s.file, _ = readFile(folder, configFile, required, r)
		s.file.warnUnknown(configKeys...)
	}
	c.LocalID = s.siteName(setting{name: "local-id", flag: flags.LocalID, key: "local_id", mayBeEmpty: true}, "")
	c.RetryCount = s.integer(setting{name: "retry-cnt", flag: flags.RetryCnt, key: "retry_cnt"}, 3, 1, 1000)
	c.LoopDelay = s.duration(setting{name: "loop-delay", flag: flags.LoopDelay, key: "loop_delay"},
		60*time.Second, 10*time.Millisecond, 24*time.Hour)
	c.ActiveSite = c.resolveLocal(s.siteName(setting{name: "active-site", flag: flags.ActiveSite, key: "active_site"}, "studio"))
	remote := setting{name: "remote-site", flag: flags.RemoteSite, key: "remote_site", mayBeEmpty: true}
	c.RemoteSite = c.resolveLocal(s.siteName(remote, ""))
	if c.RemoteSite != "" && c.RemoteSite == c.ActiveSite {
		r.wrong(s.where(remote), "is %q, the same as active_site, but must be another site, one of gdrive.json, or empty to sync nothing", c.RemoteSite)
	}
	c.LocalRoot = s.localRoot(flags.LocalRoot).WithLinks(s.localRootLinks(flags.LocalRootLinks))

	if c.Presets != "" {
		need := optional
		if c.RemoteSite != "" {
			need = required
		}
		var file object
		file, haveSites = readFile(c.Presets, gdriveFile, need, r)
		c.Sites = readSites(file, c.Presets, c.RemoteSite)
	}
	if _, ok := c.Remote(); haveSites && !ok && c.RemoteSite != "" {
		r.wrong(s.where(remote), "is %q, which is not a site of gdrive.json; %s",
			c.RemoteSite, choices("it has", slices.Sorted(maps.Keys(c.Sites)), c.RemoteSite))
	}

	c.Mongo = s.mongo(flags)

	c.Transfers = s.integer(setting{name: "transfers", flag: flags.Transfers}, 8, 1, 256)
	c.Pprof = s.boolean("pprof", flags.Pprof)
	c.Listen = s.listen(flags.Listen)
	c.WebToken = s.webToken(flags.WebTokenFile)
	c.LogFormat = s.oneOf(setting{name: "log-format", flag: flags.LogFormat}, "auto", "auto", "console", "json")
	c.LogLevel = s.oneOf(setting{name: "log-level", flag: flags.LogLevel}, "info", "debug", "info", "warn", "error")
	c.Settle = s.duration(setting{name: "settle", flag: flags.Settle}, c.LoopDelay, 0, 24*time.Hour)
	c.RetryDelay = s.duration(setting{name: "retry-delay", flag: flags.RetryDelay},
		10*time.Second, time.Millisecond, 24*time.Hour)
	longest := setting{name: "max-retry-delay", flag: flags.MaxRetryDelay}
	c.MaxRetryDelay = s.duration(longest, max(time.Hour, c.RetryDelay), time.Millisecond, 720*time.Hour)
	if c.MaxRetryDelay < c.RetryDelay {
		r.wrong(s.where(longest), "is %s but must not be less than retry-delay, %s",
			duration.Exact(c.MaxRetryDelay), duration.Exact(c.RetryDelay))
	}
	c.Index = !s.boolean("no-index", flags.NoIndex)
	c.Stream = !s.boolean("no-stream", flags.NoStream)
	c.Poll = !s.boolean("no-poll", flags.NoPoll)
	if !c.Stream && !c.Poll {
		r.wrong("no-stream and no-poll", "are both set, so nothing would ever be found to sync; drop one of them")
	}
	c.RecordProgress = s.boolean("record-progress", flags.RecordProgress)
	c.ShutdownTimeout = s.duration(setting{name: "shutdown-timeout", flag: flags.ShutdownTimeout},
		10*time.Second, 0, time.Hour)

	if err := errors.Join(r.errs...); err != nil {
		return nil, r.warnings, err
	}
	return c, r.warnings, nil
}

// localSite is what settings call the machine's own site.
const localSite = "local"

// resolveLocal returns the name that records have for a site of the settings. Without a local_id a site may well be
// called local.
func (c *Config) resolveLocal(site string) string {
	if site == localSite && c.LocalID != "" {
		return c.LocalID
	}
	return site
}

// Listen is the address of Config.Listen alone, which no preset file has a say in: it is known whatever is wrong with
// them.
func Listen(flags Flags, env func(string) (string, bool)) (string, error) {
	s := &settings{env: env, report: &report{}}
	address := s.listen(flags.Listen)
	return address, errors.Join(s.report.errs...)
}

// Settings are the names and values that the printed forms show, in their order, without secrets.
func (c *Config) Settings() [][2]string {
	f := [][2]string{
		{"presets", c.Presets},
		{"local_id", c.LocalID},
		{"retry_cnt", fmt.Sprint(c.RetryCount)},
		{"loop_delay", duration.Exact(c.LoopDelay)},
		{"active_site", c.ActiveSite},
		{"remote_site", c.RemoteSite},
		{"local_root", c.LocalRoot.String()},
		{"local_root_links", strings.Join(c.LocalRoot.Links(), ";")},
		{"mongo", c.Mongo.URI.Redacted()},
		{"db", c.Mongo.Database},
		{"state_db", c.Mongo.State},
		{"transfers", fmt.Sprint(c.Transfers)},
		{"listen", cmp.Or(c.Listen, "off")},
		{"pprof", fmt.Sprint(c.Pprof)},
		{"web_token", c.WebToken.String()},
		{"log_format", c.LogFormat},
		{"log_level", c.LogLevel},
		{"settle", duration.Exact(c.Settle)},
		{"retry_delay", duration.Exact(c.RetryDelay)},
		{"max_retry_delay", duration.Exact(c.MaxRetryDelay)},
		{"index", fmt.Sprint(c.Index)},
		{"stream", fmt.Sprint(c.Stream)},
		{"poll", fmt.Sprint(c.Poll)},
		{"record_progress", fmt.Sprint(c.RecordProgress)},
		{"shutdown_timeout", duration.Exact(c.ShutdownTimeout)},
	}
	if site, ok := c.Remote(); ok {
		f = append(f,
			[2]string{"remote_root", site.Root.String()},
			[2]string{"credentials", site.Credentials},
			[2]string{"subject", site.Subject},
			[2]string{"endpoint", site.Endpoint},
		)
	}
	return f
}

// String is the whole configuration on one line, without secrets.
func (c *Config) String() string {
	var b strings.Builder
	for i, f := range c.Settings() {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s=%q", f[0], f[1])
	}
	return b.String()
}

// MarshalLogObject is the whole configuration for the log, without secrets.
func (c *Config) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	for _, f := range c.Settings() {
		if f[1] != "" {
			enc.AddString(f[0], f[1])
		}
	}
	return nil
}

var _ zapcore.ObjectMarshaler = (*Config)(nil)
