// Command bench measures sitesync on this machine: a real MongoDB replica set, the emulated Drive, and sitesync as a
// process, against what a studio could use instead: the installed rclone and curl. Every row is a ratio of two
// measurements taken in turn, in the same run, so that other load on the machine affects both.
//
// There is a file for each measurement: reaction.go, throughput.go, large.go, calls.go and cpu.go compare with the
// other tools, as do limited.go and down.go, which has all downloads; both.go compares both directions at once with one
// after the other; backlog.go, sequences.go, memory.go, polling.go, idle.go and failing.go compare with a sitesync that
// has less to do, or no faults. The tools are in sitesync.go, rclone.go and curl.go; isolatedenv.go has a sitesync that
// keeps running.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

const description = `Measures sitesync and prints a table of ratios, each of two measurements taken in turn.

Examples:
  go run ./integration/bench
  go run ./integration/bench --only throughput --rounds 5
  go run ./integration/bench --json > performance.json
  go run ./integration/bench --document docs/performance.md --picture docs/performance.svg
  go run ./integration/bench --short

It uses the installed rclone and curl: apt install rclone curl`

// rowNames are the values of --only.
const rowNames = "reaction,throughput,large,finishing,failing,calls,limited,down,both,cpu,backlog,sequences,memory," +
	"polling,idle"

// cli is the command line.
type cli struct {
	Only      []string      `enum:"${rows}" help:"Only these: ${enum}."`
	Rounds    int           `default:"3" help:"Measurements of each row; the median counts."`
	Publishes int           `default:"300" help:"Single publishes, one after the other, for the reaction time."`
	Files     int           `default:"200" help:"Small files into one folder for the throughput."`
	Folders   int           `default:"50" help:"Small files with a new folder each for the throughput."`
	Transfers []int         `default:"4,8,32" help:"Transfers at once for the throughput."`
	Latency   []int         `default:"0,50,150" placeholder:"MS" help:"Drive's latency for the throughput, ms."`
	Large     int64         `default:"2048" placeholder:"MIB" help:"Size of the large file."`
	LineFile  int64         `default:"512" placeholder:"MIB" help:"Size of the large file over a limited line."`
	Line      int64         `default:"64" placeholder:"MIB" help:"Bandwidth of the limited line, MiB/s."`
	Finishing time.Duration `default:"60s" help:"How long Drive takes to finish a large file."`

	Calls      int `default:"1000" placeholder:"FILES" help:"Small files whose API calls are counted."`
	Limited    int `default:"2000" placeholder:"FILES" help:"Small files while Drive limits the requests."`
	SameFolder int `default:"20000" placeholder:"FILES" help:"Files in one folder whose API calls are counted."`
	CPU        int `name:"cpu" default:"8000" placeholder:"FILES" help:"Small files whose CPU time is measured."`

	Backlog   int           `default:"100000" placeholder:"FILES" help:"Pending files during the single publishes."`
	Fresh     int           `default:"100" placeholder:"N" help:"Single publishes during the backlog, a round."`
	Frames    int           `default:"2000" help:"Frames of the sequence that is published with single files."`
	Sequences []int         `default:"250,500,1000,2000,4000" placeholder:"FRAMES" help:"Lengths of sequences."`
	Pending   []int         `default:"100000,1000000" placeholder:"FILES" help:"Backlogs for the memory."`
	Steady    time.Duration `default:"75s" help:"How long sitesync works on each backlog."`
	History   int           `default:"1000000" placeholder:"N" help:"Synced representations of a poll."`
	Projects  int           `default:"200" placeholder:"N" help:"Projects of the polls and of the idle sitesync."`
	Idle      time.Duration `default:"20s" help:"How long an idle sitesync is measured, a round."`

	Short    bool   `help:"All rows in seconds, to test that they work."`
	JSON     bool   `help:"Print JSON with the figures of each round instead of a table."`
	Picture  string `placeholder:"FILE" help:"Also draw a chart into this file, SVG."`
	Document string `placeholder:"FILE" help:"Also replace the table in this document, Markdown."`
}

