package command

import (
	"cmp"
	"slices"
	"time"

	"github.com/dustin/go-humanize"

	"sitesync/avalon"
	"sitesync/duration"
	"sitesync/explain"
)

// text is the status for people.
func (s *status) text(color bool) string {
	t := styledText{color: color}
	if s.RemoteSite == "" {
		t.line(nothingSynced)
		return t.String()
	}
	t.holder(s)
	t.paused(s)
	t.line("")
	if len(s.Projects) == 0 {
		t.line("no project has files for site %s", s.RemoteSite)
		return t.String()
	}
	t.projects(s)
	for _, p := range s.Projects {
		name := sanitize(p.Project)
		if p.Error != "" {
			t.line("%s: %s", t.style(red, name), sanitize(p.Error))
		}
		if n := p.Paused.Files; n > 0 {
			t.line("%s: %s file(s) are paused in their records, and are left alone until paused is removed", name,
				humanize.Comma(n))
		}
		for _, u := range p.Unfit {
			t.line("%s: %s file(s) are held, as the settings do not fit: %s", t.style(red, name),
				humanize.Comma(u.Files), sanitize(u.Reason))
		}
		if n := p.SourceMissing.Files; n > 0 {
			t.line("%s: %s file(s) are not on site %s, so there is nothing to upload yet", name, humanize.Comma(n),
				s.ActiveSite)
		}
		if n := p.Invalid.Files; n > 0 {
			t.line("%s: %s file(s) have an invalid record; the log of sitesync says why", t.style(red, name),
				humanize.Comma(n))
		}
	}
	for _, p := range s.Projects {
		t.failed(p, s.At)
	}
	return t.String()
}

// holder shows which process syncs, and what it holds.
func (t *styledText) holder(s *status) {
	w := s.Sitesync
	switch {
	case w.Error != "":
		t.line("sitesync  %s", t.style(red, "cannot read which process syncs: "+sanitize(w.Error)))
		return
	case !w.Runs && w.Host == "":
		t.line("sitesync  %s", t.style(red, "no sitesync runs for site "+s.RemoteSite))
		return
	case !w.Runs:
		t.line("sitesync  %s; the last one was process %d on %s",
			t.style(red, "no sitesync runs for site "+s.RemoteSite), w.PID, sanitize(w.Host))
		return
	}
	t.line("sitesync  process %d on %s syncs to site %s, since %s (%s)", w.PID, sanitize(w.Host), s.RemoteSite,
		w.Since.Local().Format(time.DateTime), duration.Rough(s.At.Sub(w.Since)))
	stream := t.style(green, w.Stream)
	if w.Stream != "open" {
		stream = t.style(yellow, sanitize(w.Stream)+"; publishes are found by the poll only")
	}
	t.line("stream    %s", stream)
	if len(w.Held) == 0 {
		t.line("held      nothing")
	}
	for _, held := range w.Held {
		t.line("held      %s", t.style(red, sanitize(held)))
	}
}

// paused lists the pauses.
func (t *styledText) paused(s *status) {
	for _, p := range s.Paused {
		why := ""
		if p.Why != "" {
			why = ": " + sanitize(p.Why)
		}
		what, _ := explain.PauseSubject(s.RemoteSite, sanitize(p.Project))
		t.line("paused    %s, by %s, %s ago%s", t.style(yellow, what), sanitize(p.By),
			duration.Rough(s.At.Sub(p.Since)), why)
	}
}

func (t *styledText) projects(s *status) {
	var header []cell
	for _, name := range []string{"PROJECT", "PENDING", "WAITING", "FAILED", "SYNCED", "TO UPLOAD", "UPLOADED",
		"OLDEST"} {
		header = append(header, cell{name, bold})
	}
	rows := [][]cell{header}
	row := func(name string, c avalon.Stats, st style) {
		files := func(n int64, st style) cell {
			if n == 0 {
				st = plain
			}
			return cell{humanize.Comma(n), st}
		}
		oldest := ""
		if !c.Oldest.IsZero() {
			oldest = duration.Rough(s.At.Sub(c.Oldest))
		}
		left := c.Pending
		left.Add(c.BackingOff)
		rows = append(rows, []cell{{sanitize(name), st}, files(c.Pending.Files, plain),
			files(c.BackingOff.Files, yellow), files(c.Failed.Files, red), files(c.Synced.Files, green),
			{humanize.IBytes(uint64(left.Bytes)), plain}, {humanize.IBytes(uint64(c.Synced.Bytes)), plain},
			{oldest, plain}})
	}
	for _, p := range s.Projects {
		if p.Error == "" || !p.Stats.IsZero() {
			row(p.Project, p.Stats, plain)
		} else {
			unknown := slices.Repeat([]cell{{"?", red}}, len(header)-1)
			rows = append(rows, append([]cell{{sanitize(p.Project), red}}, unknown...))
		}
	}
	if len(s.Projects) > 1 {
		row("total", s.Total, bold)
	}
	t.table(rows)
}

// failed lists the failed files of a project, if they were asked for.
func (t *styledText) failed(p projectStatus, now time.Time) {
	if len(p.FailedFiles) == 0 {
		return
	}
	t.line("\n%s, the most recent first; fix the cause, then retry: sitesync retry %s",
		t.style(bold, "failed files of "+sanitize(p.Project)), explain.ShellQuote(p.Project))
	for _, f := range p.FailedFiles {
		when := ""
		if !f.LastFailed.IsZero() {
			when = ", " + duration.Rough(now.Sub(f.LastFailed)) + " ago"
		}
		t.line("  %s\n      representation %s, %d tries%s: %s", sanitize(f.Path), sanitize(f.Representation), f.Tries,
			when, t.style(red, sanitize(cmp.Or(f.Error, "no error is recorded"))))
	}
	if more := p.Failed.Files - int64(len(p.FailedFiles)); more > 0 {
		t.line("  ... and %s more (--limit)", humanize.Comma(more))
	}
}
