// Package command is the command line: one file for each subcommand, and what they share.
package command

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/alecthomas/kong"

	"sitesync/config"
)

const description = `Uploads what a studio publishes with Pype to its Google Drive.

Settings of the studio come from Pype's own presets, config.json and gdrive.json; see --presets.`

type cli struct {
	config.Flags
	Run         runCmd           `cmd:"" help:"Sync what is published, until it is stopped."`
	Check       checkCmd         `cmd:"" help:"Check settings, database, credentials and roots, and say what to fix."`
	Status      statusCmd        `cmd:"" help:"Show which process syncs, what is held, and how far each project is."`
	Explain     explainCmd       `cmd:"" help:"Show why a file is synced or not, and what to do."`
	Retry       retryCmd         `cmd:"" help:"Make failed files pending again, once the cause is fixed."`
	AddSite     addSiteCmd       `cmd:"" help:"Sync what was published before the site was configured."`
	Pause       pauseCmd         `cmd:"" help:"Begin no more uploads, of all or of one project, until it is resumed."`
	Resume      resumeCmd        `cmd:"" help:"End a pause."`
	Health      healthCmd        `cmd:"" help:"Ask the sitesync that runs on this machine for its health."`
	Version     versionCmd       `cmd:"" help:"Show which sitesync this is."`
	Completion  completionCmd    `cmd:"" help:"Print a script that completes commands in a shell."`
	Complete    completeCmd      `cmd:"" hidden:"" help:"Print what a word can become, for the completion scripts."`
	ShowVersion kong.VersionFlag `name:"version" help:"Show which sitesync this is."`
}

// errFailed ends the program with status 1, when the command has printed why.
var errFailed = errors.New("failed")

// Main runs the command that args name, until ctx ends, and returns the exit status: 0 for success, 1 for failure. A
// wrong command line ends the process with status 80, after a message.
func Main(ctx context.Context, args []string) int {
	var c cli
	parser, err := newParser(&c)
	if err != nil {
		panic(err) // the grammar is wrong
	}
	k, err := parser.Parse(args)
	parser.FatalIfErrorf(err)
	k.BindTo(ctx, (*context.Context)(nil))
	var opened *env
	err = k.BindToProvider(func() (e *env, err error) { // for commands whose Run takes it
		opened, err = openEnv(&c.Flags)
		return opened, err
	})
	if err != nil {
		panic(err)
	}
	defer func() {
		if opened != nil {
			opened.close()
		}
	}()
	switch err := k.Run(&c.Flags); {
	case err == nil:
		return 0
	case !errors.Is(err, errFailed):
		fmt.Fprintln(os.Stderr, "sitesync:", err)
	}
	return 1
}

func newParser(c *cli) (*kong.Kong, error) {
	return kong.New(c, kong.Name("sitesync"), kong.Description(description), kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.Vars(config.FlagHelp),
		kong.Vars{"version": thisBuild().String()})
}
