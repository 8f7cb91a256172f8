package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"sitesync/integration/drive"
	"sitesync/integration/studio"
	"sitesync/integration/testenv"
)

// bench is the environment, and the tools that are measured.
type bench struct {
	cli
	env     *testenv.Env
	dir     string // of the tools' settings
	storage string // folder of the studio's files
	proxy   *drive.Proxy
	runs    int // so far; for the names of databases and folders
	links   int // files that share their content so far

	sitesync, rclone, curl tool
}

// tool is a program that uploads.
type tool struct {
	name    string
	missing string // how to install it; "" if it is here
	upload  func(context.Context, job) (outcome, error)
}

// job is a batch and where to upload it.
type job struct {
	batch     batch
	root      string // folder on the shared drive that stands for the studio's root
	transfers int
}

// batch are files of the studio's storage, and the publishes that record them.
type batch struct {
	publishes []studio.Publish
	files     []string // below the root
	failing   int      // publishes that are never synced, and whose files are not among files
}

// outcome is the cost of a job.
type outcome struct {
	files   int
	bytes   int64
	seconds float64
	calls   int // requests that Drive got, all kinds
	cpu     time.Duration
}

// start starts all servers. All tools reach the emulated Drive under Google's name, through one proxy and with TLS.
func start(ctx context.Context, c cli) (b *bench, err error) {
	s, err := testenv.Start(ctx, testenv.Options{Discard: true, Step: func(what, _ string, do func() error) error {
		progress("%s ...", what)
		return do()
	}})
	if err != nil {
		return nil, err
	}
	b = &bench{cli: c, env: s, dir: filepath.Join(s.Dir, "bench"), storage: filepath.Join(s.Dir, "storage", "projects")}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.proxy, err = s.Drive.StartProxy(); err != nil {
		return nil, err
	}
	if err := os.Mkdir(b.dir, 0o700); err != nil {
		return nil, err
	}
	for name, content := range map[string][]byte{"ca.pem": b.proxy.CA, "key.json": s.Account.GoogleCredentials()} {
		if err := os.WriteFile(filepath.Join(b.dir, name), content, 0o600); err != nil {
			return nil, err
		}
	}
	b.sitesync = tool{name: "sitesync", upload: b.runSitesync}
	b.rclone = installed("rclone", b.runRclone)
	b.curl = installed("curl", b.runCurl)
	return b, nil
}

func (b *bench) close() error { return b.env.Close() }

// about says what was measured, where and how.
func (b *bench) about(ctx context.Context) []string {
	return []string{
		fmt.Sprintf("%s/%s, %d cores shared by tools, MongoDB and the emulated Drive", runtime.GOOS, runtime.GOARCH,
			runtime.NumCPU()),
		fmt.Sprintf("%d rounds, each tool in turn; medians, and the spread of the ratios of the rounds", b.Rounds),
		"a batch lasts from the first request that Drive gets until the last response for rclone and curl, until all " +
			"is marked in the database for sitesync",
		"sitesync: starts with all published and empty caches: " + strings.Join(sitesyncArgs(8), " "),
		fmt.Sprintf("latency of Drive: %s beside other files, %s for memory, else 0 unless a row names one",
			busyLatency, memoryLatency),
		b.rclone.version(ctx) + ": " + strings.Join(rcloneFlags(8), " "),
		b.curl.version(ctx) + ": --http1.1 -T FILE SESSION, after the session was opened",
	}
}

// progress prints what is being done.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// load is the machine's load average; unknown where there is no /proc.
func load() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(data))[:3], " ")
}

// alternate has each tool do the same in turn, once a round. The tool that begins changes. A missing tool has no
// outcomes.
func (b *bench) alternate(ctx context.Context, tools []tool,
	do func(context.Context, tool) (outcome, error)) ([][]outcome, error) {
	outcomes := make([][]outcome, len(tools))
	for round := range b.Rounds {
		for i := range tools {
			at := (round + i) % len(tools)
			if tools[at].missing != "" {
				continue
			}
			o, err := do(ctx, tools[at])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", tools[at].name, err)
			}
			outcomes[at] = append(outcomes[at], o)
		}
	}
	return outcomes, nil
}

// publish writes a batch into the studio's storage.
func (b *bench) publish(ctx context.Context, publishes []studio.Publish) (batch, error) {
	db := b.env.Mongo.Client().Database("bench_files")
	defer db.Drop(context.WithoutCancel(ctx))
	p, err := studio.New(db, studio.Options{Root: b.storage}).Project(ctx, "Bench")
	if err != nil {
		return batch{}, err
	}
	out := batch{publishes: publishes}
	for i := range publishes {
		publishes[i].NoTmp = true
	}
	reps, err := p.PublishAll(ctx, publishes...)
	for _, rep := range reps {
		for _, f := range rep.Files {
			out.files = append(out.files, f.Rel)
		}
	}
	return out, err
}

// newRoot makes an empty root folder on the shared drive.
func (b *bench) newRoot() string {
	b.runs++
	root := fmt.Sprintf("root-%d", b.runs)
	b.env.Drive.Mkdir(b.env.Show, root)
	return root
}

// seen returns the times of the first request and of the last response, and the number of requests.
func (b *bench) seen() (first, last time.Time, calls int) {
	for _, e := range b.env.Drive.Log() {
		if first.IsZero() || e.Time.Before(first) {
			first = e.Time
		}
		if end := e.Time.Add(e.Duration); end.After(last) {
			last = end
		}
	}
	for _, n := range b.env.Drive.Calls() {
		calls += n
	}
	return first, last, calls
}

// check makes sure that each file of a job is on Drive, once.
func (b *bench) check(j job) (bytes int64, err error) {
	for _, name := range j.batch.files {
		info, err := os.Stat(filepath.Join(b.storage, filepath.FromSlash(name)))
		if err != nil {
			return 0, err
		}
		found := b.env.Drive.Find(b.env.Show, j.root+"/"+name)
		if len(found) != 1 || found[0].Size != info.Size() {
			return 0, fmt.Errorf("%s/%s is on Drive as %+v, not once with %d bytes", j.root, name, found, info.Size())
		}
		bytes += info.Size()
	}
	return bytes, nil
}
