package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.uber.org/zap"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/integration/drive"
	"sitesync/integration/mongod"
	"sitesync/integration/studio"
	"sitesync/site"
	"sitesync/site/gdrive"
	"sitesync/site/local"
	"sitesync/state"
	"sitesync/uploader"
)

func TestMain(m *testing.M) { os.Exit(mongod.Main(m)) }

// stage is a studio, its database and its Drive.
type stage struct {
	*Explainer
	t       *testing.T
	db      *mongo.Database
	drive   *drive.Server
	show    *drive.SharedDrive
	account *drive.Account
	studio  *studio.Studio
	root    string
	opened  int // how often the site was
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, db: mongod.Database(t), drive: drive.StartTest(t), root: t.TempDir()}
	s.account = s.drive.AddServiceAccount("sync@studio.iam.example")
	s.show = s.drive.AddSharedDrive("SHOW")
	s.show.AddMember(s.account, drive.ContentManager)
	s.drive.Mkdir(s.show, "projects")
	key := filepath.Join(t.TempDir(), "key.json")
	must(t, os.WriteFile(key, s.account.Credentials(), 0o600))
	s.studio = studio.New(s.db, studio.Options{Root: s.root})
	remote := config.Site{Name: "gdrive", Credentials: key, Endpoint: s.drive.URL,
		Root: config.Roots{"": "/SHOW/projects"}}
	s.Explainer = &Explainer{
		Config: &config.Config{ActiveSite: "studio", RemoteSite: "gdrive",
			Direction: config.Both, RetryCount: 3, RetryDelay: time.Minute,
			MaxRetryDelay:     time.Hour,
			SourceGracePeriod: time.Minute, LoopDelay: time.Minute, Sites: map[string]config.Site{"gdrive": remote},
			Mongo: config.Mongo{Database: s.db.Name()}},
		Rules: func(d config.Direction) avalon.Rules {
			route := avalon.Route{From: "studio", To: "gdrive"}
			if d == config.Down {
				route = avalon.Route{From: "gdrive", To: "studio"}
			}
			return avalon.Rules{Route: route, RetryCount: 3, Backoff: avalon.ExponentialBackoff(time.Minute, time.Hour)}
		},
		Store: avalon.NewStore(s.db.Client(), s.db.Name()), State: state.Open(s.db.Client(), s.db.Name()+"-state"),
		MaxRead: 1 << 20,
	}
	s.OpenLocal = func() site.Storage {
		return local.New(local.Options{Timeout: uploader.InspectionTimeout, AvoidStalled: true})
	}
	s.OpenRemote = func(ctx context.Context) (site.Storage, error) {
		s.opened++
		return gdrive.New(ctx, gdrive.Config{Credentials: key, Endpoint: s.drive.URL, Roots: []string{"/SHOW/projects"},
			Connections: 1})
	}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// works has a sitesync upload on this stage until the test ends, which reports that.
func (s *stage) works(holder state.Holder, report state.WorkerStatus) {
	s.t.Helper()
	s.worksOn(s.Rules(config.Up).Route, holder, report)
}

// worksOn is works for any route.
func (s *stage) worksOn(route avalon.Route, holder state.Holder, report state.WorkerStatus) {
	s.t.Helper()
	lease := s.State.NewLease(state.LeaseName(s.db.Name(), route), holder, zap.NewNop(),
		func() state.WorkerStatus { return report })
	ctx, cancel := context.WithCancel(context.Background())
	held, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		lease.Run(ctx, func(ctx, _ context.Context) { close(held); <-ctx.Done() })
	}()
	<-held
	s.t.Cleanup(func() { cancel(); <-ended })
}

func (s *stage) publish(pub studio.Publish) *studio.Representation {
	s.t.Helper()
	p, err := s.studio.Project(s.t.Context(), "Test")
	must(s.t, err)
	pub.Asset, pub.Subset, pub.Name = "Cylinder", "modelMain", "exr"
	rep, err := p.Publish(s.t.Context(), pub)
	must(s.t, err)
	return rep
}

// upload puts the file on Drive and writes that into its record.
func (s *stage) upload(rep *studio.Representation) {
	s.t.Helper()
	for i, f := range rep.Files {
		content, err := os.ReadFile(f.Local)
		must(s.t, err)
		id := s.drive.AddFile(s.drive.Mkdir(s.show, filepath.Dir("projects/"+f.Rel)), filepath.Base(f.Rel), content)
		must(s.t, rep.Set(s.t.Context(), "gdrive", bson.D{{Key: "created_dt", Value: time.Now()},
			{Key: "id", Value: id}}, i))
	}
}

