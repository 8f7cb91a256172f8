package web

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"sitesync/state"
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
	RemoteSite string
	MayChange  bool
	Head       headline
	Facts      []fact
	Held       head[uploader.Hold]
	Pause      *state.Pause // of the whole site

	Transfers head[transferRow]
	Speed     int64 // of all transfers, bytes a second
	Queued    []string

	Hour chart

	Synced      []syncedGroup
	SyncedFiles int64 // since this process became active

	Waiting  head[uploader.Waiting]
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

// Text is the progress in words.
func (t transferRow) Text() string {
	switch {
	case t.Size < 0:
		return size(t.Sent) + " sent"
	case t.Sent <= 0:
		return "starting, " + size(t.Size)
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
	projectStats
	Pause *state.Pause
}

// overview gathers what the first page shows.
func (s *Server) overview(stats stats, mayChange bool) *overview {
	now := time.Now()
	snapshot := s.Snapshot()
	a := snapshot.Activity
	pauses := map[string]*state.Pause{} // by project
	for _, p := range stats.Paused {
		pauses[p.Project] = &p
	}
	o := &overview{
		stats: stats, RemoteSite: s.About.RemoteSite, MayChange: mayChange,
		Held: headOf(a.Held, maxHeld), Pause: pauses[""],
		Queued: queued(a, snapshot.Queue), Hour: newChart(s.history.hour(now)),
		Synced: s.history.last(maxSynced), SyncedFiles: snapshot.Uploader.Synced,
		Waiting: headOf(a.Waiting, maxWaiting), Failed: headOf(stats.Failed, maxFailedRows),
	}
	var transfers []transferRow
	for i, speed := range s.speeds.measure(a.Transfers, now) {
		row := transferRow{Transfer: a.Transfers[i], Speed: speed}
		if left := row.Size - row.Sent; left > 0 && speed > 1 {
			row.Left = time.Duration(float64(left) / speed * float64(time.Second))
		}
		o.Speed += int64(speed)
		transfers = append(transfers, row)
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
func queued(a uploader.Activity, q Queue) (lines []string) {
	for _, lane := range []struct {
		name                   string
		files, representations int
	}{{"just published", a.Live, q.Live}, {"backlog", a.Backlog, q.Backlog}} {
		var parts []string
		if lane.files > 0 {
			parts = append(parts, plural(lane.files, "file"))
		}
		if lane.representations > 0 {
			parts = append(parts, plural(lane.representations, "representation")+" to be processed")
		}
		if len(parts) > 0 {
			lines = append(lines, lane.name+": "+strings.Join(parts, ", "))
		}
	}
	return lines
}

// headline says what is most important.
func (s *Server) headline(snapshot *Snapshot, o *overview) headline {
	a := snapshot.Activity
	switch {
	case snapshot.Stopping:
		return headline{Warning, "sitesync is stopping"}
	case snapshot.Idle:
		return headline{Warning, "Nothing is synced: remote_site is empty. " +
			"Name a site of gdrive.json in config.json and restart sitesync"}
	case snapshot.standby():
		return headline{Neutral, "Standby: another sitesync is active, and this one takes over if it fails"}
	case !snapshot.Lease.Held:
		return headline{Error, "Cannot acquire the lease of the site: the database does not answer, or denies " +
			"access. Nothing is synced; the log says why"}
	case o.Pause != nil:
		return headline{Warning, "Paused: no upload begins until it is resumed"}
	case snapshot.Uploader.Holding[uploader.SiteTarget] > 0:
		return headline{Error, "All uploads are held until the site is repaired; they continue automatically then"}
	case len(a.Held) > 0:
		return headline{Error, "Some uploads are held until this is repaired; they continue automatically then"}
	case o.Unavailable:
		return headline{Error, "The database does not answer; the log says more"}
	case a.Away:
		return headline{Warning, o.RemoteSite + " is busy or out of reach; uploads are retried, and no try is counted"}
	case len(a.Transfers) > 0:
		text := "Uploading " + plural(len(a.Transfers), "file")
		if waiting := a.Live + a.Backlog; waiting > 0 {
			text += ", " + humanize.Comma(int64(waiting)) + " more to go"
		}
		return headline{InProgress, text}
	case o.FailedFiles > 0:
		return headline{Error, plural(o.FailedFiles, "file") + " failed for good and need attention; " +
			"all others are synced or on their way"}
	case len(a.Waiting) > 0 || len(o.Queued) > 0:
		return headline{InProgress, "Some files wait; sitesync retries them automatically"}
	}
	return headline{OK, "Everything that was published is synced"}
}

// facts are about sitesync as a whole.
func (s *Server) facts(snapshot *Snapshot, stats stats) (facts []fact) {
	if snapshot.Idle {
		return nil
	}
	facts = append(facts, s.processFact(snapshot.Lease))
	if !snapshot.standby() {
		facts = append(facts, s.siteFact(snapshot, stats.Paused), streamFact(snapshot))
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
	if u := snapshot.Uploader; snapshot.Lease.Held {
		facts = append(facts, fact{Name: "Synced", Level: Neutral, Value: plural(u.Synced, "file"),
			Note: size(u.SyncedBytes) + " since it became active"})
	}
	if n := snapshot.Uploader.InvalidDocs; n > 0 {
		facts = append(facts, fact{Name: "Documents", Level: Warning, Value: humanize.Comma(n) + " invalid",
			Note: "the log says why"})
	}
	return facts
}

func (s *Server) processFact(l state.LeaseState) fact {
	f := fact{Name: "Active process", Level: Neutral}
	switch {
	case l.Held:
		f.Level, f.Value, f.Note = OK, "this one", "on "+s.About.Host
	case l.Holder == nil:
		f.Level, f.Value, f.Note = Error, "none", "the lease is not held"
	case l.Holder.Host == "":
		f.Value = "another one"
	default:
		f.Value, f.Note, f.Since = "on "+l.Holder.Host, fmt.Sprintf("process %d, since", l.Holder.PID), l.Holder.Since
	}
	return f
}

func (s *Server) siteFact(snapshot *Snapshot, pauses []state.Pause) fact {
	f := fact{Name: "Site " + s.About.RemoteSite, Level: OK, Value: "ok"}
	switch {
	case len(pauses) > 0 && pauses[0].Project == "":
		f.Level, f.Value, f.Note, f.Since = Warning, "paused", "since", pauses[0].Since
	case snapshot.Uploader.Holding[uploader.SiteTarget] > 0:
		f.Level, f.Value = Error, "held"
	case len(snapshot.Activity.Held) > 0:
		f.Level, f.Value = Warning, "held in part"
	case snapshot.Activity.Away:
		f.Level, f.Value = Warning, "busy or out of reach"
	case len(pauses) > 0:
		f.Level, f.Note = Warning, plural(len(pauses), "project")+" paused"
	case snapshot.Site.Limit > 0 && snapshot.Site.Throttled > 0:
		f.Note = fmt.Sprintf("limited to %.1f requests/s", snapshot.Site.Limit)
	}
	return f
}

func streamFact(s *Snapshot) fact {
	switch {
	case s.Stream == watcher.StreamOpen:
		return fact{Name: "Publishes", Level: OK, Value: "seen live", Note: "change stream open"}
	case s.polls():
		return fact{Name: "Publishes", Level: Warning, Value: "found by polling",
			Note: "change stream " + s.Stream.String()}
	}
	return fact{Name: "Publishes", Level: Error, Value: "not seen",
		Note: "no change stream, and the poll is off or fails"}
}
