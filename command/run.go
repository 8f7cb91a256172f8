package command

import (
	"context"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sitesync/config"
	"sitesync/daemon"
)

type runCmd struct {
	Once bool `help:"Sync what is pending and has tries left, then exit: 0 if all of it is synced, 1 if not."`
}

func (runCmd) Help() string {
	return `Example:
  AVALON_MONGO=mongodb://mongo1,mongo2/?replicaSet=rs0 sitesync run --presets /etc/sitesync

With --once the exit status is also 1 if something pending was left because it is paused.

The first SIGTERM or SIGINT lets running transfers finish for a while; a second one ends at once.`
}

func (r runCmd) Run(ctx context.Context, flags *config.Flags) error {
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
		log.Warn(w)
	}
	d, err := daemon.New(cfg, log, daemon.Options{Once: r.Once, Version: thisBuild().Version})
	if err != nil {
		return err
	}
	return d.Run(ctx)
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
	if cfg.LogFormat == "console" || cfg.LogFormat == "auto" && isTerminal(out) {
		ec.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		ec.EncodeLevel = zapcore.CapitalLevelEncoder
		if colored(out) {
			ec.EncodeLevel = zapcore.CapitalColorLevelEncoder
		}
		encoder = zapcore.NewConsoleEncoder(ec)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(out), level)), nil
}
