package web

import (
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"sitesync/duration"
	"sitesync/state"
	"sitesync/uploader"
	"sitesync/watcher"
)

const (
	// How many lines of each kind the first page has.
	mostTransfers = 32
	mostSynced    = 12
	mostWaiting   = 20
	mostListed    = 20
	mostProjects  = 200
)

// overview is all that the first page shows.
type overview struct {
	RemoteSite string
	MayChange  bool
	Head       headline
	Facts      []fact
	Held       []uploader.Hold
	MoreHeld   int
	Pause      *state.Pause // of all
	Away       bool         // the database does not answer

	Transfers     []transferRow
	MoreTransfers int
	Speed         float64 // of all, bytes a second
	Queued        []string

	Hour chart

	Synced []synced
	Files  int64 // synced since the start
	Bytes  int64

	Waiting     []uploader.Waiting
	MoreWaiting int

	Listed      bool // the failed files were read
	Failed      []failedGroup
	FailedFiles int64
	MoreFailed  int
	FailedMore  bool // there are more than were read

	Counted  time.Time // zero if nothing is
	Projects []projectRow
	Total    projectCounts
	MoreProj int
}

// headline says how it is, in one sentence.
type headline struct {
	Level Level
	Text  string
}

// fact is something about sitesync as a whole.
type fact struct {
	Name  string
	Level Level
	Value string
	Note  string
	Since time.Time
}

type transferRow struct {
	uploader.Transfer
	Speed float64 // bytes a second; 0 if unknown
	Left  time.Duration
}

// Percent is how much is sent, 0 to 100.
func (t transferRow) Percent() int {
	if t.Size <= 0 {
		return 0
	}
	return int(min(max(t.Sent, 0)*100/t.Size, 100))
}

// Text is how far it is.
func (t transferRow) Text() string {
	switch {
	case t.Size < 0:
		return size(t.Sent) + " sent"
	case t.Sent <= 0:
		return "begins, " + size(t.Size)
	case t.Sent >= t.Size:
		return size(t.Size) + " sent, to be confirmed"
	}
	parts := []string{fmt.Sprintf("%s of %s", size(t.Sent), size(t.Size))}
	if t.Speed > 0 {
		parts = append(parts, size(int64(t.Speed))+"/s")
	}
	if t.Left > 0 {
		parts = append(parts, elapsed(t.Left)+" left")
	}
	return strings.Join(parts, ", ")
}

type projectRow struct {
	projectCounts
	Pause *state.Pause
}

// overview takes a look at everything.
func (s *Server) overview(books ledger, mayChange bool) *overview {
	now := time.Now()
	snapshot := s.Snapshot()
	o := &overview{RemoteSite: s.About.RemoteSite, MayChange: mayChange, Away: books.Away}
	a := snapshot.Activity
	o.Held, o.MoreHeld = firsts(a.Held, mostHeld)
	paused := map[string]*state.Pause{}
	for _, p := range books.Paused {
		paused[p.Project] = &p
	}
	o.Pause = paused[""]

	speeds := s.speeds.of(a.Transfers, now)
	for i, t := range a.Transfers {
		row := transferRow{Transfer: t, Speed: speeds[i]}
		if left := t.Size - t.Sent; left > 0 && row.Speed > 1 {
			row.Left = time.Duration(float64(left) / row.Speed * float64(time.Second))
		}
		o.Speed += row.Speed
		o.Transfers = append(o.Transfers, row)
	}
	o.Transfers, o.MoreTransfers = firsts(o.Transfers, mostTransfers)
	o.Queued = queued(a, snapshot.Queue)

	o.Hour = newChart(s.history.hour(now))
	o.Synced = s.history.last(mostSynced)
	o.Files, o.Bytes = snapshot.Uploader.Synced, snapshot.Uploader.SyncedBytes
	o.Waiting, o.MoreWaiting = firsts(a.Waiting, mostWaiting)

	o.Listed = !books.Listed.IsZero()
	o.Failed, o.MoreFailed = firsts(books.Failed, mostListed)
	o.FailedFiles, o.FailedMore = books.Files, books.Files >= mostFailed

	o.Counted, o.Total = books.Counted, books.Total
	rows, more := firsts(books.Projects, mostProjects)
	o.MoreProj = more
	for _, p := range rows {
		o.Projects = append(o.Projects, projectRow{p, paused[p.Project]})
	}

	if s.books == nil { // there is nothing to be waited for
		o.Listed, o.Counted = true, now
	}
	o.Head = s.headline(snapshot, a, o)
	o.Facts = s.facts(snapshot, a, books)
	return o
}

