package drive_test

import (
	"errors"
	"io"
	"testing"
	"time"

	api "google.golang.org/api/drive/v3"

	"sitesync/integration/drive"
)

// What Google does not give, it refuses with a reason.
func TestRefusedDownloads(t *testing.T) {
	s := newStudio(t) // whose account is an organizer
	reader := s.AddServiceAccount("reader@studio.iam.example")
	s.show.AddMember(reader, drive.Viewer)
	readers := s.as(t, reader)
	id := s.AddFile(s.show.ID, "a", []byte("content"))
	get := func(by *api.Service, acknowledge bool) error {
		res, err := by.Files.Get(id).SupportsAllDrives(true).AcknowledgeAbuse(acknowledge).Download()
		if err == nil {
			res.Body.Close()
		}
		return err
	}
	s.RefuseDownloads(id, "downloadQuotaExceeded")
	wantError(t, get(s.api, false), 403, "downloadQuotaExceeded")
	s.RefuseDownloads(id, "cannotDownloadAbusiveFile")
	wantError(t, get(s.api, false), 403, "cannotDownloadAbusiveFile")
	wantError(t, get(readers, true), 403, "cannotDownloadAbusiveFile")
	if err := get(s.api, true); err != nil {
		t.Error(err)
	}
	s.RefuseDownloads(id, "")
	if err := get(readers, false); err != nil {
		t.Error(err)
	}
	must(s.api.Files.Update(id, &api.File{CopyRequiresWriterPermission: true}).SupportsAllDrives(true).Do())(t)
	wantError(t, get(readers, false), 403, "cannotDownloadFile")
	if err := get(s.api, false); err != nil {
		t.Error(err)
	}
}

// Who has begun to read a content gets all of it, whatever becomes of the file; a range of later is of the new one.
func TestReplacedWhileDownloaded(t *testing.T) {
	s := newStudio(t)
	old, other := content(4<<20), content(1<<20)
	id := s.AddFile(s.show.ID, "a", []byte(old))
	res := must(s.api.Files.Get(id).SupportsAllDrives(true).Download())(t)
	defer res.Body.Close()
	s.Write(id, []byte(other))
	if got := must(io.ReadAll(res.Body))(t); string(got) != old {
		t.Errorf("%d bytes, want the %d there were", len(got), len(old))
	}
	path := "/drive/v3/files/" + id + "?alt=media&supportsAllDrives=true"
	resp, body := s.request(t, "GET", path, "", "Range", "bytes=1000-")
	if resp.StatusCode != 206 || body != other[1000:] {
		t.Error(resp.Status, len(body))
	}
}

func TestFaultsOfDownloads(t *testing.T) {
	s := newStudio(t)
	id := s.AddFile(s.show.ID, "a", []byte("0123456789"))
	path := "/drive/v3/files/" + id + "?alt=media&supportsAllDrives=true"
	s.AddFault(drive.Fault{Kind: "files.download", Count: 1, Effect: drive.EffectIgnoreRange})
	for _, want := range []string{"0123456789", "23"} {
		if _, body := s.request(t, "GET", path, "", "Range", "bytes=2-3"); body != want {
			t.Errorf("got %q, want %q", body, want)
		}
	}
	hang := s.AddFault(drive.Fault{Kind: "files.download", Effect: drive.EffectHang, When: drive.InAnswer,
		AfterBytes: 4})
	res := must(s.api.Files.Get(id).SupportsAllDrives(true).Download())(t)
	defer res.Body.Close()
	part := make([]byte, 4)
	if _, err := io.ReadFull(res.Body, part); err != nil || string(part) != "0123" {
		t.Errorf("%q, %v", part, err)
	}
	hang.Remove()
	if rest, err := io.ReadAll(res.Body); len(rest) > 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v", rest, err)
	}
}

// Each connection has a bandwidth of its own. Only that it delays at least as long as it must.
func TestBandwidthOfAConnection(t *testing.T) {
	s := newStudio(t)
	const size, perSecond = 1 << 20, 10 << 20
	id := s.AddFile(s.show.ID, "a", []byte(content(size)))
	must(s.api.Files.Get("root").Do())(t)
	s.SetSettings(drive.Settings{ConnectionDownload: perSecond})
	start := time.Now()
	for range 2 { // one after the other, on the same connection
		res := must(s.api.Files.Get(id).SupportsAllDrives(true).Download())(t)
		if n := must(io.Copy(io.Discard, res.Body))(t); n != size {
			t.Fatalf("%d bytes, want %d", n, size)
		}
		res.Body.Close()
	}
	if took, least := time.Since(start), 180*time.Millisecond; took < least {
		t.Errorf("took %v, want at least %v", took, least)
	}
}
