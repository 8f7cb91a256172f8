package explain

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/integration/drive"
	"sitesync/integration/studio"
	"sitesync/site"
	"sitesync/state"
	"sitesync/uploader"
)

// newDownloads is a stage with a local root, which is not empty.
func newDownloads(t *testing.T) *stage {
	t.Helper()
	s := newStage(t)
	s.Config.LocalRoot = config.Roots{"": s.root}
	must(t, os.Mkdir(filepath.Join(s.root, "Test"), 0o755))
	return s
}

// publishAtHome has an artist publish on a storage of her own, for the studio too.
func (s *stage) publishAtHome(pub studio.Publish) *studio.Representation {
	s.t.Helper()
	home := studio.New(s.db, studio.Options{Root: s.t.TempDir(), ActiveSite: "home"})
	p, err := home.Project(s.t.Context(), "Test")
	must(s.t, err)
	pub.Asset, pub.Subset, pub.Name = "Cylinder", "modelMain", "exr"
	rep, err := p.Publish(s.t.Context(), pub)
	must(s.t, err)
	return rep
}

// downloads has a sitesync download until the test ends.
func (s *stage) downloads(report state.WorkerStatus) {
	s.t.Helper()
	s.worksOn(s.Rules(config.Down).Route, state.Self(), report)
}

// local is where the studio has a file.
func (s *stage) local(f studio.File) string { return filepath.Join(s.root, f.Rel) }

// says checks what is said of a rule of the first group's example.
func (s *stage) says(r *Report, rule, want string) {
	s.t.Helper()
	for _, f := range r.Groups[0].Example.Findings {
		if f.Rule == rule && strings.Contains(f.Detail, want) {
			return
		}
	}
	s.t.Errorf("nothing of %q says %q: %+v", rule, want, r)
}

var forStudio = studio.Publish{Size: 100, OtherSites: []string{"studio"}}

// What is explained of a download: where it is, where it goes, and what becomes of what is there.
func TestDownload(t *testing.T) {
	t.Parallel()
	s := newDownloads(t)
	rep := s.publishAtHome(forStudio)
	s.upload(rep)
	f := rep.Files[0]
	if r := s.explain(rep.ID.Hex(), Wrong); rules(r.Findings, Wrong) != "sitesync" ||
		r.NextStep.Command != "sitesync run" || !strings.Contains(fmt.Sprint(r.Findings),
		"no sitesync downloads from site gdrive") {
		t.Errorf("no sitesync runs: %+v", r)
	}
	s.works(state.Self(), state.WorkerStatus{Stream: "open"}) // which does not download
	s.explain(rep.ID.Hex(), Wrong)

	s.downloads(state.WorkerStatus{Stream: "open"})
	r := s.explain(rep.ID.Hex(), Waiting)
	got := r.Groups[0].Example
	if got.Direction != config.Down || got.From() != "/SHOW/projects/"+f.Rel || got.To() != s.local(f) ||
		got.State != states[avalon.Pending] ||
		rules(got.Findings, OK) != "record tries remote site source destination" ||
		rules(got.Findings, Waiting) != "download" || rules(r.Findings, OK) != "document sitesync site" ||
		!strings.HasPrefix(r.NextStep.Text, "nothing; it is downloaded now or next") {
		t.Errorf("%+v", r)
	}

	content, err := os.ReadFile(f.Local)
	must(t, err)
	must(t, os.MkdirAll(filepath.Dir(s.local(f)), 0o755))
	must(t, os.WriteFile(s.local(f), content, 0o600))
	s.says(s.explain(rep.ID.Hex(), Waiting), "destination", "the same content is there, so it is marked without")
	content[0]++
	must(t, os.WriteFile(s.local(f), content, 0o600))
	s.says(s.explain(rep.ID.Hex(), Waiting), "destination", "other content is there, which is replaced")
	must(t, os.Remove(s.local(f)))
	must(t, os.Mkdir(s.local(f), 0o755))
	s.says(s.explain(rep.ID.Hex(), Wrong), "destination", "a folder of its name is in its place")
	must(t, os.Remove(s.local(f)))

	must(t, os.Rename(filepath.Join(s.root, "Test"), filepath.Join(s.root, "Other")))
	elsewhere := t.TempDir()
	must(t, os.Mkdir(filepath.Join(elsewhere, "Assets"), 0o755))
	must(t, os.Symlink(elsewhere, filepath.Join(s.root, "Test")))
	s.says(s.explain(rep.ID.Hex(), Wrong), "destination", "is a symbolic link out of the root")
	must(t, os.Remove(filepath.Join(s.root, "Test")))
	s.explain(rep.ID.Hex(), Waiting) // its folders are made

	must(t, rep.Set(t.Context(), "studio", bson.D{{Key: "tries", Value: 1}, {Key: "error", Value: "the disk is slow"},
		{Key: "last_failed_dt", Value: time.Now()}}))
	r = s.explain(rep.ID.Hex(), Waiting)
	s.says(r, "tries", "1 of 3 tries failed")
	if rules(r.Groups[0].Example.Findings, Waiting) != "tries wait" || r.Groups[0].Example.Error != "the disk is slow" {
		t.Errorf("%+v", r)
	}
	must(t, rep.Set(t.Context(), "studio", bson.D{{Key: "tries", Value: 3}}))
	if r := s.explain(rep.ID.Hex(), Wrong); !strings.HasPrefix(r.NextStep.Command, "sitesync retry Test ") {
		t.Errorf("%+v", r)
	}
	must(t, rep.Set(t.Context(), "studio", bson.D{{Key: "tries", Value: 0}, {Key: "paused", Value: true}}))
	if r := s.explain(rep.ID.Hex(), Wrong); !strings.Contains(r.NextStep.Text,
		"remove paused from its record of site studio; its download begins at once") {
		t.Errorf("%+v", r)
	}

	// It is there: as the daemon writes it.
	must(t, os.MkdirAll(filepath.Dir(s.local(f)), 0o755))
	must(t, os.WriteFile(s.local(f), content, 0o600))
	must(t, rep.Set(t.Context(), "studio", bson.D{{Key: "paused", Value: false}, {Key: "created_dt",
		Value: time.Now()}, {Key: "id", Value: filepath.Base(f.Rel)}}))
	r = s.explain(rep.ID.Hex(), Wrong)
	s.says(r, "record", "and was downloaded to site studio at ")
	if r.Groups[0].Example.Direction != config.Down || !strings.Contains(r.NextStep.Text,
		"otherwise delete it from that of site studio, which downloads it again") {
		t.Errorf("%+v", r)
	}
	content[0]--
	must(t, os.WriteFile(s.local(f), content, 0o600))
	s.says(s.explain(rep.ID.Hex(), OK), "content", "it is the same as its source")
	must(t, os.Remove(s.local(f)))
	s.says(s.explain(rep.ID.Hex(), OK), "content", "deleting created_dt from its record of site studio downloads it")
}

