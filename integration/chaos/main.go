package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

const description = `Kills sitesync, MongoDB's primary and requests to Google Drive at random while a studio
publishes. In the end, checks that each file is on Drive once, with its content, and recorded.

Examples:
  go run ./integration/chaos
  go run ./integration/chaos --short
  go run ./integration/chaos --seed 4711 --files 500 --kills 50 --keep`

// settings are the command line.
type settings struct {
	Files        *int `placeholder:"N" help:"Files that are published, 10 to 100000; default 2000, short 250."`
	Kills        *int `placeholder:"N" help:"How often sitesync is killed (kill -9); default 200, short 30."`
	PrimaryKills *int `placeholder:"N" help:"Primary kills, half as many step-downs and hangs; default 20, short 3."`

	FaultRate  float64       `default:"0.05" placeholder:"P" help:"Rate of failing requests, 0 to 0.5; default 0.05."`
	ListingLag time.Duration `default:"30s" placeholder:"TIME" help:"Lag of Drive's listings, 0s to 10m; default 30s."`
	Seed       *uint64       `placeholder:"N" help:"Seed of the run; default is random."`
	Short      bool          `help:"A run of about a minute."`
	Keep       bool          `help:"Keep logs and data even if the run succeeds."`
}

// Validate is called by kong.
func (s settings) Validate() error {
	inRange := func(n *int, from, to int) bool { return n == nil || *n >= from && *n <= to }
	for _, check := range []struct {
		ok   bool
		text string
	}{
		{inRange(s.Files, 10, 100_000), "--files must be 10 to 100000"},
		{inRange(s.Kills, 0, 100_000), "--kills must be 0 to 100000"},
		{inRange(s.PrimaryKills, 0, 10_000), "--primary-kills must be 0 to 10000"},
		{s.FaultRate >= 0 && s.FaultRate <= 0.5, "--fault-rate must be 0 to 0.5"},
		{s.ListingLag >= 0 && s.ListingLag <= 10*time.Minute, "--listing-lag must be 0s to 10m"},
	} {
		if !check.ok {
			return errors.New(check.text)
		}
	}
	return nil
}

// profile are the settings of a run, complete.
type profile struct {
	files, kills, primaryKills int
	maxSize                    int64         // bytes, of one file
	meanUptime                 time.Duration // of sitesync, until a kill at any time
	faultRate                  float64
	listingLag                 time.Duration
	seed                       uint64
	keep                       bool
	repeat                     string // the command line that repeats it
}

// profile fills in the defaults.
func (s settings) profile() profile {
	p := profile{files: 2000, kills: 200, primaryKills: 20, maxSize: 40_000_000, meanUptime: 2500 * time.Millisecond,
		faultRate: s.FaultRate, listingLag: s.ListingLag, seed: rand.Uint64(), keep: s.Keep}
	if s.Short {
		p.files, p.kills, p.primaryKills, p.maxSize = 250, 30, 3, 12_000_000
		p.meanUptime = 1500 * time.Millisecond
	}
	for given, set := range map[*int]*int{s.Files: &p.files, s.Kills: &p.kills, s.PrimaryKills: &p.primaryKills} {
		if given != nil {
			*set = *given
		}
	}
	if s.Seed != nil {
		p.seed = *s.Seed
	}
	args := fmt.Sprintf("--seed %d --fault-rate %g --listing-lag %s", p.seed, p.faultRate, p.listingLag)
	for flag, given := range map[string]*int{"files": s.Files, "kills": s.Kills, "primary-kills": s.PrimaryKills} {
		if given != nil {
			args += fmt.Sprintf(" --%s %d", flag, *given)
		}
	}
	if s.Short {
		args += " --short"
	}
	p.repeat = "go run ./integration/chaos " + args
	return p
}

func main() {
	var s settings
	kong.Parse(&s, kong.Name("chaos"), kong.Description(description))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, s.profile(), os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}