// profile applies --short.
func (c cli) profile() cli {
	if c.Short {
		c.Rounds, c.Publishes, c.Files, c.Folders, c.Calls, c.CPU = 2, 6, 16, 8, 40, 40
		c.Large, c.LineFile, c.Line = 16, 16, 64
		c.Transfers, c.Latency = []int{8}, []int{20}
		c.SameFolder, c.Limited = 40, 20
		c.Backlog, c.Fresh, c.Frames = 500, 3, 100
		c.Sequences, c.Pending, c.Steady = []int{20, 40}, []int{5000, 10_000}, 3*time.Second
		c.History, c.Projects, c.Idle, c.Finishing = 400, 4, 2*time.Second, time.Second
	}
	return c
}

// Validate is called by kong.
func (c cli) Validate() error {
	c = c.profile()
	for _, n := range append(slices.Clone(c.Transfers), c.Rounds, c.Files, c.Folders, int(c.Large), int(c.LineFile),
		int(c.Line)) {
		if n < 1 {
			return errors.New("--rounds, --files, --folders, --transfers, --large, --line-file and --line must be 1 " +
				"or more")
		}
	}
	for _, n := range []int{c.Backlog, c.Fresh, c.Frames, c.CPU, c.Limited, len(c.Sequences), len(c.Pending), c.History,
		c.Projects} {
		if n < 1 {
			return errors.New("--backlog, --fresh, --frames, --cpu, --limited, --sequences, --pending, --history and " +
				"--projects must be 1 or more")
		}
	}
	if c.Document != "" && len(c.Only) > 0 {
		return errors.New("--document requires all rows and cannot be combined with --only")
	}
	if c.Publishes < c.Rounds || c.Calls < callFolders {
		return fmt.Errorf("--publishes must be --rounds or more, --calls %d or more", callFolders)
	}
	return nil
}

func main() {
	var c cli
	kong.Parse(&c, kong.Name("bench"), kong.Description(description), kong.Vars{"rows": rowNames})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, c.profile(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures and writes the report.
func run(ctx context.Context, c cli, out io.Writer) error {
	report, err := measure(ctx, c)
	if err != nil {
		return err
	}
	if c.Picture != "" {
		if err := os.WriteFile(c.Picture, []byte(picture(report)), 0o644); err != nil {
			return err
		}
	}
	if c.Document != "" {
		old, err := os.ReadFile(c.Document)
		if err != nil {
			return err
		}
		text, err := report.document(string(old))
		if err != nil {
			return fmt.Errorf("%s: %w", c.Document, err)
		}
		if err := os.WriteFile(c.Document, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if c.JSON {
		return report.json(out)
	}
	return report.table(out)
}

// measure measures all rows.
func measure(ctx context.Context, c cli) (r report, err error) {
	b, err := start(ctx, c)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	r.About = append(b.about(ctx), "load average at the start "+load())
	for _, m := range []struct {
		name string
		do   func(context.Context) ([]row, error)
	}{
		{"reaction", b.reaction},
		{"", b.stopShared},
		{"throughput", b.throughput},
		{"large", b.large},
		{"finishing", b.finishing},
		{"failing", b.failing},
		{"calls", b.calls},
		{"limited", b.limited},
		{"down", b.down},
		{"both", b.both},
		{"cpu", b.cpu},
		{"backlog", b.backlog},
		{"sequences", b.sequences},
		{"memory", b.memory},
		{"polling", b.polling},
		{"idle", b.idle},
	} {
		if len(c.Only) > 0 && m.name != "" && !slices.Contains(c.Only, m.name) {
			continue
		}
		rows, err := m.do(ctx)
		if err != nil {
			return r, fmt.Errorf("%s: %w", m.name, err)
		}
		r.Rows = append(r.Rows, rows...)
	}
	r.About = append(r.About, "load average at the end "+load())
	if c.Short {
		r.About = append(r.About, "--short: too few files for the bars; most of the time is start-up")
		for i := range r.Rows {
			r.Rows[i].Bar = nil
		}
	}
	return r, nil
}