// What the settings of this machine say about downloads.
func TestDownloadsAreOff(t *testing.T) {
	t.Parallel()
	s := newDownloads(t)
	rep := s.publishAtHome(forStudio)
	s.upload(rep)
	s.Config.Direction = config.Up
	if r := s.explain(rep.ID.Hex(), Wrong); !strings.Contains(fmt.Sprint(r.Findings),
		"and here that is off: --direction is up") || r.NextStep.Command != "sitesync run --direction both" {
		t.Errorf("%+v", r)
	}
	s.Config.Direction, s.Config.LocalRoot = config.Both, nil
	r := s.explain(rep.ID.Hex(), Wrong)
	if !strings.Contains(fmt.Sprint(r.Findings), "there is no local_root") ||
		!strings.HasPrefix(r.NextStep.Text, "say in local_root of config.json") {
		t.Errorf("%+v", r)
	}
	// Nothing is said of the publisher's root, where nothing would be written.
	if got := r.Groups[0].Example; got.Source != "" || rules(got.Findings, OK) != "record tries remote site" {
		t.Errorf("%+v", got)
	}
	s.worksOn(s.Rules(config.Down).Route, state.Holder{ID: "1", Host: "elsewhere", PID: 7},
		state.WorkerStatus{Stream: "open"})
	r = s.explain(rep.ID.Hex(), Unknown)
	s.says(r, "destination", "process 7 on elsewhere does the work")
	s.Config.LocalRoot = config.Roots{"": filepath.Join(s.root, "nowhere")} // which may be all right there
	s.says(s.explain(rep.ID.Hex(), Unknown), "destination", "seen from this machine; process 7 on elsewhere")
}

