package command

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/state"
)

var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func statusForTest() *status {
	oldest, failed := now.Add(-3*time.Hour), now.Add(-90*time.Second)
	sync := leaseHolderOf(&state.LeaseInfo{Holder: state.Holder{Host: "sync1", PID: 42,
		Since: now.Add(-72 * time.Hour)},
		Status: state.WorkerStatus{Stream: "open", Holds: []state.Hold{{Kind: "site",
			Why: "the drive is full\x1b[2J\nmake room"}}}}, nil)
	up := routeStatus{Sitesync: sync, Paused: []state.Pause{
		{By: "td@ws3", Since: now.Add(-2 * time.Hour), Why: "a new\x1b drive"}, {Project: "b\n", By: "it", Since: now}}}
	return &status{At: now, ActiveSite: "studio", RemoteSite: "gdrive", Directions: []config.Direction{config.Up},
		routeStatus: up, routes: []route{{routeStatus: up, direction: config.Up}},
		off: []route{{direction: config.Down, off: "there is no local_root"}},
		Projects: []projectStatus{
			{Project: "Žižkov", Stats: avalon.Stats{Pending: avalon.FileCount{Files: 3, Bytes: 2048},
				BackingOff: avalon.FileCount{Files: 1, Bytes: 1024}, Failed: avalon.FileCount{Files: 2, Bytes: 7},
				Synced: avalon.FileCount{Files: 12345, Bytes: 5 << 30}, Oldest: oldest},
				FailedFiles: []failedFile{{Direction: config.Up, Representation: "x", Path: "{root}/a", Tries: 3,
					Error:      "no\tpermission",
					LastFailed: failed}}},
			{Project: "away", Error: "it can't be read"},
			{Project: "b", Stats: avalon.Stats{Synced: avalon.FileCount{Files: 1, Bytes: 1},
				SourceMissing: avalon.FileCount{Files: 1, Bytes: 9}, Paused: avalon.FileCount{Files: 2, Bytes: 5},
				Invalid: avalon.FileCount{Files: 1000, Bytes: 9}}},
		},
		Total: avalon.Stats{Pending: avalon.FileCount{Files: 3, Bytes: 2048},
			BackingOff: avalon.FileCount{Files: 1, Bytes: 1024}, Failed: avalon.FileCount{Files: 2, Bytes: 7},
			Synced: avalon.FileCount{Files: 12346, Bytes: 5<<30 + 1}, Oldest: oldest},
	}
}

func TestStatusText(t *testing.T) {
	const want = `sitesync  process 42 on sync1 syncs to site gdrive, since SINCE (3 days)
stream    open
held      site: the drive is full�[2J make room
paused    site gdrive, by td@ws3, 2 h ago: a new� drive
paused    project b , by it, 0 s ago
downloads off: there is no local_root

PROJECT  PENDING  WAITING  FAILED  SYNCED  TO UPLOAD  UPLOADED  OLDEST
Žižkov         3        1       2  12,345    3.0 KiB   5.0 GiB     3 h
away           ?        ?       ?       ?          ?         ?       ?
b              0        0       0       1        0 B       1 B
total          3        1       2  12,346    3.0 KiB   5.0 GiB     3 h
away: it can't be read
b: 2 files have paused set in the record, and nothing is transferred until that is removed
b: 1 file is not on site studio, so there is nothing to upload yet
b: 1,000 files have an invalid record; the log of sitesync says why

failed files of Žižkov, the most recent first; fix the cause, then retry: sitesync retry Žižkov
  {root}/a
      representation x, 3 tries, 1 min ago: no permission
  ... and 1 more (--limit)
`
	s := statusForTest()
	since := s.Sitesync.Since.Local().Format(time.DateTime)
	if diff := cmp.Diff(want, strings.Replace(s.text(false), since, "SINCE", 1)); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	color := s.text(true)
	for _, want := range []string{"  \x1b[31m2\x1b[0m  \x1b[32m12,345\x1b[0m  ",
		"\x1b[1mPROJECT\x1b[0m  \x1b[1mPENDING\x1b[0m", "stream    \x1b[32mopen\x1b[0m", "        0        0 "} {
		if !strings.Contains(color, want) {
			t.Errorf("no %q in\n%q", want, color)
		}
	}
	if !s.incomplete() {
		t.Error("a project could not be read, but nothing is missing")
	}
}

