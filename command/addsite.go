package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sitesync/avalon"
	"sitesync/config"
)

type addSiteCmd struct {
	Project string `arg:"" help:"The project."`
	Site    string `placeholder:"NAME" help:"The site of gdrive.json to add, default remote_site."`
	Subset  string `placeholder:"PATTERN" help:"Only subsets of this name; * stands for any characters, ? for one."`
	Family  string `placeholder:"NAME" help:"Only subsets, or versions, of this family."`
	Since   string `placeholder:"DATE" help:"Only files published then or later: 2026-01-31 or 2026-01-31T18:30."`
	Before  string `placeholder:"DATE" help:"Only files published before that."`
	DryRun  bool   `short:"n" help:"Only show what would be done."`
	Output  string `short:"o" enum:"text,json" default:"text" help:"text (the default) or json."`

	since, before time.Time // set by Validate
}

func (addSiteCmd) Help() string {
	return `Examples:
  sitesync add-site MY_PROJECT --dry-run
  sitesync add-site MY_PROJECT
  sitesync add-site MY_PROJECT --subset 'look*' --family look --since 2026-01-31

Adds the record of the site to files that were published without it and that the active site has. The sitesync that
runs for that site starts at once. Existing records stay as they are, so it can be interrupted and repeated. DATE is by
the clock of the machine that published, as Pype records it. Files without any sites, from before Pype had sites, are
counted and left alone: their documents do not say that the active site has them.

The exit status is 0 also if there was nothing to do, 1 if something failed, 80 if the command line is wrong.`
}

// parseDate reads a date by the clock of the publisher: Pype writes that as if it were UTC.
func parseDate(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04", "2006-01-02 15:04"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%s is %q but must be a date such as 2026-01-31 or 2026-01-31T18:30", flag, text)
}

func (c *addSiteCmd) Validate() error {
	var err, err2 error
	c.since, err = parseDate("--since", c.Since)
	c.before, err2 = parseDate("--before", c.Before)
	if err == nil && err2 == nil && !c.since.IsZero() && !c.before.IsZero() && !c.since.Before(c.before) {
		err = errors.New("--since must be earlier than --before")
	}
	return errors.Join(err, err2)
}

func (c addSiteCmd) Run(ctx context.Context, e *env) error {
	site, err := c.site(e.cfg)
	if err != nil {
		return err
	}
	if _, err := e.projects(ctx, c.Project); err != nil {
		return err
	}
	out := newBulkResult(site, c.DryRun)
	add := avalon.AddSite{From: e.cfg.ActiveSite, Site: site,
		Selection: avalon.Selection{Subset: c.Subset, Family: c.Family}, Since: c.since, Before: c.before,
		EditOptions: out.options(c.Project)}
	done, err := e.store.AddSite(ctx, c.Project, add)
	var without int64
	if err == nil {
		without, err = e.store.WithoutSites(ctx, c.Project, add.Selection)
	}
	out.add(ctx, c.Project, done, err).WithoutSites = without
	return out.write(c.Output, "have got site "+site, "would get site "+site,
		"no file is without a record of site "+site)
}

// site is the name of the site to add.
func (c addSiteCmd) site(cfg *config.Config) (string, error) {
	site := cmp.Or(c.Site, cfg.RemoteSite)
	known := slices.Sorted(maps.Keys(cfg.Sites))
	switch _, ok := cfg.Sites[site]; {
	case site == "":
		return "", errors.New("remote_site is empty; name the site to add by --site")
	case site == cfg.ActiveSite:
		return "", fmt.Errorf("site %q is active_site, which files come from; name the one that they go to", site)
	case !ok && config.Nearest(site, known) != "":
		return "", fmt.Errorf("gdrive.json has no site %q; did you mean %q?", site, config.Nearest(site, known))
	case !ok:
		return "", fmt.Errorf("gdrive.json has no site %q, but %q", site, known)
	case strings.ContainsAny(site, ".$"):
		return "", fmt.Errorf("site %q cannot be a key of documents; take another name, without . and $", site)
	}
	return site, nil
}