// A pause and a hold of downloads do not concern uploads, nor the other way around.
func TestDownloadsAreHeld(t *testing.T) {
	t.Parallel()
	s := newDownloads(t)
	down, up := s.publishAtHome(forStudio), s.publish(studio.Publish{Size: 100, Version: 2})
	s.upload(down)
	s.works(state.Self(), state.WorkerStatus{Stream: "open"})
	hold := state.Hold{Kind: string(uploader.LocalRoot), Name: s.root, Why: "the storage is full"}
	s.downloads(state.WorkerStatus{Stream: "open", Holds: []state.Hold{hold}})
	s.explain(up.ID.Hex(), Waiting)
	r := s.explain(down.ID.Hex(), Wrong)
	s.says(r, "held", "downloads of this root are held: "+s.root+": the storage is full")
	if !strings.HasPrefix(r.NextStep.Text, "fix what holds downloads") {
		t.Errorf("do %s", r.NextStep)
	}
	for direction, paused := range map[config.Direction]*studio.Representation{config.Up: up, config.Down: down} {
		pauses := s.State.Pauses(state.LeaseName(s.db.Name(), s.Rules(direction).Route))
		must(t, pauses.Set(t.Context(), state.Pause{Project: "Test", By: "td@sync1", Since: time.Now()}))
		for _, rep := range []*studio.Representation{up, down} {
			r, err := s.Explain(t.Context(), "Test", rep.ID.Hex())
			must(t, err)
			if got := strings.Contains(rules(r.Findings, Wrong), "pause"); got != (rep == paused) {
				t.Errorf("%ss are paused, and of %s it is said: %t", direction.Noun(), rep, got)
			}
		}
		_, err := pauses.Clear(t.Context(), "Test")
		must(t, err)
	}
}

// The remote site is looked at, by the id of the record first.
func TestDownloadSource(t *testing.T) {
	t.Parallel()
	s := newDownloads(t)
	s.downloads(state.WorkerStatus{Stream: "open"})
	published := func(version int) (*studio.Representation, string) {
		pub := forStudio
		pub.Version = version
		rep := s.publishAtHome(pub)
		s.upload(rep)
		return rep, s.drive.Find(s.show, "projects/"+rep.Files[0].Rel)[0].ID
	}
	rep, id := published(1)
	s.drive.Rename(id, "old.exr")
	s.explain(rep.ID.Hex(), Waiting)
	rep, _ = published(2)
	must(t, rep.Set(t.Context(), "gdrive", bson.D{{Key: "id", Value: "gone"}}))
	s.explain(rep.ID.Hex(), Waiting)
	rep, id = published(3)
	s.drive.Trash(id)
	r := s.explain(rep.ID.Hex(), Wrong)
	s.says(r, "source", "trash")
	if !strings.HasPrefix(r.NextStep.Text, "restore it on site gdrive") {
		t.Errorf("do %s", r.NextStep)
	}
	rep, id = published(4)
	s.drive.Delete(id)
	s.says(s.explain(rep.ID.Hex(), Wrong), "source", "it is not on google drive")

	rep, _ = published(5)
	s.show.AddMember(s.account, drive.Reader) // who can read all the same
	if r := s.explain(rep.ID.Hex(), Waiting); rules(r.Findings, OK) != "document sitesync site" {
		t.Errorf("%+v", r)
	}
	must(t, os.RemoveAll(filepath.Join(s.root, "Test"))) // an empty root is one that is not mounted
	s.says(s.explain(rep.ID.Hex(), Wrong), "destination", s.root)
}

// Who has a file that is on neither of the two sites, and whether it comes.
func TestNotThereYet(t *testing.T) {
	t.Parallel()
	s := newDownloads(t)
	s.downloads(state.WorkerStatus{Stream: "open"})
	rep := s.publishAtHome(forStudio)
	r := s.explain(rep.ID.Hex(), Wrong)
	s.says(r, "remote site", "it is not on site gdrive yet, so there is nothing to download; it is on site home, but "+
		"no sitesync uploads from there")
	if r.NextStep.Text != "start sitesync on a machine of site home" ||
		r.Groups[0].Example.State != states[avalon.SourceMissing] {
		t.Errorf("%+v", r)
	}
	s.worksOn(avalon.Route{From: "home", To: "gdrive"}, state.Holder{ID: "1", Host: "ws3", PID: 7},
		state.WorkerStatus{Stream: "open"})
	s.says(s.explain(rep.ID.Hex(), Waiting), "remote site", "and process 7 on ws3 uploads from there")

	later := forStudio
	later.Version, later.NoRemote = 2, true
	rep = s.publishAtHome(later)
	if r := s.explain(rep.ID.Hex(), Wrong); r.NextStep.Command != "sitesync add-site Test" ||
		!strings.HasPrefix(r.NextStep.Text, "on a machine of site home") {
		t.Errorf("%+v", r)
	}
	later.Version, later.NoRemote, later.NoActiveDate = 3, false, true
	s.says(s.explain(s.publishAtHome(later).ID.Hex(), Wrong), "remote site", "no other site has it either")
}