// firsts are the first ones of a list, and how many others there are.
func firsts[T any](list []T, most int) ([]T, int) {
	if len(list) <= most {
		return list, 0
	}
	return list[:most], len(list) - most
}

// queued tells what waits for its turn.
func queued(a uploader.Activity, q Queue) (lines []string) {
	if a.Live > 0 || q.Live > 0 {
		lines = append(lines, "just published: "+waits(a.Live, q.Live))
	}
	if a.Backlog > 0 || q.Backlog > 0 {
		lines = append(lines, "backlog: "+waits(a.Backlog, q.Backlog))
	}
	return lines
}

func waits(files, representations int) string {
	var parts []string
	if files > 0 {
		parts = append(parts, plural(int64(files), "file"))
	}
	if representations > 0 {
		parts = append(parts, plural(int64(representations), "representation")+" to be looked at")
	}
	return strings.Join(parts, ", ")
}

// headline goes by what is most important to know.
func (s *Server) headline(snapshot Snapshot, a uploader.Activity, o *overview) headline {
	switch {
	case snapshot.Stopping:
		return headline{Warning, "sitesync is stopping"}
	case snapshot.Idle:
		return headline{Warning, "Nothing is synced: remote_site is empty. Name a site of gdrive.json in config.json and restart sitesync"}
	case snapshot.standby():
		return headline{Neutral, "Standing by: another sitesync does the work, and this one takes over if it fails"}
	case !snapshot.Lease.Held:
		return headline{Error, "The lease of the site can't be had: the database is away, or does not let us. Nothing is synced; the log says why"}
	case o.Pause != nil:
		return headline{Warning, "Paused: no upload is begun until somebody resumes"}
	case snapshot.Uploader.Holding[uploader.SiteTarget] > 0:
		return headline{Error, "All uploads are held until the site is repaired; they go on by themselves then"}
	case len(a.Held) > 0:
		return headline{Error, "Some uploads are held until this is repaired; they go on by themselves then"}
	case o.Away:
		return headline{Error, "The database does not answer; the log says more"}
	case a.Away:
		return headline{Warning, s.About.RemoteSite + " is busy or out of reach; uploads are tried again and no try is spent"}
	case len(a.Transfers) > 0:
		text := "Uploading " + plural(int64(len(a.Transfers)), "file")
		if waiting := a.Live + a.Backlog; waiting > 0 {
			text += ", " + humanize.Comma(int64(waiting)) + " more to go"
		}
		return headline{InProgress, text}
	case o.FailedFiles > 0:
		return headline{Error, plural(o.FailedFiles, "file") + " failed for good and need somebody; all others are taken care of"}
	case len(a.Waiting) > 0 || len(o.Queued) > 0:
		return headline{InProgress, "Some files wait; sitesync looks at them again by itself"}
	}
	return headline{OK, "Everything that was published is synced"}
}

// facts are about sitesync as a whole.
func (s *Server) facts(snapshot Snapshot, a uploader.Activity, books ledger) (facts []fact) {
	if snapshot.Idle {
		return nil
	}
	l := snapshot.Lease
	switch {
	case l.Held:
		facts = append(facts, fact{Name: "Work", Level: OK, Value: "done by this sitesync", Note: "on " + s.About.Host})
	case l.Holder != nil && l.Holder.Host != "":
		facts = append(facts, fact{Name: "Work", Level: Neutral, Value: "done on " + l.Holder.Host,
			Note: fmt.Sprintf("process %d, since", l.Holder.PID), Since: l.Holder.Since})
	case l.Holder != nil:
		facts = append(facts, fact{Name: "Work", Level: Neutral, Value: "done by another sitesync"})
	default:
		facts = append(facts, fact{Name: "Work", Level: Error, Value: "not done", Note: "the lease is not held"})
	}
	if !snapshot.standby() {
		facts = append(facts, s.siteFact(snapshot, a, books.Paused), streamFact(&snapshot))
	}
	switch room := books.Room; {
	case !room.Known: // nobody was asked yet, or Google does not tell, as of shared drives
	case room.Limit <= 0:
		facts = append(facts, fact{Name: "Room", Level: OK, Value: "no limit", Note: size(room.Used) + " used"})
	default:
		left := max(room.Limit-room.Used, 0)
		f := fact{Name: "Room", Level: OK, Value: size(left) + " left", Note: "of " + size(room.Limit)}
		if left < room.Limit/20 {
			f.Level = Warning
		}
		if left == 0 {
			f.Level = Error
		}
		facts = append(facts, f)
	}
	if u := snapshot.Uploader; l.Held {
		facts = append(facts, fact{Name: "Synced", Level: Neutral, Value: plural(u.Synced, "file"), Note: size(u.SyncedBytes) + " since it got to work"})
	}
	if n := snapshot.Uploader.InvalidDocs; n > 0 {
		facts = append(facts, fact{Name: "Documents", Level: Warning, Value: humanize.Comma(n) + " unusable", Note: "the log says why"})
	}
	return facts
}