// explain explains, and wants that verdict.
func (s *stage) explain(asked string, want Severity) *Report {
	s.t.Helper()
	r, err := s.Explain(s.t.Context(), "Test", asked)
	must(s.t, err)
	if r.Severity != want || r.Healthy() != (want == OK || want == Waiting) || r.NextStep == (Remedy{}) {
		s.t.Errorf("%s, want %s: %+v", r.Severity, want, r)
	}
	return r
}

// rules are the rules of steps that have that verdict.
func rules(steps Findings, v Severity) string {
	var all []string
	for _, s := range steps {
		if s.Severity == v {
			all = append(all, s.Rule)
		}
	}
	return strings.Join(all, " ")
}

// The files of a sequence of which the same was found are one group, although their errors name them.
func TestSequence(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	rep := s.publish(studio.Publish{Size: 100, Frames: 1000})
	s.works(state.Self(), state.WorkerStatus{Stream: "open"})
	for i := range 3 {
		must(t, os.Remove(rep.Files[i].Local))
		must(t, rep.Set(t.Context(), "gdrive", bson.D{{Key: "tries", Value: 3},
			{Key: "last_failed_dt", Value: time.Now().Add(-time.Duration(i) * time.Hour)},
			{Key: "error", Value: "the source " + rep.Files[i].Local + " is not there"}}, i))
	}
	for i := 3; i < 10; i++ {
		must(t, rep.Set(t.Context(), "gdrive", bson.D{{Key: "tries", Value: 3}, {Key: "error", Value: "no permission"}},
			i))
	}
	for i := 10; i < 12; i++ {
		must(t, rep.Set(t.Context(), "gdrive", bson.D{{Key: "tries", Value: 1}, {Key: "error", Value: "no permission"},
			{Key: "last_failed_dt", Value: time.Now().Add(-time.Duration(i) * time.Second)}}, i))
	}
	must(t, rep.Set(t.Context(), "gdrive", bson.D{{Key: "created_dt", Value: time.Now()}, {Key: "id", Value: "gone"}},
		999))
	r := s.explain(rep.ID.Hex(), Wrong)
	type line struct {
		Files    int
		Bytes    int64
		Severity Severity
		State    string
		First    string
		Last     string
	}
	var got []line
	for _, g := range r.Groups {
		if g.Example.Severity != g.Severity || len(g.Example.Findings) == 0 {
			t.Errorf("%+v", g)
		}
		got = append(got, line{g.Files, g.Bytes, g.Severity, g.Example.State, g.Example.Path, g.Last})
	}
	path := func(i int) string { return rep.Files[i].Path }
	if diff := cmp.Diff([]line{
		{7, 700, Wrong, states[avalon.Failed], path(3), path(9)},
		{3, 300, Wrong, states[avalon.Failed], path(0), path(2)},
		{1, 100, Wrong, states[avalon.Synced], path(999), path(999)},
		{987, 98700, Waiting, states[avalon.Pending], path(12), path(998)},
		{2, 200, Waiting, states[avalon.BackingOff], path(10), path(11)},
	}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if r.Files != 1000 || r.Matched != 1000 || s.opened != 1 ||
		!strings.Contains(r.NextStep.String(), "sitesync retry Test --representation "+rep.ID.Hex()) {
		t.Errorf("opened %d times, %d of %d files, do %s", s.opened, r.Matched, r.Files, r.NextStep)
	}
	if n := s.drive.TotalCalls(); n > 15 {
		t.Errorf("%d calls of Drive: %v", n, s.drive.Calls())
	}
}

// Textures have names, and errors name them.
func TestGroups(t *testing.T) {
	var files []File
	for _, name := range []string{"diffuse.tif", "normal.tif", "specular.tif"} {
		f := File{Path: "{root}/" + name, Source: "/mnt/" + name, Remote: "/SHOW/" + name, Size: -1,
			State: states[avalon.Failed], Severity: Wrong,
			Findings: Findings{{Rule: "tries", Severity: Wrong, Remedy: Remedy{Text: "fix the file: /mnt/" + name},
				Cause: "upload /SHOW/" + name + ": refused, as is its source /data/" + name}}}
		files = append(files, f)
	}
	files[2].Findings[0].Cause += " for another reason"
	groups := group(files)
	if len(groups) != 2 || groups[0].Files != 2 || groups[0].Bytes != 0 || groups[0].Last != "{root}/normal.tif" ||
		groups[1].NextStep.Text != "fix the file: /mnt/specular.tif" {
		t.Errorf("%+v", groups)
	}
}

// Where each error has a number of its own, such as a size, they do not make a group each.
func TestGroupsOfNumberedErrors(t *testing.T) {
	var files []File
	for size := range 2 * maxCauses {
		files = append(files, File{Severity: Wrong, Findings: Findings{{Rule: "tries", Severity: Wrong,
			Cause: fmt.Sprintf("%d bytes were published", size)}}})
	}
	if groups := group(files); len(groups) != 1 || groups[0].Files != len(files) {
		t.Errorf("%+v", groups)
	}
	if groups := group(files[:maxCauses]); len(groups) != maxCauses {
		t.Errorf("%+v", groups)
	}
}

// Scripts read a remedy as one line, if there is one.
func TestRemedyJSON(t *testing.T) {
	got, err := json.Marshal(Findings{{Rule: "a", Remedy: Remedy{"fix it, then retry", "sitesync retry"}},
		{Rule: "b", Cause: "c"}})
	must(t, err)
	const want = `[{"rule":"a","verdict":"","detail":"","mend":"fix it, then retry: sitesync retry"},` +
		`{"rule":"b","verdict":"","detail":""}]`
	if string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// What was there before is waited for like what is not there yet, but not after a try has failed.
func TestStale(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.works(state.Self(), state.WorkerStatus{Stream: "open"})
	rep := s.publish(studio.Publish{Size: 100})
	s.explain(rep.ID.Hex(), Waiting)
	old := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(rep.Files[0].Local, old, old))
	r := s.explain(rep.ID.Hex(), Waiting)
	if f := r.Groups[0].Example; rules(f.Findings, Waiting) != "source" ||
		!strings.Contains(r.NextStep.String(), "newer file is waited for") {
		t.Errorf("%+v", r)
	}
	must(t, rep.Set(t.Context(), "gdrive", bson.D{{Key: "tries", Value: 1}}))
	if f := s.explain(rep.ID.Hex(), Waiting).Groups[0].Example; rules(f.Findings, Waiting) != "tries upload" {
		t.Errorf("%+v", f)
	}
}

// Who works elsewhere may see another storage.
func TestOtherMachine(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	rep := s.publish(studio.Publish{Size: 100, RecordOnly: true})
	must(t, rep.Set(t.Context(), "gdrive", bson.D{{Key: "tries", Value: 1}}))
	if r := s.explain(rep.ID.Hex(), Wrong); rules(r.Findings, Wrong) != "sitesync" ||
		rules(r.Groups[0].Example.Findings, Wrong) != "source" {
		t.Errorf("%+v", r)
	}
	s.works(state.Holder{ID: "1", Host: "elsewhere", PID: 7}, state.WorkerStatus{Stream: "not available"})
	r := s.explain(rep.ID.Hex(), Unknown)
	if rules(r.Groups[0].Example.Findings, Unknown) != "source" || rules(r.Findings, Wrong) != "" {
		t.Errorf("%+v", r)
	}
	if text := fmt.Sprint(r); !strings.Contains(text, "process 7 on elsewhere") ||
		!strings.Contains(text, "found by the poll, every 1m") {
		t.Error(text)
	}
}

func TestPaused(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	rep := s.publish(studio.Publish{Size: 100})
	s.works(state.Self(), state.WorkerStatus{Stream: "open"})
	s.explain(rep.ID.Hex(), Waiting)
	pauses := s.State.Pauses(state.LeaseName(s.db.Name(), s.Rules(config.Up).Route))
	for _, project := range []string{"Another", "Test", ""} {
		want := Wrong
		if project == "Another" {
			want = Waiting
		}
		must(t, pauses.Set(t.Context(), state.Pause{Project: project, By: "td@sync1", Since: time.Now(),
			Why: "moving house"}))
		r := s.explain(rep.ID.Hex(), want)
		if want == Wrong && (rules(r.Findings, Wrong) != "pause" ||
			!strings.HasSuffix(r.NextStep.String(), strings.TrimSpace("sitesync resume "+project)) ||
			!strings.Contains(fmt.Sprint(r.Findings), "by td@sync1: moving house")) {
			t.Errorf("%+v", r)
		}
		if project != "Another" {
			_, err := pauses.Clear(t.Context(), project)
			must(t, err)
		}
	}
	s.explain(rep.ID.Hex(), Waiting)
	must(t, pauses.Set(t.Context(), state.Pause{Project: "Test", By: "td@sync1", Since: time.Now()}))
	s.upload(rep) // then it does not matter any more
	s.explain(rep.ID.Hex(), OK)
}

// Sources are read to compare them, but not more than so much.
func TestCompare(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	rep := s.publish(studio.Publish{Size: 1000, Frames: 3})
	s.upload(rep)
	details := func(r *Report) (all []string) {
		for _, g := range r.Groups {
			detail := regexp.MustCompile("[0-9a-f]{32}").ReplaceAllString(g.Example.Findings[2].Detail, "SUM")
			all = append(all, fmt.Sprintf("%d %s", g.Files, detail))
		}
		return all
	}
	const same, size = "it is the same as its source, MD5 SUM",
		"it has the size of its source; the content was not compared"
	for maxRead, want := range map[int64][]string{
		0: {"3 " + size}, 1000: {"2 " + size, "1 " + same}, 2999: {"2 " + same, "1 " + size}, 3000: {"3 " + same},
	} {
		s.MaxRead = maxRead
		got := details(s.explain(rep.ID.Hex(), OK))
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("reading %d (-want +got):\n%s", maxRead, diff)
		}
	}
	s.MaxRead = 3000
	for name, test := range map[string]struct {
		change func(local string) error
		want   string
	}{
		"longer": {func(local string) error { return os.WriteFile(local, make([]byte, 1001), 0o600) },
			"the site has 1000 bytes, the source has 1001"},
		"other": {func(local string) error { return os.WriteFile(local, make([]byte, 1000), 0o600) },
			"the site has MD5 SUM, the source has SUM"},
	} {
		must(t, test.change(rep.Files[0].Local))
		r := s.explain(rep.ID.Hex(), Wrong)
		if got := details(r); got[0] != "1 "+test.want || rules(r.Groups[0].Example.Findings, Wrong) != "content" {
			t.Errorf("%s: %v", name, got)
		}
	}
	must(t, os.Remove(rep.Files[0].Local))
	if got := details(s.explain(rep.ID.Hex(), OK)); !slices.ContainsFunc(got,
		func(d string) bool { return strings.Contains(d, "cannot be compared") }) {
		t.Error(got)
	}
}

