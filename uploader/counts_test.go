package uploader

import (
	"errors"
	"testing"
	"time"

	"sitesync/site"
)

func TestCounts(t *testing.T) {
	inBubble(t, func(w *world) {
		told := make(chan SyncedFile, 10)
		w.up.Synced = func(f SyncedFile) { told <- f }
		w.site.put = []error{errors.New("refused"), site.Classed(site.Unavailable, errors.New("no storage"))}
		w.site.check = []error{errors.New("still no storage")}

		// The first try fails; the second, 10 s later, meets a site in trouble.
		w.run(10*time.Second + 500*time.Millisecond)
		if got, want := w.up.Counts(), (Counts{FailedTries: 1, Holding: Holds{Site: 1}, Holds: Holds{Site: 1}}); got != want {
			t.Errorf("counts %+v, want %+v", got, want)
		}
		if len(told) != 0 {
			t.Errorf("told of %d files", len(told))
		}
		w.run(time.Minute)
		w.wantSynced()
		if got, want := w.up.Counts(), (Counts{Files: 1, Bytes: 5, FailedTries: 1, Holds: Holds{Site: 1}}); got != want {
			t.Errorf("counts %+v, want %+v", got, want)
		}
		// The clock of the bubble stands still while anything is done.
		if n := len(told); n != 1 {
			t.Fatalf("told of %d files", n)
		}
		if got := <-told; got.Upload != 0 || got.Reaction < 0 || got.Reaction > time.Minute ||
			got.Key != key("a") || got.Path != "{root}/a.ma" || got.Bytes != 5 {
			t.Errorf("told of %+v", got)
		}
	})
}

func TestHoldsByKind(t *testing.T) {
	var h Holds
	for _, k := range []TargetKind{SiteTarget, LocalRoot, LocalRoot, Settings, RemoteRoot, ProjectFolder, LargeFiles, NewFiles} {
		h.add(k)
	}
	if want := (Holds{Site: 1, LocalRoots: 2, Settings: 1, RemoteRoots: 1, ProjectFolders: 1, LargeFiles: 1, NewFiles: 1}); h != want {
		t.Errorf("%+v, want %+v", h, want)
	}
}
