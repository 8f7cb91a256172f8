package gdrive

import (
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"sitesync/integration/drive"
)

// meanwhile does something just before a request of a kind is sent for the first time.
type meanwhile struct {
	*authTransport
	kind string
	skip int
	do   func()

	mu   sync.Mutex
	seen int
}

func (m *meanwhile) RoundTrip(req *http.Request) (*http.Response, error) {
	if kind(req) == m.kind {
		m.mu.Lock()
		if m.seen++; m.seen == m.skip+1 {
			m.do()
		}
		m.mu.Unlock()
	}
	return m.authTransport.RoundTrip(req)
}

// act is what a person does on Drive while a file is uploaded.
type act struct {
	name  string
	do    func(*trial)
	undo  func(*trial) // repairs it, once the site was probed; nil if there is nothing to repair
	want  verdict
	late  []string // kinds of requests after which nothing of it matters any more, so that it is fine
	never func(request) string
}

// remains is the file that is there at the moment, or "".
func (tr *trial) remains() string {
	for _, f := range tr.Find(tr.place, path.Join("pub/new", tr.name)) {
		return f.ID
	}
	return ""
}

// done reports whether Drive has done the upload when the request is made. What is taken away then was taken away from
// a synced file, and that is for the person to decide.
func done(k request) bool { return k.name == "upload.status, of a finished session" }

var (
	needsRoot   = unless(func(k request) bool { return !done(k) }, "the upload is done")
	needsFolder = unless(
		func(k request) bool { return k.name != "files.create" && !done(k) },
		"there is no folder yet, or the upload is done",
	)
	needsFile = unless(func(k request) bool {
		return k.name == "files.get, to compare" || k.name == "files.get, after a conflict" ||
			strings.HasPrefix(k.name, "files.update") || k.name == "upload.put, of an update"
	}, "there is no file yet, or the upload is done")
	needsMember = unless(func(k request) bool { return !k.mine }, "nobody takes My Drive from its user")
)

var acts = []act{
	{name: "folder trashed", do: func(tr *trial) { tr.Trash(tr.folder) }, want: fine, never: needsFolder},
	{name: "folder deleted", do: func(tr *trial) { tr.Delete(tr.folder) }, want: fine, never: needsFolder},
	{name: "file trashed", do: func(tr *trial) { tr.Trash(tr.remains()) }, want: fine, never: needsFile},
	{name: "file deleted", do: func(tr *trial) { tr.Delete(tr.remains()) }, want: fine, never: needsFile},
	{name: "sessions expired", do: func(tr *trial) { tr.ExpireSessions() }, want: fine, never: onlySessions},
	{
		name:  "root trashed",
		do:    func(tr *trial) { tr.Trash(tr.rootID) },
		undo:  func(tr *trial) { tr.Untrash(tr.rootID) },
		want:  unavailable,
		late:  []string{"about.get"},
		never: needsRoot,
	},
	{name: "rights taken", do: func(tr *trial) { tr.show.AddMember(tr.account, drive.Reader) },
		undo: func(tr *trial) { tr.show.AddMember(tr.account, drive.ContentManager) }, want: unavailable,
		late: []string{
			"files.get, to compare",
			"files.get, after a conflict",
			"upload.status, of a finished session",
		}, never: needsMember},
}

// What a person does on Drive just before each kind of request neither loses a file nor doubles it, and costs no try.
func TestPersons(t *testing.T) {
	t.Parallel()
	st := newStage(t)
	tests := map[string]func(*testing.T){}
	for _, k := range requests {
		for _, a := range acts {
			if k.token || a.never(k) != "" {
				continue // tokens are asked for beside the requests
			}
			tests[k.name+"/"+a.name] = func(t *testing.T) {
				tr := st.newTrial(t, k)
				acted := false
				m := &meanwhile{authTransport: tr.site.client.Transport.(*authTransport), skip: k.skip}
				m.kind, _, _ = strings.Cut(k.name, ",")
				m.do = func() { acted = true; a.do(tr) }
				tr.site.client.Transport = m
				if a.undo != nil {
					tr.end = sync.OnceFunc(func() { a.undo(tr) })
				}
				want := a.want
				if slices.Contains(a.late, k.name) {
					want = fine
				}
				tr.run(want, k)
				if !acted {
					t.Error("nobody came")
				}
			}
		}
	}
	t.Logf("%d combinations", len(tests))
	allAtOnce(t, tests)
}
