package web

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"sitesync/config"
	"sitesync/explain"
	"sitesync/uploader"
	"sitesync/watcher"
)

// How many rows of each kind the overview has.
const (
	maxTransfers  = 32
	maxSynced     = 12
	maxWaiting    = 20
	maxFailedRows = 20
	maxProjects   = 200
)

// overview is all that the first page shows.
type overview struct {
	stats
	About
	MayChange bool
	Head      headline
	Facts     []fact
	Held      head[heldRow]
	Pauses    []pause // of all transfers of a direction

	Transfers head[transferRow]
	Speed     int64 // of all transfers, bytes a second
	Queued    []string

	Hour chart

	Synced      []syncedGroup
	SyncedFiles int64 // since this process became active

	Waiting  head[waitingRow]
	Failed   head[failedGroup]
	Projects head[projectRow]
}

// head is the first rows of a list, and how many others there are.
type head[T any] struct {
	Rows []T
	More int
}

func headOf[T any](list []T, limit int) head[T] {
	n := min(len(list), limit)
	return head[T]{list[:n], len(list) - n}
}

// headline is a state in one sentence.
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

type heldRow struct {
	uploader.Hold
	Direction config.Direction
}

type waitingRow struct {
	uploader.Waiting
	Direction config.Direction
}

// For says in a few words what the file waits for.
func (w waitingRow) For(remoteSite string) string {
	switch {
	case w.Failed:
		return "the next try"
	case w.Away:
		return remoteSite
	}
	return "its source"
}

type transferRow struct {
	uploader.Transfer
	Direction config.Direction
	Speed     float64 // bytes a second; 0 if unknown
	Left      time.Duration
}

// Percent is how much is sent, 0 to 100.
func (t transferRow) Percent() int {
	if t.Size <= 0 {
		return 0
	}
	return int(min(max(t.Sent, 0)*100/t.Size, 100))
}

// done is what the bytes are that have been transferred.
func (t transferRow) done() string {
	if t.Direction == config.Down {
		return " received"
	}
	return " sent"
}

