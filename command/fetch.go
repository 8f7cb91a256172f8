package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/daemon"
	"sitesync/explain"
)

type fetchCmd struct {
	Project string   `arg:"" help:"The project."`
	Files   []string `arg:"" optional:"" name:"id|path" help:"Ids of representations, or paths or names of files."`
	Asset   string   `placeholder:"PATTERN" help:"All of assets or shots of this name; * is any characters, ? is one."`
	Subset  string   `placeholder:"PATTERN" help:"All of subsets of this name."`
	Family  string   `placeholder:"NAME" help:"All of subsets, or versions, of this family."`
	Version string   `placeholder:"VERSION" help:"Of those: latest (the default), all, hero, or a number: 3 or v003."`
	Name    string   `placeholder:"PATTERN" help:"Of those: only representations of this name, such as exr."`
	NoWait  bool     `help:"Only ask; do not wait until the files are there."`
	DryRun  bool     `short:"n" help:"Only show what would be done."`
	Output  string   `short:"o" enum:"text,json" default:"text" help:"text (the default) or json."`

	version avalon.Version // set by Validate
}

func (fetchCmd) Help() string {
	return `Examples:
  sitesync fetch Test 6b050e7f95b3069bbeff69ac
  sitesync fetch Test "P:\projects\Test\Assets\Cylinder\publish\model\modelMain\v001\test_Cylinder_modelMain_v001.ma"
  sitesync fetch Test --asset Cylinder --subset 'model*' --name ma
  sitesync fetch Test --family model --version 1 --no-wait

Asks for files on this site, which is active_site: it adds the record of the site to files that another site has, and
the sitesync that downloads to this site starts at once. Files that have failed to come are tried again. The
representation of a file is fetched as a whole: all frames of a sequence, which may be named by one of them, or with
#### for the number. A path may be one as artists see it on any machine, as the document has it ({root}/...), or on the
remote site; the name of a file alone means the newest of that name.

Then it shows the progress until all files are there. Ctrl-C ends the waiting, not the download; the same command goes
on showing it. Files that the remote site does not have yet come when they are uploaded. Large files are shown one by
one where sitesync runs with --record-progress.

The exit status is 0 if all files are there, or with --no-wait if they are asked for; 1 if not; 80 if the command line
is wrong.`
}

func (c *fetchCmd) Validate() error {
	chosen := c.Asset != "" || c.Subset != "" || c.Family != ""
	switch {
	case len(c.Files) == 0 && !chosen:
		return errors.New("name files by id or path, or choose them by --asset, --subset or --family")
	case len(c.Files) > 0 && (chosen || c.Version != "" || c.Name != ""):
		return errors.New("an id or a path cannot be combined with --asset, --subset, --family, --version or --name")
	}
	switch version := cmp.Or(c.Version, "latest"); version {
	case "latest":
		c.version.Latest = true
	case "hero", "master":
		c.version.Hero = true
	case "all":
	default:
		n, err := strconv.ParseInt(strings.TrimPrefix(strings.ToLower(version), "v"), 10, 32)
		if err != nil || n < 0 {
			return fmt.Errorf("--version is %q but must be latest, all, hero, or a number such as 3 or v003", version)
		}
		c.version.Number = &n
	}
	return nil
}