// A sequence whose folder somebody has put elsewhere is not asked for file by file.
func TestMovedSequence(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	rep := s.publish(studio.Publish{Size: 1, Frames: 200})
	s.upload(rep)
	moved := s.drive.Find(s.show, filepath.Dir("projects/"+rep.Files[0].Rel))
	s.drive.Rename(moved[0].ID, "old")
	r := s.explain(rep.ID.Hex(), Wrong)
	var got []string
	for _, g := range r.Groups {
		got = append(got, fmt.Sprintf("%d %s", g.Files, g.Severity))
	}
	if diff := cmp.Diff([]string{"50 wrong", "150 unknown"}, got); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	if n := s.drive.TotalCalls(); n > 2*maxLookups+15 {
		t.Errorf("%d calls of Drive: %v", n, s.drive.Calls())
	}
}

// A malformed document is explained like any other.
func TestDocuments(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.works(state.Self(), state.WorkerStatus{Stream: "open"})
	s.publish(studio.Publish{Size: 100}) // which makes the project
	studioHas := bson.D{{Key: "name", Value: "studio"}, {Key: "created_dt", Value: time.Now()}}
	skeleton := bson.D{{Key: "name", Value: "gdrive"}}
	entry := func(sites any) bson.A {
		return bson.A{bson.D{{Key: "_id", Value: bson.NewObjectID()}, {Key: "path", Value: "{root}/a.ma"},
			{Key: "size", Value: 1}, {Key: "sites", Value: sites}}}
	}
	for name, test := range map[string]struct {
		kind  string
		files any
		want  Severity
		rule  string
		state string
	}{
		"a version":     {"version", entry(bson.A{studioHas, skeleton}), Wrong, "document", ""},
		"no files":      {"representation", bson.A{}, Wrong, "document", ""},
		"files no list": {"representation", "none", Wrong, "document", ""},
		"no entry":      {"representation", bson.A{7}, Wrong, "entry", states[avalon.Invalid]},
		"no sites":      {"representation", entry(nil), Wrong, "entry", states[avalon.Invalid]},
		"a dict": {"representation", entry(bson.D{{Key: "studio", Value: bson.D{{Key: "created_dt", Value: 1}}},
			{Key: "gdrive", Value: bson.D{}}}), Waiting, "", states[avalon.Pending]},
		"a dict's null": {"representation", entry(bson.D{{Key: "studio", Value: bson.D{{Key: "created_dt", Value: 1}}},
			{Key: "gdrive", Value: nil}}), Wrong, "entry", states[avalon.Invalid]},
		"a list":        {"representation", entry(bson.A{studioHas, skeleton}), Waiting, "", states[avalon.Pending]},
		"not asked for": {"representation", entry(bson.A{studioHas}), Wrong, "record", states[avalon.Untracked]},
		"paused": {"representation", entry(bson.A{studioHas,
			bson.D{{Key: "name", Value: "gdrive"}, {Key: "paused", Value: true}}}), Wrong, "paused",
			states[avalon.Paused]},
		"not there": {"representation", entry(bson.A{skeleton}), Wrong, "active site",
			states[avalon.SourceMissing]},
		"created oddly": {"representation", entry(bson.A{studioHas,
			bson.D{{Key: "name", Value: "gdrive"}, {Key: "created_dt", Value: "yes"}}}), Wrong, "remote",
			states[avalon.Synced]},
	} {
		must(t, os.WriteFile(filepath.Join(s.root, "a.ma"), []byte("a"), 0o600))
		_, err := s.db.Collection("Test").InsertOne(t.Context(),
			bson.D{{Key: "_id", Value: name}, {Key: "type", Value: test.kind}, {Key: "name", Value: "ma"},
				{Key: "context", Value: bson.D{{Key: "root", Value: s.root}}}, {Key: "files", Value: test.files}})
		must(t, err)
		r := s.explain(name, test.want)
		steps, found := r.Findings, ""
		if len(r.Groups) > 0 {
			steps, found = append(steps, r.Groups[0].Example.Findings...), r.Groups[0].Example.State
		}
		if got := rules(steps, Wrong); got != test.rule || found != test.state {
			t.Errorf("%s: %q is wrong, want %q; %s, want %s: %+v", name, got, test.rule, found, test.state, r)
		}
	}
}