// Text is the progress in words.
func (t transferRow) Text() string {
	switch {
	case t.Size < 0:
		return size(t.Sent) + t.done()
	case t.Sent <= 0:
		return "starting, " + size(t.Size)
	case t.Sent >= t.Size:
		return size(t.Size) + t.done() + ", to be confirmed"
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
	projectStats
	Pauses []pause
}

// pausedDirections are those of pauses.
func pausedDirections(pauses []pause) (all []config.Direction) {
	for _, p := range pauses {
		all = append(all, p.Direction)
	}
	return all
}

// overview gathers what the first page shows.
func (s *Server) overview(stats stats, mayChange bool) *overview {
	now := time.Now()
	snapshot := s.Snapshot()
	pauses := map[string][]pause{} // by project
	for _, p := range stats.Paused {
		pauses[p.Project] = append(pauses[p.Project], p)
	}
	o := &overview{
		stats: stats, About: s.About, MayChange: mayChange, Pauses: pauses[""], Hour: newChart(s.history.hour(now)),
		Synced: s.history.last(maxSynced), Failed: headOf(stats.Failed, maxFailedRows),
	}
	var held []heldRow
	var waiting []waitingRow
	var transfers []transferRow
	for _, r := range snapshot.Routes {
		for _, h := range r.Activity.Held {
			held = append(held, heldRow{h, r.Direction})
		}
		for _, w := range r.Activity.Waiting {
			waiting = append(waiting, waitingRow{w, r.Direction})
		}
		for _, t := range r.Activity.Transfers {
			transfers = append(transfers, transferRow{Transfer: t, Direction: r.Direction})
		}
		o.SyncedFiles += r.Uploader.Synced
	}
	slices.SortStableFunc(waiting, func(a, b waitingRow) int { return a.Until.Compare(b.Until) })
	slices.SortStableFunc(transfers, func(a, b transferRow) int { return a.Began.Compare(b.Began) })
	o.Held, o.Waiting, o.Queued = headOf(held, maxHeld), headOf(waiting, maxWaiting), queued(snapshot.Routes)
	s.speeds.measure(transfers, now)
	for i := range transfers {
		t := &transfers[i]
		if left := t.Size - t.Sent; left > 0 && t.Speed > 1 {
			t.Left = time.Duration(float64(left) / t.Speed * float64(time.Second))
		}
		o.Speed += int64(t.Speed)
	}
	o.Transfers = headOf(transfers, maxTransfers)
	var projects []projectRow
	for _, p := range stats.Projects {
		projects = append(projects, projectRow{p, pauses[p.Project]})
	}
	o.Projects = headOf(projects, maxProjects)
	o.Head = s.headline(&snapshot, o)
	o.Facts = s.facts(&snapshot, stats)
	return o
}

// queued says what waits for its turn.
func queued(routes []Route) (lines []string) {
	type lane struct {
		name                   string
		files, representations int
	}
	lanes := []lane{{name: "just published"}, {name: "backlog"}}
	for _, r := range routes {
		lanes[0].files += r.Activity.Live
		lanes[0].representations += r.Queue.Live
		lanes[1].files += r.Activity.Backlog
		lanes[1].representations += r.Queue.Backlog
	}
	for _, lane := range lanes {
		var parts []string
		if lane.files > 0 {
			parts = append(parts, explain.Plural(lane.files, "file"))
		}
		if lane.representations > 0 {
			parts = append(parts, explain.Plural(lane.representations, "representation")+" to be processed")
		}
		if len(parts) > 0 {
			lines = append(lines, lane.name+": "+strings.Join(parts, ", "))
		}
	}
	return lines
}

// directionsOf are the directions of the routes that something is true of.
func directionsOf(routes []Route, is func(*Route) bool) (all []config.Direction) {
	for i := range routes {
		if is(&routes[i]) {
			all = append(all, routes[i].Direction)
		}
	}
	return all
}

// headline says what is most important.
func (s *Server) headline(snapshot *Snapshot, o *overview) headline {
	of := func(is func(*Route) bool) []config.Direction { return directionsOf(snapshot.Routes, is) }
	unleased := of(func(r *Route) bool { return !r.Lease.Held && !r.standby() })
	siteHeld := of(func(r *Route) bool { return r.Uploader.Holding[uploader.SiteTarget] > 0 })
	held := of(func(r *Route) bool { return len(r.Activity.Held) > 0 })
	away := of(func(r *Route) bool { return r.Activity.Away })
	paused := pausedDirections(o.Pauses)
	switch {
	case snapshot.Stopping:
		return headline{Warning, "sitesync is stopping"}
	case snapshot.Idle:
		return headline{Warning, "Nothing is synced: remote_site is empty. " +
			"Name a site of gdrive.json in config.json and restart sitesync"}
	case snapshot.standby():
		return headline{Neutral, "Standby: another sitesync is active, and this one takes over if it fails"}
	case len(unleased) == len(snapshot.Routes):
		return headline{Error, "Cannot acquire the lease of the site: the database does not answer, or denies " +
			"access. Nothing is synced; the log says why"}
	case len(unleased) > 0:
		return headline{Error, "Cannot acquire the lease of the " + noun(unleased) + "s: the database does not " +
			"answer, or denies access. No " + noun(unleased) + " begins; the log says why"}
	case len(paused) > 0 && len(paused) == len(snapshot.Routes):
		return headline{Warning, "Paused: no " + noun(paused) + " begins until it is resumed"}
	case len(siteHeld) > 0:
		return headline{Error, "All " + noun(siteHeld) + "s are held until the site is repaired; " +
			"they continue automatically then"}
	case len(held) > 0:
		return headline{Error, "Some " + noun(held) + "s are held until this is repaired; " +
			"they continue automatically then"}
	case o.Unavailable:
		return headline{Error, "The database does not answer; the log says more"}
	case len(away) > 0:
		return headline{Warning, s.About.RemoteSite + " is busy or out of reach; " + noun(away) +
			"s are retried, and no try is counted"}
	case len(paused) > 0:
		return headline{Warning, "Paused in part: no " + noun(paused) + " begins until it is resumed"}
	case len(o.Transfers.Rows) > 0:
		return headline{InProgress, underWay(snapshot.Routes)}
	case o.FailedFiles > 0:
		return headline{Error, explain.Plural(o.FailedFiles, "file") + " failed for good and need attention; " +
			"all others are synced or on their way"}
	case len(o.Waiting.Rows) > 0 || len(o.Queued) > 0:
		return headline{InProgress, "Some files wait; sitesync retries them automatically"}
	}
	return headline{OK, "Everything that was published is synced"}
}

// underWay says how many files are transferred, and how many will be.
func underWay(routes []Route) string {
	var parts []string
	waiting := 0
	for _, r := range routes {
		switch n := len(r.Activity.Transfers); {
		case n > 0 && len(parts) == 0:
			parts = append(parts, r.Direction.Noun()+"ing "+explain.Plural(n, "file"))
		case n > 0:
			parts = append(parts, r.Direction.Noun()+"ing "+humanize.Comma(int64(n)))
		}
		waiting += r.Activity.Live + r.Activity.Backlog
	}
	if waiting > 0 {
		parts = append(parts, humanize.Comma(int64(waiting))+" more to go")
	}
	return title(strings.Join(parts, ", "))
}

// facts are about sitesync as a whole.
func (s *Server) facts(snapshot *Snapshot, stats stats) (facts []fact) {
	if snapshot.Idle {
		return nil
	}
	var active, running []Route // that this process serves; that no other does
	for _, r := range snapshot.Routes {
		if !r.standby() {
			running = append(running, r)
		}
		if r.Lease.Held {
			active = append(active, r)
		}
	}
	facts = append(facts, factByRoute(snapshot.Routes, s.processFact)...)
	if len(running) > 0 {
		siteFacts := func(r *Route) fact { return s.siteFact(r, stats.Paused) }
		facts = append(facts, factByRoute(running, siteFacts)...)
		facts = append(facts, factByRoute(running, streamFact)...)
	}
	switch quota := stats.Quota; {
	case !quota.Known: // not read yet, or the service does not say, as of shared drives
	case quota.Limit <= 0:
		facts = append(facts, fact{Name: "Space", Level: OK, Value: "no limit", Note: size(quota.Used) + " used"})
	default:
		left := max(quota.Limit-quota.Used, 0)
		f := fact{Name: "Space", Level: OK, Value: size(left) + " left", Note: "of " + size(quota.Limit)}
		switch {
		case left == 0:
			f.Level = Error
		case left < quota.Limit/20:
			f.Level = Warning
		}
		facts = append(facts, f)
	}
	if len(active) > 0 {
		facts = append(facts, syncedFact(active))
	}
	// Documents that are invalid for both routes are the same ones, as a rule.
	invalid := int64(0)
	for _, r := range snapshot.Routes {
		invalid = max(invalid, r.Uploader.InvalidDocs)
	}
	if invalid > 0 {
		facts = append(facts, fact{Name: "Documents", Level: Warning, Value: humanize.Comma(invalid) + " invalid",
			Note: "the log says why"})
	}
	return facts
}

// factByRoute is a fact of all routes if it is the same, and else one of each, which names the direction.
func factByRoute(routes []Route, of func(*Route) fact) (all []fact) {
	for i := range routes {
		if f := of(&routes[i]); !slices.Contains(all, f) {
			all = append(all, f)
		}
	}
	if len(all) > 1 {
		for i := range all {
			all[i].Name += ", " + routes[i].Direction.Noun() + "s"
		}
	}
	return all
}

func (s *Server) processFact(r *Route) fact {
	f := fact{Name: "Active process", Level: Neutral}
	switch l := r.Lease; {
	case l.Held:
		f.Level, f.Value, f.Note = OK, "this one", "on "+s.About.Host
	case l.Holder == nil:
		f.Level, f.Value, f.Note = Error, "none", "the lease is not held"
	case l.Holder.Host == "":
		f.Value = "another one"
	default:
		f.Value, f.Note, f.Since = "on "+l.Holder.Host, fmt.Sprintf("process %d, became active", l.Holder.PID),
			l.Holder.Since
	}
	return f
}

func (s *Server) siteFact(r *Route, pauses []pause) fact {
	f := fact{Name: "Site " + s.About.RemoteSite, Level: OK, Value: "ok"}
	all := slices.IndexFunc(pauses, func(p pause) bool { return p.Direction == r.Direction && p.Project == "" })
	projects := 0
	for _, p := range pauses {
		if p.Direction == r.Direction && p.Project != "" {
			projects++
		}
	}
	switch {
	case all >= 0:
		f.Level, f.Value, f.Since = Warning, "paused", pauses[all].Since
	case r.Uploader.Holding[uploader.SiteTarget] > 0:
		f.Level, f.Value = Error, "held"
	case len(r.Activity.Held) > 0:
		f.Level, f.Value = Warning, "held in part"
	case r.Activity.Away:
		f.Level, f.Value = Warning, "busy or out of reach"
	case projects > 0:
		f.Level, f.Note = Warning, explain.Plural(projects, "project")+" paused"
	case r.Site.Limit > 0 && r.Site.Throttled > 0:
		f.Note = fmt.Sprintf("limited to %.1f requests/s", r.Site.Limit)
	}
	return f
}

func streamFact(r *Route) fact {
	switch {
	case r.Stream == watcher.StreamOpen:
		return fact{Name: "Publishes", Level: OK, Value: "seen live", Note: "change stream open"}
	case r.polls():
		return fact{Name: "Publishes", Level: Warning, Value: "found by polling",
			Note: "change stream " + r.Stream.String()}
	}
	return fact{Name: "Publishes", Level: Error, Value: "not seen",
		Note: "no change stream, and the poll is off or fails"}
}

// syncedFact says how much was synced on these routes.
func syncedFact(routes []Route) fact {
	var files, bytes int64
	var parts []string
	for _, r := range routes {
		files, bytes = files+r.Uploader.Synced, bytes+r.Uploader.SyncedBytes
		parts = append(parts, humanize.Comma(r.Uploader.Synced)+" "+r.Direction.Noun()+"ed")
	}
	note := size(bytes) + " since it became active"
	if len(parts) > 1 {
		note = strings.Join(parts, ", ") + "; " + note
	}
	return fact{Name: "Synced", Level: Neutral, Value: explain.Plural(files, "file"), Note: note}
}
