package daemon_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"sitesync/config"
	"sitesync/daemon"
	"sitesync/integration/studio"
	"sitesync/state"
)

// start runs a daemon on a machine whose storage is a site of its own, below a root. It is stopped when the test ends.
func (f *fixture) start(site, root string) {
	f.t.Helper()
	f.env["SITESYNC_ACTIVE_SITE"], f.env["SITESYNC_LOCAL_ROOT"] = site, root
	machine := *f
	machine.cfg = f.load()
	d := machine.newDaemon(daemon.Options{})
	ran := make(chan error, 1)
	go func() { ran <- d.Run(f.ctx) }()
	f.t.Cleanup(func() {
		d.Stop()
		if err := <-ran; err != nil {
			f.t.Errorf("%s: %v", site, err)
		}
	})
}

// newRoot is the root of a storage that is not empty, as an empty one is taken for a mount point.
func newRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "Alpha"), 0o755); err != nil {
		t.Fatal(err)
	}
	return root
}

// What is published at home arrives on the storage of the studio, by way of Drive, and the other way round, while both
// machines run.
func TestBothWays(t *testing.T) {
	f := newFixture(t)
	verifyNoLeak := leakCheck(t)
	t.Cleanup(verifyNoLeak)
	storage := map[string]string{"studio": newRoot(t), "art-17": newRoot(t)}
	for site, root := range storage {
		f.start(site, root)
	}
	for from, to := range map[string]string{"studio": "art-17", "art-17": "studio"} {
		s := studio.New(f.project.Collection().Database(), studio.Options{Root: storage[from], ActiveSite: from})
		project := must(s.Project(f.ctx, f.project.Name()))(t)
		rep := must(project.Publish(f.ctx, studio.Publish{Asset: from, Subset: "modelMain", Name: "ma", Size: 1000,
			OtherSites: []string{to}}))(t)
		published := rep.Files[0].Local
		rel := must(filepath.Rel(storage[from], published))(t)
		arrived := filepath.Join(storage[to], rel)
		for {
			record := must(rep.Record(f.ctx, 0, to))(t)
			if _, ok := record.Lookup("created_dt").DateTimeOK(); ok {
				if id, _ := record.Lookup("id").StringValueOK(); id != filepath.Base(arrived) {
					t.Errorf("the id is %q", id)
				}
				break
			}
			if err := f.ctx.Err(); err != nil {
				t.Fatalf("%s has not arrived: %v", arrived, record)
			}
			time.Sleep(20 * time.Millisecond)
		}
		f.checkSynced(rep)
		if got, want := must(os.ReadFile(arrived))(t), must(os.ReadFile(published))(t); string(got) != string(want) {
			t.Errorf("%s has another content", arrived)
		}
		got, want := must(os.Stat(arrived))(t), must(os.Stat(published))(t)
		if diff := got.ModTime().Sub(want.ModTime()).Abs(); diff > time.Millisecond { // as Drive keeps it
			t.Errorf("%s was modified at %s, not %s", arrived, got.ModTime(), want.ModTime())
		}
	}
}

// Without a local root nothing is downloaded: context.root of a document is of the publisher's machine.
func TestNoLocalRootNoDownload(t *testing.T) {
	f := newFixture(t)
	if got := f.cfg.Directions(); len(got) != 1 || got[0] != config.Up {
		t.Errorf("directions %v", got)
	}
}

// A route that can't be served any more ends the daemon, so that it is started again, and does not go on with the other
// route alone.
func TestRouteThatFailsEndsAll(t *testing.T) {
	f := newFixture(t)
	root := newRoot(t)
	f.env["SITESYNC_LOCAL_ROOT"] = root
	f.cfg = f.load()
	published := studio.New(f.project.Collection().Database(), studio.Options{Root: root})
	project := must(published.Project(f.ctx, f.project.Name()))(t)
	// Another process has the lease of the downloads at first.
	other := f.state().NewLease(state.LeaseName(f.cfg.Mongo.Database, daemon.Rules(f.cfg, config.Down).Route),
		state.Self(), zaptest.NewLogger(t), func() state.WorkerStatus { return state.WorkerStatus{} })
	held, release := make(chan bool), make(chan bool)
	go other.Run(f.ctx, func(context.Context, context.Context) {
		close(held)
		<-release
	})
	<-held
	d := f.newDaemon(daemon.Options{})
	ran := make(chan error, 1)
	go func() { ran <- d.Run(f.ctx) }()
	rep := must(project.Publish(f.ctx, studio.Publish{Asset: "hero", Subset: "modelMain", Name: "ma", Size: 1000}))(t)
	must(published.WaitSynced(f.ctx, rep))(t)
	remote, _ := f.cfg.Remote()
	if err := os.Remove(remote.Credentials); err != nil {
		t.Fatal(err)
	}
	close(release)
	select {
	case err := <-ran:
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("it ended with %v", err)
		}
	case <-f.ctx.Done():
		t.Fatal("it goes on without downloads")
	}
}

// What a run that ends by itself has left says which direction it is of.
func TestOnceSaysWhatIsLeftOfEachDirection(t *testing.T) {
	f := newFixture(t)
	root := newRoot(t)
	f.env["SITESYNC_LOCAL_ROOT"] = root
	f.cfg = f.load()
	s := studio.New(f.project.Collection().Database(), studio.Options{Root: root})
	project := must(s.Project(f.ctx, f.project.Name()))(t)
	rep := must(project.Publish(f.ctx, studio.Publish{Asset: "hero", Subset: "modelMain", Name: "ma", Size: 1000}))(t)
	paused := f.state().Pauses(state.LeaseName(f.cfg.Mongo.Database, daemon.Rules(f.cfg, config.Down).Route))
	if err := paused.Set(f.ctx, state.Pause{By: "me", Since: time.Now()}); err != nil {
		t.Fatal(err)
	}
	err := f.once()
	if err == nil || !strings.HasPrefix(err.Error(), "downloads: the site is paused") ||
		strings.Contains(err.Error(), "uploads") {
		t.Errorf("it ended with %v", err)
	}
	f.checkSynced(rep)
}