// What can't be read does not pass for something else.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	rep := s.publish(studio.Publish{Size: 100})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := s.Explain(ctx, "Test", rep.ID.Hex()); err == nil {
		t.Errorf("%+v", r)
	}
	s.upload(rep)
	s.show.AddMember(s.account, drive.Reader) // who may look still
	s.explain(rep.ID.Hex(), OK)
	must(t, rep.Resync(t.Context(), "gdrive"))
	if r := s.explain(rep.ID.Hex(), Wrong); rules(r.Findings, Wrong) != "sitesync site" {
		t.Errorf("%+v", r)
	}
	frames := s.publish(studio.Publish{Size: 1, Frames: 100, Version: 2})
	s.upload(frames)
	hidden := s.drive.AddFault(drive.Fault{Kind: "drives.list", Effect: drive.EffectStatus, Status: 403,
		Reason: "insufficientPermissions"})
	if r := s.explain(frames.ID.Hex(), Unknown); len(r.Groups) != 1 || r.Groups[0].Files != 100 || hidden.Hits() != 1 {
		t.Errorf("asked %d times: %+v", hidden.Hits(), r)
	}
	s.drive.ClearFaults()
	s.drive.AddFault(drive.Fault{Kind: "*", Effect: drive.EffectStatus, Status: 503})
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if r, err := s.Explain(ctx, "Test", rep.ID.Hex()); err == nil { // it waits for Drive, but not for ever
		t.Errorf("%+v", r)
	}
	s.drive.ClearFaults()
	s.upload(rep)
	s.OpenRemote = func(context.Context) (site.Storage, error) { return nil, errors.New("no key") }
	if r := s.explain(rep.ID.Hex(), Unknown); !strings.Contains(r.NextStep.String(), "no key") {
		t.Errorf("%+v", r)
	}
}

// What older versions have written is read too.
func TestHolds(t *testing.T) {
	var got []string
	for _, h := range Holds(state.WorkerStatus{Holds: []state.Hold{
		{Kind: "large_files", Name: "/SHOW", From: 1 << 20, What: "files", Why: "there is room for 1.0 MiB only"},
		{What: "remote root /SHOW", Why: "it is gone"},
	}}) {
		got = append(got, h.String())
	}
	want := []string{"files of 1.0 MiB and more for /SHOW: there is room for 1.0 MiB only",
		"remote root /SHOW: it is gone"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