func (s *Server) siteFact(snapshot Snapshot, a uploader.Activity, pauses []state.Pause) fact {
	f := fact{Name: "Site " + s.About.RemoteSite, Level: OK, Value: "ok"}
	switch {
	case len(pauses) > 0 && pauses[0].Project == "":
		f.Level, f.Value, f.Note, f.Since = Warning, "paused", "since", pauses[0].Since
	case snapshot.Uploader.Holding[uploader.SiteTarget] > 0:
		f.Level, f.Value = Error, "held"
	case len(a.Held) > 0:
		f.Level, f.Value = Warning, "held in part"
	case a.Away:
		f.Level, f.Value = Warning, "busy or out of reach"
	case len(pauses) > 0:
		f.Level, f.Value, f.Note = Warning, "ok", plural(int64(len(pauses)), "project")+" paused"
	case snapshot.Site.Limit > 0 && snapshot.Site.Throttled > 0:
		f.Note = fmt.Sprintf("paced to %.1f requests/s", snapshot.Site.Limit)
	}
	return f
}

func streamFact(s *Snapshot) fact {
	f := fact{Name: "Publishes"}
	switch {
	case s.Stream == watcher.StreamOpen:
		f.Level, f.Value, f.Note = OK, "seen live", "change stream open"
	case s.polls():
		f.Level, f.Value, f.Note = Warning, "found by polling", "change stream "+s.Stream.String()
	default:
		f.Level, f.Value, f.Note = Error, "not seen", "no change stream, and the poll is off or fails"
	}
	return f
}

// chart is the last hour as two rows of bars.
type chart struct {
	Files, Bytes         string // paths of an SVG, chartMinutes*10 wide and chartHeight high
	MostFiles, MostBytes int64  // in a minute
	SumFiles, SumBytes   int64
}

const chartHeight = 60

func newChart(hour [chartMinutes]minute) (c chart) {
	for _, m := range hour {
		c.MostFiles, c.MostBytes = max(c.MostFiles, m.files), max(c.MostBytes, m.bytes)
		c.SumFiles += m.files
		c.SumBytes += m.bytes
	}
	var files, bytes strings.Builder
	for i, m := range hour {
		bar(&files, i, m.files, c.MostFiles)
		bar(&bytes, i, m.bytes, c.MostBytes)
	}
	c.Files, c.Bytes = files.String(), bytes.String()
	return c
}

// bar draws one bar, at least so high that it is seen.
func bar(b *strings.Builder, i int, n, most int64) {
	if n <= 0 {
		return
	}
	h := max(float64(n)/float64(most)*chartHeight, 2)
	fmt.Fprintf(b, "M%d %dv-%.1fh8v%.1fz", i*10+1, chartHeight, h, h)
}

// name is the last part of a path, and folder all before it.
func name(p string) string { return path.Base(strings.ReplaceAll(p, `\`, "/")) }

// The root and the project are left out, as Pype's paths begin with them.
func folder(project, p string) string {
	dir := strings.TrimPrefix(path.Dir(strings.ReplaceAll(p, `\`, "/")), "{root}")
	if dir == "." {
		return ""
	}
	return strings.TrimPrefix(strings.TrimPrefix(dir, "/"), project+"/")
}

func size(n int64) string {
	if n < 0 {
		return "size unknown"
	}
	return humanize.IBytes(uint64(n))
}

// plural is a number of things.
func plural(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return humanize.Comma(n) + " " + thing + "s"
}

// elapsed is a duration for people, in up to two units.
func elapsed(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", max(d, 0).Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	case d < 2*day:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d days", d/day)
}

// ago is how long ago, or in how long, a time is.
func ago(t, now time.Time) string {
	d := now.Sub(t)
	if d < 0 {
		return "in " + duration.Rough(-d)
	}
	return duration.Rough(d) + " ago"
}

// reaction is how long the files of a line took.
func (s synced) Reaction() string {
	if s.Files > 1 && s.Last >= s.First+s.First/2 {
		return elapsed(s.First) + " to " + elapsed(s.Last)
	}
	return elapsed(s.Last)
}