// A file that nobody asked to bring here is brought by fetch, or by itself where the site is to have all.
func TestNotWantedHere(t *testing.T) {
	t.Parallel()
	s := newDownloads(t)
	rep := s.publishAtHome(studio.Publish{Size: 100})
	s.says(s.explain(rep.ID.Hex(), Wrong), "active site", "it is on site home, but no sitesync uploads from there")
	s.upload(rep)
	r := s.explain(rep.ID.Hex(), Wrong)
	s.says(r, "record", "it is on site gdrive, but has no record of site studio")
	if r.NextStep.Command != "sitesync fetch Test "+rep.ID.Hex() ||
		r.Groups[0].Example.Direction != config.Down || r.Groups[0].Example.State != states[avalon.Untracked] {
		t.Errorf("%+v", r)
	}
	s.Config.AlwaysAccessibleOn = []string{"studio"}
	s.says(s.explain(rep.ID.Hex(), Waiting), "record", "which is in always_accessible_on")

	neither := s.publishAtHome(studio.Publish{Size: 100, Version: 2, NoRemote: true})
	r = s.explain(neither.ID.Hex(), Wrong)
	s.says(r, "record", "it is not on site studio either, only on site home")
	if r.NextStep.Command != "" { // add-site here would add nothing
		t.Errorf("do %s", r.NextStep)
	}
}

// A sequence is not asked for frame by frame.
func TestDownloadSequence(t *testing.T) {
	t.Parallel()
	s := newDownloads(t)
	s.downloads(state.WorkerStatus{Stream: "open"})
	pub := forStudio
	pub.Frames = 200
	rep := s.publishAtHome(pub)
	s.upload(rep)
	r := s.explain(rep.ID.Hex(), Waiting)
	var got []string
	for _, g := range r.Groups {
		got = append(got, fmt.Sprintf("%d %s", g.Files, g.Example.Findings[3].Detail))
	}
	want := []string{"150 like 50 others it was not looked up on the site", "50 it is there, 100 B"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if n := s.drive.TotalCalls(); n > maxLookups+15 {
		t.Errorf("%d calls of Drive: %v", n, s.drive.Calls())
	}
}

// One representation can have files for both ways.
func TestBothWays(t *testing.T) {
	t.Parallel()
	s := newDownloads(t)
	var statuses []string
	rep := s.publish(studio.Publish{Size: 100, Frames: 2})
	s.upload(rep)
	must(t, rep.Resync(t.Context(), "gdrive", 0))
	must(t, rep.Resync(t.Context(), "studio", 1))
	r := s.explain(rep.ID.Hex(), Wrong)
	for _, g := range r.Groups {
		statuses = append(statuses, string(g.Example.Direction)+" "+g.Example.State)
	}
	if slices.Sort(statuses); !slices.Equal(statuses, []string{"down due", "up due"}) {
		t.Errorf("%q", statuses)
	}
	if rules(r.Findings, Wrong) != "sitesync sitesync" {
		t.Errorf("%+v", r.Findings)
	}
	s.works(state.Self(), state.WorkerStatus{Stream: "open"})
	s.downloads(state.WorkerStatus{Stream: "open"})
	s.explain(rep.ID.Hex(), Waiting)
	open := s.OpenLocal
	s.OpenLocal = func() site.Storage { return almostFull{open()} }
	if r := s.explain(rep.ID.Hex(), Wrong); len(r.Groups) != 2 ||
		!strings.Contains(r.NextStep.Text, "free some space") ||
		r.Groups[0].Example.Direction != config.Down {
		t.Errorf("%+v", r)
	}
}

// almostFull is a storage with room for ten bytes.
type almostFull struct{ site.Storage }

func (almostFull) Left(context.Context, string) (int64, bool, error) { return 10, true, nil }

// An outage of Drive is waited for by itself.
func TestDownloadDuringAnOutage(t *testing.T) {
	t.Parallel()
	s := newDownloads(t)
	rep := s.publishAtHome(forStudio)
	s.upload(rep)
	s.downloads(state.WorkerStatus{Stream: "open"})
	s.drive.AddFault(drive.Fault{Kind: "files.get", Effect: drive.EffectStatus, Status: 503})
	s.drive.AddFault(drive.Fault{Kind: "files.list", Effect: drive.EffectStatus, Status: 503})
	if r := s.explain(rep.ID.Hex(), Waiting); !strings.HasPrefix(r.NextStep.Text, "nothing; sitesync tries again") {
		t.Errorf("%+v", r)
	}
}