func (c fetchCmd) Run(ctx context.Context, e *env) error {
	if _, err := e.remote(); err != nil {
		return err
	}
	rules := daemon.Rules(e.cfg, config.Down)
	out := &fetchResult{bulkResult: newBulkResult(rules.To, c.DryRun), Notes: []string{}}
	out.progress.set("looking for the files ...")
	f := &fetch{env: e, project: c.Project, rules: rules}
	var err error
	if f.ids, err = c.find(ctx, e); err == nil {
		err = f.ask(ctx, out)
	}
	out.progress.stop()
	if err != nil {
		return err
	}
	if c.Output == "text" {
		fmt.Print(out.asked(rules))
	}
	if c.DryRun || c.NoWait || out.failed() {
		if coming(out.Files).Files > 0 {
			out.Notes = f.obstacles(ctx)
		}
		var text strings.Builder
		for _, note := range out.Notes {
			fmt.Fprintf(&text, "%s: %s\n", sanitize(c.Project), note)
		}
		return writeResult(c.Output, out, text.String(), !out.failed())
	}
	err = f.wait(ctx, out)
	if err == nil && out.Files.Failed.Files > 0 {
		var failed []avalon.FailedFile
		failed, err = e.store.Failed(ctx, c.Project, rules, maxListed, f.ids...)
		out.FailedFiles = failedFiles(failed, config.Down)
	}
	if err != nil && ctx.Err() == nil {
		return err
	}
	return writeResult(c.Output, out, out.ended(ctx.Err() != nil), out.Complete)
}

// maxListed is how many failed files are listed at most.
const maxListed = 20

// maxFetched bounds the representations of one fetch: their ids are in each query.
const maxFetched = 100_000

