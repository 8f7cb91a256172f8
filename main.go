// Command sitesync uploads what a studio publishes with Pype to its Google Drive, within milliseconds.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/uploader"
	"sitesync/uploader/gdrive"
	"sitesync/watcher"
)

const description = `Uploads what a studio publishes with Pype to its Google Drive.

Settings of the studio come from Pype's own presets, config.json and gdrive.json; see --presets.`

type cli struct {
	config.Flags
	Run   runCmd   `cmd:"" help:"Sync what is published, until told to stop."`
	Check checkCmd `cmd:"" help:"Check configuration, database, credentials and roots, and say what to mend."`
}

func main() {
	var c cli
	k := kong.Parse(&c, kong.Name("sitesync"), kong.Description(description), kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
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

The first SIGTERM or SIGINT lets running uploads finish for a while; a second one ends at once.`
}

// Run is sitesync run.
func (r runCmd) Run(flags *config.Flags) error {
	cfg, warnings, err := config.Load(*flags, os.LookupEnv)
	if err != nil {
		return err
	}
	log, err := newLogger(cfg)
	if err != nil {
		return err
	}
	defer log.Sync() //nolint:errcheck // fails on terminals
	for _, w := range warnings {
		log.Warn(string(w))
	}
	return run(untilSignal(), cfg, log, r.Once)
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

// run wires the parts together and waits for them.
func run(ctx context.Context, cfg *config.Config, log *zap.Logger, once bool) error {
	remote, ok := cfg.Remote()
	if !ok {
		log.Warn("remote_site is empty, so nothing is synced; name a site of gdrive.json in config.json to start")
		if once {
			return nil
		}
		<-ctx.Done()
		return nil
	}
	client, err := connect(cfg)
	if err != nil {
		return err
	}
	// It is not disconnected in the end: that takes its time when the server hangs, and the process ends anyway.
	drive, err := openSite(ctx, cfg, remote)
	if err != nil {
		return err
	}
	defer drive.Close()

	store := avalon.NewStore(client, cfg.Mongo.Database)
	queue := watcher.NewQueue(100_000)
	defer queue.Close()
	poll := watcher.NewPoll(store, remote.Name, queue, log)
	poll.RetryCount, poll.Interval = cfg.RetryCount, cfg.LoopDelay
	up := uploader.New(uploader.Options{
		ActiveSite: cfg.ActiveSite, RemoteSite: remote.Name,
		RetryCount: cfg.RetryCount, Backoff: uploader.Backoff{First: cfg.RetryDelay, Max: cfg.MaxRetryDelay},
		Settle: cfg.Settle, Transfers: cfg.Transfers, LocalRoot: cfg.LocalRoot, RemoteRoot: remote.Root,
		Grace: cfg.ShutdownTimeout * 7 / 10, Stop: cfg.ShutdownTimeout * 8 / 10,
		Queue: queue, Store: store, Site: drive, Poll: poll.Now, Log: log,
	})
	log.Info("sitesync starts", zap.Object("config", cfg))

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { up.Run(ctx) })
	if cfg.Index {
		index := &watcher.Index{Store: store, Site: remote.Name, Interval: cfg.LoopDelay, Log: log}
		wg.Go(func() { index.Run(ctx) })
	}
	if once {
		err = drain(ctx, poll, up)
		cancel()
		finish(log, cfg, &wg, up)
		return err
	}
	stream := &watcher.Stream{Store: store, Site: remote.Name, Queue: queue, Poll: func() {}, Log: log}
	if cfg.Poll {
		stream.Poll = poll.Now
		wg.Go(func() { poll.Run(ctx) })
	}
	if cfg.Stream {
		wg.Go(func() { stream.Run(ctx) })
	}
	<-ctx.Done()
	log.Info("stopping; running uploads may finish", zap.Duration("within", cfg.ShutdownTimeout))
	finish(log, cfg, &wg, up)
	return nil
}

// finish waits for everything to end, but not for what hangs, such as a read from a storage that has gone.
func finish(log *zap.Logger, cfg *config.Config, wg *sync.WaitGroup, up *uploader.Uploader) {
	ended := make(chan struct{})
	go func() {
		wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(cfg.ShutdownTimeout * 9 / 10):
		log.Warn("something does not end; it is left alone")
	}
	t := up.Totals()
	log.Info("stopped", zap.Int64("synced", t.Synced), zap.Int64("failed_tries", t.Failed), zap.Int64("given_up", t.GivenUp))
}

func connect(cfg *config.Config) (*mongo.Client, error) {
	client, err := mongo.Connect(options.Client().SetAppName("sitesync").
		// Short enough to find another primary while a publish is still fresh. The URI may say otherwise.
		SetServerSelectionTimeout(5 * time.Second).SetConnectTimeout(5 * time.Second).
		ApplyURI(cfg.Mongo.URI.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("mongo %s: %w", cfg.Mongo.URI, err)
	}
	return client, nil
}

func openSite(ctx context.Context, cfg *config.Config, remote config.Site) (*gdrive.Site, error) {
	var roots []string
	for _, root := range remote.Root.All() {
		roots = append(roots, root)
	}
	s, err := gdrive.New(ctx, gdrive.Config{Credentials: remote.Credentials, Subject: remote.Subject,
		Endpoint: remote.Endpoint, Roots: roots, Connections: cfg.Transfers + 4})
	if err != nil {
		return nil, fmt.Errorf("site %s: %w", remote.Name, err)
	}
	return s, nil
}

// drain polls once and waits until all that was found is synced or given up.
func drain(ctx context.Context, poll *watcher.Poll, up *uploader.Uploader) error {
	ctx, cancel := context.WithCancel(ctx)
	polled := make(chan error, 1)
	go func() { polled <- poll.Once(ctx) }()
	defer func() {
		cancel()
		<-polled
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return errors.New("interrupted before everything was synced")
		case <-tick.C:
		}
		if err := up.SiteHeld(); err != nil {
			return fmt.Errorf("uploads are held: %w", err)
		}
		select {
		case err := <-polled:
			polled <- err
			if err != nil {
				return fmt.Errorf("poll: %w", err)
			}
			if !up.Idle() {
				continue
			}
			if t := up.Totals(); t.GivenUp+t.Held > 0 {
				return fmt.Errorf("%d file(s) or document(s) can't be synced, %d are held up; see above", t.GivenUp, t.Held)
			}
			return nil
		default:
		}
	}
}

// newLogger logs to standard error: readable on a terminal, JSON otherwise.
func newLogger(cfg *config.Config) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(cfg.LogLevel)
	if err != nil {
		return nil, err
	}
	ec := zap.NewProductionEncoderConfig()
	ec.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	ec.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(ec)
	if cfg.LogFormat == "console" || cfg.LogFormat == "auto" && term.IsTerminal(int(os.Stderr.Fd())) {
		ec.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		ec.EncodeLevel = zapcore.CapitalColorLevelEncoder
		encoder = zapcore.NewConsoleEncoder(ec)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(os.Stderr), level)), nil
}