func TestStatusOfNobody(t *testing.T) {
	for name, test := range map[string]struct {
		info  *state.LeaseInfo
		err   error
		want  string
		fails bool
	}{
		"nobody ever": {nil, nil, "no sitesync runs for site gdrive\n", false},
		"ended": {&state.LeaseInfo{Holder: state.Holder{Host: "sync1", PID: 42},
			Status: state.WorkerStatus{Stream: "open", Holds: []state.Hold{{Kind: "site"}}}, Expired: true}, nil,
			"no sitesync runs for site gdrive; the last one was process 42 on sync1\n", false},
		"unknown": {nil, errors.New("not allowed"), "cannot read which process syncs: not allowed\n", true},
		"no stream": {&state.LeaseInfo{Status: state.WorkerStatus{Stream: "not available"}}, nil,
			"stream    not available; publishes are found by the poll only\nheld      nothing\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			up := routeStatus{Sitesync: leaseHolderOf(test.info, test.err)}
			s := &status{At: now, RemoteSite: "gdrive", routeStatus: up,
				routes: []route{{routeStatus: up, direction: config.Up}}}
			got := s.text(false)
			if !strings.Contains(got, test.want) || strings.Contains(got, "held      site") {
				t.Errorf("no %q in\n%s", test.want, got)
			}
			if s.incomplete() != test.fails {
				t.Errorf("incomplete is %v", s.incomplete())
			}
		})
	}
}

