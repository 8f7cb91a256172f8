// Command bench measures sitesync on this machine: a real MongoDB replica set, the emulated Drive without
// latency, and sitesync as a process of its own. Every row is a ratio of two things that were measured in
// turn, in the same run, so that what else the machine does hits both.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"

	"github.com/alecthomas/kong"

	"sitesync/integration/stage"
)

type cli struct {
	Publishes int `default:"500" help:"Single publishes, one after the other, for the reaction time."`
}

// row is a line of the table.
type row struct {
	what     string
	ours     string
	other    string
	ratio    float64
	comments string
}

func main() {
	var c cli
	kong.Parse(&c, kong.Name("bench"), kong.Description("Measures sitesync and prints a table.\n\nExample:\n  go run ./integration/bench --publishes 500"))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	rows, err := measure(ctx, c)
	if err == nil {
		err = show(rows)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measure makes all rows.
func measure(ctx context.Context, c cli) (rows []row, err error) {
	s, err := stage.Start(ctx, stage.Options{Step: func(what, _ string, do func() error) error {
		fmt.Fprintln(os.Stderr, what, "...")
		return do()
	}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return reaction(ctx, s, c.Publishes)
}

// show prints the table.
func show(rows []row) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tSITESYNC\tFLOOR\tRATIO\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%.2f\t%s\n", r.what, r.ours, r.other, r.ratio, r.comments)
	}
	return w.Flush()
}
