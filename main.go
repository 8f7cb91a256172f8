// Command sitesync uploads what a studio publishes with Pype to its Google Drive, within milliseconds.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"sitesync/config"
)

const description = `Uploads what a studio publishes with Pype to its Google Drive.

Settings of the studio come from Pype's own presets, config.json and gdrive.json; see --presets.`

type cli struct {
	config.Flags
	Run         runCmd           `cmd:"" help:"Sync what is published, until told to stop."`
	Check       checkCmd         `cmd:"" help:"Check configuration, database, credentials and roots, and say what to mend."`
	Status      statusCmd        `cmd:"" help:"Show who works, what holds uploads up, and how far each project is."`
	Explain     explainCmd       `cmd:"" help:"Show why a file is synced or is not, and what to do."`
	Retry       retryCmd         `cmd:"" help:"Take failed files back to pending, once the cause is repaired."`
	AddSite     addSiteCmd       `cmd:"" help:"Sync what was published before the site was configured."`
	Pause       pauseCmd         `cmd:"" help:"Begin no more uploads, of the remote site or of a project, until it is resumed."`
	Resume      resumeCmd        `cmd:"" help:"End a pause."`
	Health      healthCmd        `cmd:"" help:"Ask the sitesync that runs on this machine how it is."`
	Version     versionCmd       `cmd:"" help:"Show which sitesync this is."`
	Completion  completionCmd    `cmd:"" help:"Print a script that completes commands in a shell."`
	Complete    completeCmd      `cmd:"" hidden:"" help:"Tell what a word can become; for the scripts of completion."`
	ShowVersion kong.VersionFlag `name:"version" help:"Show which sitesync this is."`
}

func main() {
	tuneGC()
	var c cli
	k := kong.Parse(&c, kong.Name("sitesync"), kong.Description(description), kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.Vars{"version": thisBuild().String()})
	if err := k.Run(&c.Flags); err != nil {
		if !errors.Is(err, errFailed) {
			fmt.Fprintln(os.Stderr, "sitesync:", err)
		}
		os.Exit(1)
	}
}

// errFailed ends the program with status 1; what is to be said has been said.
var errFailed = errors.New("failed")

type runCmd struct {
	Once bool `help:"Sync what is pending and has tries left, then exit: 0 if all of it is synced, 1 if not."`
}

// Help is shown below the summary of the command.
func (runCmd) Help() string {
	return `Example:
  AVALON_MONGO=mongodb://mongo1,mongo2/?replicaSet=rs0 sitesync run --presets /etc/sitesync

With --once the exit status is also 1 if something that is pending was left, as it is paused.

The first SIGTERM or SIGINT lets running uploads finish for a while; a second one ends at once.`
}

// Run is sitesync run.
func (r runCmd) Run(flags *config.Flags) error {
	ctx := untilSignal()
	cfg, warnings, err := config.Load(*flags, os.LookupEnv)
	if err != nil {
		return err
	}
	log, err := newLogger(cfg, os.Stderr)
	if err != nil {
		return err
	}
	defer log.Sync() //nolint:errcheck // fails on terminals
	for _, w := range warnings {
		log.Warn(string(w))
	}
	return run(ctx, cfg, log, r.Once)
}

// untilSignal returns a context that the first SIGTERM or SIGINT ends. A second one ends the process at once.
func untilSignal() context.Context {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(1)
	}()
	return ctx
}

// newLogger logs to out: readable on a terminal, JSON otherwise.
func newLogger(cfg *config.Config, out *os.File) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(cfg.LogLevel)
	if err != nil {
		return nil, err
	}
	ec := zap.NewProductionEncoderConfig()
	ec.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	ec.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(ec)
	if cfg.LogFormat == "console" || cfg.LogFormat == "auto" && term.IsTerminal(int(out.Fd())) {
		ec.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		ec.EncodeLevel = zapcore.CapitalLevelEncoder
		if colored(out) {
			ec.EncodeLevel = zapcore.CapitalColorLevelEncoder
		}
		encoder = zapcore.NewConsoleEncoder(ec)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(out), level)), nil
}
