package gdrive

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"sitesync/integration/drive"
	"sitesync/site"
)

// An answer that never ends is cut off, a good one and an error. No Drive sends one, but what is between it and us
// may.
func TestEndlessAnswer(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 400} {
		var sent atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, err := w.Write([]byte(`{"id": "`))
			for piece := bytes.Repeat([]byte("x"), 64<<10); err == nil; {
				var n int
				n, err = w.Write(piece)
				sent.Add(int64(n))
			}
		}))
		s := newStudio(t)
		d := s.openAs(t, s.account.Credentials(), "", "/SHOW/pub")
		d.api.BasePath = server.URL + "/drive/v3/"
		d.tokens.tok = &oauth2.Token{AccessToken: "token", Expiry: time.Now().Add(time.Hour)}
		_, err := d.get(t.Context(), "root", "id")
		server.Close()
		if err == nil || len(err.Error()) > 1000 {
			t.Errorf("%d: error %.100v", status, err)
		}
		// The last of it is on its way, in buffers.
		if got := sent.Load(); got > maxAttempts*(maxAnswer+16*mib) {
			t.Errorf("%d: %d MiB were taken", status, got/mib)
		}
	}
}

// A create that Drive answers 404, for ever, though the folder is there, has nobody look up the folders on the way
// anew.
func TestNotFoundWhereTheFolderIs(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"/SHOW/pub/ill.ma", "/SHOW/pub/ill.large", "/SHOW/pub/ill/a.ma"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			s := newStudio(t)
			d := s.open(t)
			put(t, d, "/SHOW/pub/well.ma", "well")
			s.AddFault(
				drive.Fault{
					Kind:   "files.create*",
					Name:   "ill*",
					Effect: drive.EffectStatus,
					Status: 404,
					Reason: "notFound",
				},
			)
			s.ResetCalls()
			content := "ill"
			if strings.HasSuffix(at, "large") {
				content = large(testLimit + 1)
			}
			_, err := d.Put(t.Context(), upload(at, []byte(content)))
			wantClass(t, err, site.Transient, "404")
			s.wantCalls(t, "drives.list", 0)
			s.wantCalls(t, "files.list", 0)
			s.ClearFaults()
			put(t, d, at, content)
			s.wantOne(t, s.show, strings.TrimPrefix(at, "/SHOW/"), content)
		})
	}
}