// Scripts rely on these names.
func TestStatusJSON(t *testing.T) {
	s := statusForTest()
	s.Projects = s.Projects[:1]
	got, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	const unpaused = `"paused":{"files":0,"bytes":0},`
	const none = `"absent":{"files":0,"bytes":0},"unusable":{"files":0,"bytes":0},"oldest":"2026-11-25T09:00:00Z"`
	const want = `{"at":"2026-11-25T12:00:00Z","active_site":"studio","remote_site":"gdrive",` +
		`"directions":["up"],"sitesync":{"runs":true,"host":"sync1","pid":42,"since":"2026-11-22T12:00:00Z",` +
		`"stream":"open",` +
		`"held":["site: the drive is full\u001b[2J\nmake room"]},` +
		`"paused":[{"by":"td@ws3","since":"2026-11-25T10:00:00Z","why":"a new\u001b ` +
		`drive"},{"project":"b\n","by":"it","since":"2026-11-25T12:00:00Z"}],` +
		`"projects":[{"project":"Žižkov","pending":{"files":3,"bytes":2048},"waiting":{"files":1,"bytes":1024},` +
		unpaused + `"failed":{"files":2,"bytes":7},` +
		`"synced":{"files":12345,"bytes":5368709120},` + none +
		`,"failed_files":[{"direction":"up","representation":"x","path":"{root}/a","tries":3,` +
		`"error":"no\tpermission",` +
		`"last_failed":"2026-11-25T11:58:30Z"}]}],` +
		`"total":{"pending":{"files":3,"bytes":2048},"waiting":{"files":1,"bytes":1024},` + unpaused +
		`"failed":{"files":2,"bytes":7},"synced":{"files":12346,"bytes":5368709121},` + none + `}}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
}

func TestStatsJSON(t *testing.T) {
	got, err := json.Marshal(avalon.Stats{BackingOff: avalon.FileCount{Files: 1, Bytes: 2},
		SourceMissing: avalon.FileCount{Files: 3, Bytes: 4}, Invalid: avalon.FileCount{Files: 5, Bytes: 6}})
	const none = `{"files":0,"bytes":0}`
	const want = `{"pending":` + none + `,"waiting":{"files":1,"bytes":2},"paused":` + none + `,"failed":` + none +
		`,"synced":` + none + `,"absent":{"files":3,"bytes":4},"unusable":{"files":5,"bytes":6}}`
	if string(got) != want || err != nil {
		t.Errorf("%v, %s", err, got)
	}
}

func TestUnknownProject(t *testing.T) {
	many := strings.Split("a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 b0", " ")
	for _, test := range []struct {
		known []string
		want  string
	}{
		{[]string{"Other", "Test"}, `database avalon has no project "Tests"; did you mean "Test"?`},
		{[]string{"Other", "Cartoon"}, `database avalon has no project "Tests", but ["Other" "Cartoon"]`},
		{nil, `database avalon has no project "Tests", nor any other; is it the right one? (--db)`},
		{many, `database avalon has no project "Tests", but 11 others, such as "a0"`},
	} {
		if got := config.UnknownProject("Tests", "avalon", test.known).Error(); got != test.want {
			t.Errorf("%s, want %s", got, test.want)
		}
	}
}

// bothWays is a status of two routes, of which each has a process, holds and pauses.
func bothWays(up, down routeStatus) *status {
	return &status{At: now, ActiveSite: "studio", RemoteSite: "gdrive", routeStatus: up,
		Directions: []config.Direction{config.Up, config.Down}, Download: &downloads{routeStatus: down},
		routes: []route{{routeStatus: up, direction: config.Up}, {routeStatus: down, direction: config.Down}}}
}

// What is the same of both directions is said once.
func TestStatusOfBothWays(t *testing.T) {
	works := func(pid int, stream string, held ...string) routeStatus {
		return routeStatus{Sitesync: leaseHolder{Runs: true, Host: "sync1", PID: pid, Since: now.Add(-time.Minute),
			Stream: stream, Held: held}}
	}
	paused := func(s routeStatus, by ...string) routeStatus {
		for _, person := range by {
			s.Paused = append(s.Paused, state.Pause{Project: "b", By: person, Since: now})
		}
		return s
	}
	nobody := routeStatus{}
	last := routeStatus{Sitesync: leaseHolder{Host: "sync1", PID: 42}}
	wrong := routeStatus{Sitesync: leaseHolder{Error: "not allowed"}}
	begun := works(1, "closed")
	begun.Sitesync.Since = now.Add(-time.Second)
	for name, test := range map[string]struct {
		up, down routeStatus
		want     string
	}{
		"one process": {paused(works(1, "open", "site: full"), "td"), paused(works(1, "open", "site: full"), "td"),
			"sitesync  process 1 on sync1 syncs both ways with site gdrive, since SINCE (1 min)\nstream    open\n" +
				"held      site: full\npaused    project b, by td, 0 s ago\n"},
		"they differ": {paused(works(1, "open", "site: full", "/mnt/a: away"), "td"),
			paused(works(1, "closed", "/mnt/b: full", "site: full"), "it"),
			"sitesync  process 1 on sync1 syncs both ways with site gdrive, since SINCE (1 min)\n" +
				"stream    uploads: open\nstream    downloads: closed; publishes are found by the poll only\n" +
				"held      site: full\nheld      uploads: /mnt/a: away\nheld      downloads: /mnt/b: full\n" +
				"paused    uploads of project b, by td, 0 s ago\npaused    downloads of project b, by it, 0 s ago\n"},
		"two processes": {works(1, "open"), works(2, "open"),
			"sitesync  process 1 on sync1 uploads to site gdrive, since SINCE (1 min)\n" +
				"sitesync  process 2 on sync1 downloads from site gdrive, since SINCE (1 min)\n" +
				"stream    open\nheld      nothing\n"},
		"one has just begun": {works(1, "open"), begun,
			"sitesync  process 1 on sync1 syncs both ways with site gdrive, since SINCE (1 min)\n" +
				"stream    uploads: open\nstream    downloads: not open yet; publishes are found by the poll\n" +
				"held      nothing\n"},
		"only up": {works(1, "open"), last,
			"sitesync  process 1 on sync1 uploads to site gdrive, since SINCE (1 min)\n" +
				"sitesync  no sitesync downloads from site gdrive; the last one was process 42 on sync1\n" +
				"stream    uploads: open\nheld      nothing\n"},
		"nobody ever": {nobody, nobody, "sitesync  no sitesync runs for site gdrive\n"},
		"nobody now": {last, nobody,
			"sitesync  no sitesync runs for site gdrive; the last one was process 42 on sync1\n"},
		"only down": {nobody, works(2, "open"), "sitesync  no sitesync uploads to site gdrive\n" +
			"sitesync  process 2 on sync1 downloads from site gdrive, since SINCE (1 min)\n" +
			"stream    downloads: open\n" +
			"held      nothing\n"},
		"not known": {wrong, wrong, "sitesync  cannot read which process syncs: not allowed\n"},
	} {
		since := now.Add(-time.Minute).Local().Format(time.DateTime)
		got, _, _ := strings.Cut(strings.ReplaceAll(bothWays(test.up, test.down).text(false), since, "SINCE"), "\n\n")
		if diff := cmp.Diff(test.want, got+"\n"); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if !bothWays(nobody, wrong).incomplete() {
		t.Error("who downloads could not be read, but nothing is missing")
	}
}

// Where only downloads are served, nothing is said of uploads but that.
func TestStatusOfDownloadsOnly(t *testing.T) {
	down := routeStatus{Sitesync: leaseHolder{Runs: true, Host: "home", PID: 7, Since: now, Stream: "open"},
		Paused: []state.Pause{{By: "td", Since: now}}}
	s := &status{At: now, ActiveSite: "home", RemoteSite: "gdrive", Download: &downloads{routeStatus: down},
		routes:   []route{{routeStatus: down, direction: config.Down}},
		off:      []route{{direction: config.Up, off: "--direction is down"}},
		Projects: []projectStatus{{Project: "a", Download: &avalon.Stats{Failed: avalon.FileCount{Files: 1}}}}}
	const want = `sitesync  process 7 on home downloads from site gdrive, since SINCE (0 s)
stream    open
held      nothing
paused    site gdrive, by td, 0 s ago
uploads   off: --direction is down

PROJECT  PENDING  WAITING  FAILED  TO DOWNLOAD  OLDEST
a              0        0       1          0 B
`
	got := strings.Replace(s.text(false), now.Local().Format(time.DateTime), "SINCE", 1)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// The projects that have something to download have a table of their own.
func TestStatusOfDownloads(t *testing.T) {
	count := func(files, bytes int64) avalon.FileCount { return avalon.FileCount{Files: files, Bytes: bytes} }
	s := bothWays(routeStatus{}, routeStatus{})
	s.Projects = []projectStatus{{Project: "a", Download: &avalon.Stats{Synced: count(7, 70)},
		Stats: avalon.Stats{Synced: count(7, 70)}}}
	_, got, _ := strings.Cut(s.text(false), "\n\n")
	const nothing = `PROJECT  PENDING  WAITING  FAILED  SYNCED  TO UPLOAD  UPLOADED  OLDEST
a              0        0       0       7        0 B      70 B

nothing to download
`
	if diff := cmp.Diff(nothing, got); diff != "" {
		t.Errorf("nothing (-want +got):\n%s", diff)
	}
	s.Projects = append(s.Projects, projectStatus{Project: "b", Download: &avalon.Stats{Pending: count(3, 2048),
		BackingOff: count(1, 1024), Failed: count(2, 7), Synced: count(9, 90), SourceMissing: count(4, 4),
		Paused: count(5, 5), Invalid: count(6, 6), Oldest: now.Add(-3 * time.Hour)},
		Unfit:       []unfit{{config.Down, 2, "local_root has no work"}, {config.Up, 1, "no root"}},
		FailedFiles: []failedFile{{Direction: config.Down, Representation: "x", Path: "{root}/a", Tries: 3}}})
	s.Download.Total = *s.Projects[1].Download
	_, got, _ = strings.Cut(s.text(false), "\n\n")
	const some = `PROJECT  PENDING  WAITING  FAILED  SYNCED  TO UPLOAD  UPLOADED  OLDEST
a              0        0       0       7        0 B      70 B
b              0        0       0       0        0 B       0 B
total          0        0       0       0        0 B       0 B

PROJECT  PENDING  WAITING  FAILED  TO DOWNLOAD  OLDEST
b              3        1       2      3.0 KiB     3 h
b: 2 downloads are held, as the settings do not fit: local_root has no work
b: 1 file is held, as the settings do not fit: no root
b: 5 downloads have paused set in the record, and nothing is transferred until that is removed
b: 4 downloads wait until the file is on site gdrive
b: 6 downloads have an invalid record; the log of sitesync says why

failed files of b, the most recent first; fix the cause, then retry: sitesync retry b
  {root}/a
      download of representation x, 3 tries: no error is recorded
  ... and 1 more (--limit)
`
	if diff := cmp.Diff(some, got); diff != "" {
		t.Errorf("some (-want +got):\n%s", diff)
	}
	text, err := json.Marshal(s)
	for _, want := range []string{`"directions":["up","down"]`, `"download":{"sitesync":{"runs":false,"held":null},`,
		`"download":{"pending":{"files":3,"bytes":2048},`, `"failed_files":[{"direction":"down",`,
		`"unfit":[{"direction":"down","files":2,`} {
		if !strings.Contains(string(text), want) || err != nil {
			t.Errorf("no %s in %s, %v", want, text, err)
		}
	}
}

// A machine that is not set up for a direction says so while no other machine serves it.
func TestStatusOfWhatIsOffHere(t *testing.T) {
	const off = "\ndownloads off on this machine: there is no local_root\n"
	up := route{direction: config.Up}
	for name, test := range map[string]struct {
		holder leaseHolder
		want   bool
	}{
		"no other": {leaseHolder{Host: "home", PID: 7}, true},
		"another":  {leaseHolder{Runs: true, Host: "home", PID: 7, Since: now, Stream: "open"}, false},
		"unknown":  {leaseHolder{Error: "not allowed"}, false},
	} {
		down := route{direction: config.Down, off: "there is no local_root", known: true,
			routeStatus: routeStatus{Sitesync: test.holder}}
		s := &status{At: now, ActiveSite: "studio", RemoteSite: "gdrive", routes: []route{up, down}}
		if text := s.text(false); strings.Contains(text, off) != test.want {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}
