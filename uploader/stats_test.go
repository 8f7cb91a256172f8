package uploader

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitesync/site"
)

func TestStats(t *testing.T) {
	inBubble(t, func(w *world) {
		told := make(chan SyncedFile, 10)
		w.up.Synced = func(f SyncedFile) { told <- f }
		w.site.put = []error{errors.New("refused"), site.Classed(site.Unavailable, errors.New("no storage"))}
		w.site.check = []error{errors.New("still no storage")}

		// The first try fails; the second, 10 s later, meets a site in trouble.
		w.run(10*time.Second + 500*time.Millisecond)
		if got, want := w.up.Stats(), (Stats{FailedTries: 1, Holding: Holds{SiteTarget: 1},
			Holds: Holds{SiteTarget: 1}}); !cmp.Equal(got, want) {
			t.Errorf("counts %+v, want %+v", got, want)
		}
		if len(told) != 0 {
			t.Errorf("told of %d files", len(told))
		}
		w.run(time.Minute)
		w.wantSynced()
		if got, want := w.up.Stats(), (Stats{Synced: 1, SyncedBytes: 5, FailedTries: 1, Holding: Holds{},
			Holds: Holds{SiteTarget: 1}}); !cmp.Equal(got, want) {
			t.Errorf("counts %+v, want %+v", got, want)
		}
		// The clock of the bubble stands still while anything is done.
		if n := len(told); n != 1 {
			t.Fatalf("told of %d files", n)
		}
		if got := <-told; got.Took != 0 || got.Reaction < 0 || got.Reaction > time.Minute ||
			got.Key != key("a") || got.Path != "{root}/a.ma" || got.Bytes != 5 {
			t.Errorf("told of %+v", got)
		}
	})
}
