package uploader

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"sitesync/avalon"
	"sitesync/site"
)

// looking is a site that looks at what the uploader tells while it uploads.
type looking struct {
	*scripted
	during func(site.Incoming)
}

func (l looking) Put(ctx context.Context, u site.Incoming) (site.Object, error) {
	l.during(u)
	return l.scripted.Put(ctx, u)
}

func TestActivity(t *testing.T) {
	inBubble(t, func(w *world) {
		started := time.Now()
		w.site.put = []error{
			site.Classed(site.Transient, errors.New("too fast")), errors.New("refused"),
			site.Classed(site.Unavailable, errors.New("drive is full"))}
		full := errors.New("drive is still full")
		w.site.check = []error{full, full, full}
		var during Activity
		w.up.Target = looking{w.site, func(u site.Incoming) {
			u.OnProgress(3)
			during = w.up.Activity()
		}}

		w.run(time.Second)
		if len(during.Transfers) != 1 || len(during.Waiting) != 0 {
			t.Fatalf("during an upload: %+v", during)
		}
		if got, want := during.Transfers[0], (Transfer{ID: 1, Key: key("a"), Path: "{root}/a.ma", Size: 5, Sent: 3,
			Began: started}); got != want {
			t.Errorf("it runs: %+v, want %+v", got, want)
		}
		now := w.up.Activity()
		if len(now.Transfers) != 0 || len(now.Waiting) != 1 || !now.Away {
			t.Fatalf("the site is busy: %+v", now)
		}
		if got := now.Waiting[0]; got.Why != "too fast" || !got.Away || got.Failed || got.Key != key("a") ||
			got.Until.Before(started.Add(3*time.Second)) || got.Until.After(started.Add(7*time.Second)) {
			t.Errorf("it waits: %+v", got)
		}
		w.run(7 * time.Second)
		now = w.up.Activity()
		if len(now.Waiting) != 1 || now.Waiting[0].Why != "refused" || !now.Waiting[0].Failed || now.Waiting[0].Away {
			t.Errorf("a try was spent: %+v", now)
		}
		w.run(10*time.Second + 500*time.Millisecond)
		now = w.up.Activity()
		if len(now.Waiting) != 0 || len(now.Held) != 1 || now.Held[0].Subject() != "site" ||
			now.Held[0].Why != full.Error() ||
			now.Held[0].Next.IsZero() || now.Held[0].Since.IsZero() {
			t.Errorf("the site is held: %+v", now)
		}
		w.run(time.Minute)
		w.wantSynced()
		if now = w.up.Activity(); len(now.Transfers)+len(now.Waiting)+len(now.Held)+now.Live+now.Backlog != 0 ||
			now.Away {
			t.Errorf("all is synced: %+v", now)
		}
	})
}

// However many files wait, few are remembered, and one that nobody looks at any more is forgotten.
func TestActivityIsBounded(t *testing.T) {
	inBubble(t, func(w *world) {
		var a activity
		for i := range 2 * maxWaiting {
			tr := a.begin(task{job: &job{key: key("a")}, file: avalon.File{Path: fmt.Sprintf("{root}/%d", i)}})
			tr.err = errors.New("not there")
			a.end(tr, false, time.Second)
		}
		if _, waiting := a.now(); len(waiting) != maxWaiting {
			t.Errorf("%d are remembered", len(waiting))
		}
		w.run(forgetWaitingAfter + 2*time.Second)
		if running, waiting := a.now(); len(running)+len(waiting) != 0 {
			t.Errorf("%d run, %d wait", len(running), len(waiting))
		}
	})
}

// BenchmarkActivity is what it costs a file to be shown.
func BenchmarkActivity(b *testing.B) {
	var a activity
	t := task{job: &job{key: key("a")}, file: avalon.File{Path: "{root}/Test/Assets/Cylinder/publish/a.ma", Size: 5}}
	b.ReportAllocs()
	for b.Loop() {
		a.end(a.begin(t), false, 0)
	}
}

// replacing is a site at which other content was, each time.
type replacing struct{ *scripted }

func (r replacing) Put(ctx context.Context, u site.Incoming) (site.Object, error) {
	obj, err := r.scripted.Put(ctx, u)
	obj.Replaced = true
	return obj, err
}

// That other content was replaced is in the log, with the path.
func TestReplacedContentIsLogged(t *testing.T) {
	inBubble(t, func(w *world) {
		w.site.put = []error{errors.New("refused")}
		w.up.Target = replacing{w.site}
		w.run(time.Second)
		if n := w.logged("replaced other content"); n != 0 {
			t.Errorf("a file that failed is logged %d times", n)
		}
		w.run(time.Hour)
		if n := w.logged("replaced other content"); n != 1 {
			t.Errorf("it is logged %d times", n)
		}
		for _, e := range w.logs.All() {
			if e.Message == "replaced other content" && e.ContextMap()["path"] != "/SHOW/a.ma" {
				t.Errorf("it is logged with %v", e.ContextMap())
			}
		}
	})
}