// find returns the ids of the representations that are asked for.
func (c fetchCmd) find(ctx context.Context, e *env) ([]avalon.ID, error) {
	projects, err := e.projects(ctx, "")
	if err == nil {
		_, err = e.projects(ctx, c.Project)
	}
	if err != nil {
		return nil, err
	}
	var ids []avalon.ID
	var problems []error
	x := daemon.NewExplainer(e.cfg, e.store, e.state)
	for _, asked := range c.Files {
		id, err := x.Representation(ctx, c.Project, projects, asked)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(c.Files) == 0 {
		ids, err = e.store.Representations(ctx, c.Project, avalon.Selection{Asset: c.Asset, Subset: c.Subset,
			Family: c.Family, Version: c.version, Name: c.Name})
		problems = append(problems, err)
	}
	err = errors.Join(problems...)
	switch {
	case err != nil:
		return nil, err
	case len(ids) == 0:
		return nil, fmt.Errorf("project %s has no such representation: check the names, and --version (latest, all, "+
			"hero or a number)", c.Project)
	case len(ids) > maxFetched:
		return nil, fmt.Errorf("these are %s representations, more than %s: choose fewer",
			humanize.Comma(int64(len(ids))), humanize.Comma(maxFetched))
	}
	return ids, nil
}

// fetch is one fetch under way.
type fetch struct {
	*env
	project string
	rules   avalon.Rules
	ids     []avalon.ID // of the representations
}

// ask asks for the files, and reads what became of them.
func (f *fetch) ask(ctx context.Context, out *fetchResult) error {
	these := avalon.Selection{Representations: f.ids}
	add := avalon.AddSite{Site: f.rules.To, Selection: these, Retry: true, EditOptions: out.options(f.project)}
	done, err := f.store.AddSite(ctx, f.project, add)
	out.add(ctx, f.project, done, err)
	if err != nil || ctx.Err() != nil {
		return nil // it is in the result
	}
	if out.Files, err = f.store.Stats(ctx, f.project, f.rules, time.Now(), f.ids...); err != nil {
		return err
	}
	// As in a dry run nothing is recorded yet, these are counted by the records of the other site.
	unrecorded, err := f.store.AddSite(ctx, f.project, avalon.AddSite{Site: f.rules.From, Selection: these,
		EditOptions: avalon.EditOptions{DryRun: true}})
	out.NotUploaded = unrecorded.Files
	if err == nil && !out.DryRun {
		out.OnNoSite, err = f.store.WithoutRecord(ctx, f.project, f.rules.To, these)
	}
	return err
}

// obstacles are what keeps files from coming, with what to do, as far as other processes can know.
func (f *fetch) obstacles(ctx context.Context) []string {
	all := []string{}
	add := func(format string, args ...any) { all = append(all, sanitize(fmt.Sprintf(format, args...))) }
	name := f.leaseName(config.Down)
	pauses, err := f.state.Pauses(name).List(ctx)
	for _, p := range pauses {
		if p.Project == "" || p.Project == f.project {
			_, resume := explain.PauseSubject(f.rules.From, p.Project)
			why := ""
			if p.Why != "" {
				why = ": " + p.Why
			}
			add("%s are paused by %s%s; resume them: %s",
				explain.PausedTransfers(config.Down, f.rules.From, p.Project), p.By, why, resume)
		}
	}
	info, err2 := f.state.LeaseInfo(ctx, name)
	if err = errors.Join(err, err2); err != nil {
		add("cannot read which process downloads: %v", err)
		return all
	}
	if info != nil && info.Active() {
		for _, h := range explain.Holds(info.Status) {
			add("held: %s", h)
		}
		return all
	}
	switch {
	case f.cfg.Direction == config.Up:
		add("no sitesync downloads to site %s, and here direction is up; start one: sitesync run --direction both",
			f.rules.To)
	case len(f.cfg.LocalRoot) == 0:
		add("no sitesync downloads to site %s, and here local_root is not set: name the folder of the storage there, "+
			"then start one: sitesync run", f.rules.To)
	case info != nil:
		add("no sitesync downloads to site %s; start one: sitesync run; the last one was %s", f.rules.To, info.Holder)
	default:
		add("no sitesync downloads to site %s; start one: sitesync run", f.rules.To)
	}
	return all
}

// fetchResult is the result of sitesync fetch. Its JSON is for scripts: fields may be added, but none changes or goes.
type fetchResult struct {
	*bulkResult              // what was asked for
	Files       avalon.Stats `json:"files"`        // that have the record of this site, at the end
	NotUploaded int64        `json:"not_uploaded"` // files without a record of the remote site
	OnNoSite    int64        `json:"on_no_site"`   // files that no site has
	Gone        int64        `json:"gone"`         // files whose representations were deleted while we waited
	Complete    bool         `json:"complete"`     // all files are here
	FailedFiles []failedFile `json:"failed_files,omitempty"`
	Notes       []string     `json:"notes"` // what keeps files from coming
}

// failed reports whether the files could not be asked for.
func (r *fetchResult) failed() bool { return len(r.Projects) > 0 && r.Projects[0].Error != "" }

// tracked are the files that have the record of this site.
func tracked(s avalon.Stats) (all avalon.FileCount) {
	for _, c := range []avalon.FileCount{s.Pending, s.BackingOff, s.Paused, s.Failed, s.Synced, s.SourceMissing,
		s.Invalid} {
		all.Add(c)
	}
	return all
}

// coming are the files that are waited for.
func coming(s avalon.Stats) (all avalon.FileCount) {
	for _, c := range []avalon.FileCount{s.Pending, s.BackingOff, s.SourceMissing} {
		all.Add(c)
	}
	return all
}

// asked is what was asked for, for people.
func (r *fetchResult) asked(rules avalon.Rules) string {
	site := sanitize(rules.To)
	text := r.text("are asked for on site "+site, "would be asked for on site "+site, "there is nothing to ask for")
	if r.failed() {
		return text
	}
	note := func(files int64, does string) {
		if files > 0 {
			text += fmt.Sprintf("%s: %s %s\n", sanitize(r.Projects[0].Project), explain.Plural(files, "file"),
				agree(files, does))
		}
	}
	remote := sanitize(rules.From)
	note(r.Files.Synced.Files, "are here already")
	onTheirWay := coming(r.Files).Files - r.Total.Files
	if r.DryRun {
		onTheirWay = r.Files.Pending.Files + r.Files.SourceMissing.Files
	}
	note(onTheirWay, "had been asked for before")
	note(r.Files.SourceMissing.Files-r.NotUploaded, "are not on site "+remote+" yet; the download follows the upload")
	note(r.NotUploaded, "have no record of site "+remote+", so nothing is uploaded; on a machine of a site with the "+
		"content: sitesync add-site "+explain.ShellQuote(r.Projects[0].Project))
	note(r.Files.Paused.Files, pausedFiles)
	note(r.Files.Invalid.Files, invalidFiles)
	note(r.OnNoSite, "are on no site, so there is nothing to download")
	return text
}

// ended is how it ended, for people.
func (r *fetchResult) ended(interrupted bool) string {
	var text strings.Builder
	name, all := sanitize(r.Projects[0].Project), tracked(r.Files)
	all.Files += r.Gone + r.OnNoSite
	onSite := agree(all.Files, "are on site "+sanitize(r.Site))
	here := fmt.Sprintf("%s of %s %s", humanize.Comma(r.Files.Synced.Files), explain.Plural(all.Files, "file"), onSite)
	switch {
	case r.Complete:
		files := "all " + explain.Plural(all.Files, "file")
		if all.Files == 1 {
			files = "the file"
		}
		fmt.Fprintf(&text, "%s: %s %s, %s\n", name, files, onSite, humanize.IBytes(uint64(all.Bytes)))
		return text.String()
	case interrupted:
		fmt.Fprintf(&text, "%s: %s; only the waiting has ended, the rest is still asked for\n", name, here)
		return text.String()
	}
	fmt.Fprintf(&text, "%s: %s\n", name, here)
	if r.Gone > 0 {
		fmt.Fprintf(&text, "%s: %s %s gone: deleted, or published again meanwhile; ask again\n", name,
			explain.Plural(r.Gone, "file"), agree(r.Gone, "are"))
	}
	if r.Files.Failed.Files > 0 {
		failed := r.Files.Failed.Files
		fmt.Fprintf(&text, "%s: %s %s; fix the cause, then ask again:\n", name, explain.Plural(failed, "file"),
			agree(failed, "have failed"))
	}
	for _, f := range r.FailedFiles {
		fmt.Fprintf(&text, "  %s\n      %s: %s\n", sanitize(f.Path), explain.Plural(f.Tries, "try"),
			sanitize(cmp.Or(f.Error, "no error is recorded")))
	}
	if more := r.Files.Failed.Files - int64(len(r.FailedFiles)); more > 0 {
		fmt.Fprintf(&text, "  ... and %s more\n", humanize.Comma(more))
	}
	return text.String()
}

// wait shows the progress until no file is on its way any more, or ctx ends.
func (f *fetch) wait(ctx context.Context, out *fetchResult) error {
	asked := tracked(out.Files).Files
	defer func() {
		now := tracked(out.Files).Files // more than asked if one was published again with more
		out.Gone = max(asked-now, 0)
		out.Complete = out.Gone == 0 && out.OnNoSite == 0 && out.Files.Synced.Files == now
	}()
	if coming(out.Files).Files == 0 {
		return nil
	}
	show := newFetchDisplay(os.Stderr, isTerminal(os.Stderr), f.project)
	defer show.end()
	progress := newFetchProgress(f.rules.From, out.Files)
	var looked time.Time    // for obstacles
	var spent time.Duration // on the last look at the files
	for coming(out.Files).Files > 0 {
		began := time.Now()
		if began.Sub(looked) >= obstacleInterval {
			out.Notes, looked = f.obstacles(ctx), began
		}
		running, err := f.store.Running(ctx, f.project, f.rules.Route, maxRunning, f.ids)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		progress.set(out.Files, running, began)
		progress.notes = slices.Clone(out.Notes)
		if err != nil {
			progress.notes = append(progress.notes, "the database does not answer: "+sanitize(err.Error()))
		}
		show.update(progress)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(max(pollInterval, pollShare*(spent+time.Since(began)))):
		}
		began = time.Now()
		// The last counts stay while the database does not answer, which Running reports too.
		if now, err := f.store.Stats(ctx, f.project, f.rules, time.Now(), f.ids...); err == nil {
			out.Files = now
		}
		spent = time.Since(began)
	}
	out.Notes = []string{}
	return nil
}

const (
	pollInterval     = 500 * time.Millisecond
	pollShare        = 10 // of the time at most one in so many is spent by the database on the progress
	obstacleInterval = 5 * time.Second
	maxRunning       = 8 // files that are shown one by one
)
