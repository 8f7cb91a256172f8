package drive_test

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	api "google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"

	"sitesync/integration/drive"
)

const chunk = 256 << 10

func content(n int) string {
	return strings.Repeat("0123456789abcdef", n/16+1)[:n]
}

// begin starts a session and returns its URI.
func (s *studio) begin(t testing.TB, size int, header ...string) string {
	t.Helper()
	header = append(header, "Content-Type", "application/json", "X-Upload-Content-Type", "image/x-exr")
	if size >= 0 {
		header = append(header, "X-Upload-Content-Length", strconv.Itoa(size))
	}
	resp, body := s.request(t, "POST",
		"/upload/drive/v3/files?uploadType=resumable&supportsAllDrives=true&fields=id,md5Checksum,size,mimeType",
		`{"name":"big","parents":["`+s.show.ID+`"]}`, header...)
	if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Location"), s.URL+"/upload/drive/v3/files?") {
		t.Fatal(resp.Status, body, resp.Header)
	}
	return resp.Header.Get("Location")
}

// send puts data to a session. contentRange "" is no header.
func (s *studio) send(t testing.TB, uri, contentRange, data string) (status int, received, body string) {
	t.Helper()
	var header []string
	if contentRange != "" {
		header = []string{"Content-Range", contentRange}
	}
	resp, body := s.request(t, "PUT", uri, data, header...)
	return resp.StatusCode, resp.Header.Get("Range"), body
}

func (s *studio) wantFinished(t testing.TB, status int, body, data string) {
	t.Helper()
	if status != 200 || !strings.Contains(body, `"md5Checksum":"`+md5Of(data)+`"`) ||
		!strings.Contains(body, `"size":"`+strconv.Itoa(len(data))+`"`) ||
		!strings.Contains(body, `"mimeType":"image/x-exr"`) {
		t.Fatalf("%d %s", status, body)
	}
	found := s.Find(s.show, "big")
	if len(found) != 1 {
		t.Fatal(found)
	}
	r := must(s.Content(found[0].ID))(t)
	defer r.Close()
	if got := must(io.ReadAll(r))(t); string(got) != data {
		t.Fatalf("%d bytes stored, not the %d sent", len(got), len(data))
	}
}

func TestSessionOnePut(t *testing.T) {
	for _, size := range []int{0, 1, chunk, chunk + 1, 3*chunk - 1} {
		for _, known := range []bool{true, false} {
			s := newStudio(t)
			data := content(size)
			total := -1
			if known {
				total = size
			}
			uri := s.begin(t, total)
			status, _, body := s.send(t, uri, "", data)
			s.wantFinished(t, status, body, data)
			// Asking or sending again returns the same result.
			status, _, again := s.send(t, uri, "bytes */"+strconv.Itoa(size), "")
			if status != 200 || again != body {
				t.Fatal(status, again)
			}
			if status, _, again := s.send(t, uri, "", data); status != 200 || again != body {
				t.Fatal(status, again)
			}
		}
	}
}

func TestSessionChunks(t *testing.T) {
	s := newStudio(t)
	data := content(3*chunk + 7)
	n := strconv.Itoa(len(data))
	uri := s.begin(t, len(data))
	want := func(wantStatus int, wantRange string, contentRange, data string) {
		t.Helper()
		if status, received, body := s.send(t, uri, contentRange, data); status != wantStatus || received != wantRange {
			t.Fatalf("%s: %d, Range %q, %s; want %d, %q", contentRange, status, received, body, wantStatus, wantRange)
		}
	}
	want(308, "", "bytes */"+n, "")
	want(308, "", "bytes */*", "")
	want(400, "", "bytes 0-99/"+n, data[:100])        // not a multiple of 256 KiB
	want(400, "", "bytes 0-262143/999", data[:chunk]) // another total
	want(400, "", "bytes 262144-524287/"+n, data[chunk:2*chunk])
	want(400, "", "bytes 0-262143/"+n, data[:100])
	want(400, "", "bytes x", data[:chunk])
	want(400, "", "bytes */"+n, "x")
	want(308, "bytes=0-262143", "bytes 0-262143/"+n, data[:chunk])
	want(308, "bytes=0-262143", "bytes */"+n, "")
	want(308, "bytes=0-262143", "bytes 0-262143/"+n, data[:chunk]) // all of it is known
	// half of it is known, and not stored again
	want(308, "bytes=0-524287", "bytes 0-524287/"+n, "y"+data[1:2*chunk])
	want(308, "bytes=0-786431", "bytes 524288-786431/*", data[2*chunk:3*chunk]) // the total is left out
	status, _, body := s.send(t, uri, "bytes 786432-"+strconv.Itoa(len(data)-1)+"/"+n, data[3*chunk:])
	s.wantFinished(t, status, body, data)
}

func TestSessionUnknownTotal(t *testing.T) {
	s := newStudio(t)
	data := content(2 * chunk)
	uri := s.begin(t, -1)
	if status, received, body := s.send(t, uri, "bytes 0-262143/*", data[:chunk]); status != 308 ||
		received != "bytes=0-262143" {
		t.Fatal(status, received, body)
	}
	if status, received, body := s.send(t, uri, "bytes 262144-524287/*", data[chunk:]); status != 308 ||
		received != "bytes=0-524287" {
		t.Fatal(status, received, body)
	}
	status, _, body := s.send(t, uri, "bytes */524288", "")
	s.wantFinished(t, status, body, data)
}

func TestSessionNo308(t *testing.T) {
	s := newStudio(t)
	uri := s.begin(t, 2*chunk)
	resp, _ := s.request(t, "POST", uri, content(chunk), "Content-Range", "bytes 0-262143/524288", "X-GUploader-No-308",
		"yes")
	if resp.StatusCode != 200 || resp.Header.Get("X-HTTP-Status-Code-Override") != "308" ||
		resp.Header.Get("Range") != "bytes=0-262143" {
		t.Fatal(resp.Status, resp.Header)
	}
}

func TestSessionNeedsNoToken(t *testing.T) {
	s := newStudio(t)
	uri := s.begin(t, 3)
	req := must(http.NewRequest("PUT", uri, strings.NewReader("abc")))(t)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp := must(client.Do(req))(t)
	defer resp.Body.Close()
	body := must(io.ReadAll(resp.Body))(t)
	s.wantFinished(t, resp.StatusCode, string(body), "abc")
}

func TestSessionUpdate(t *testing.T) {
	s := newStudio(t)
	f := s.upload(t, s.show.ID, "big", "old")
	resp, body := s.request(t, "PATCH",
		"/upload/drive/v3/files/"+f.Id+"?uploadType=resumable&supportsAllDrives=true&fields=*",
		`{"modifiedTime":"2020-01-01T00:00:00Z"}`, "Content-Type", "application/json", "X-Upload-Content-Type",
		"image/x-exr")
	if resp.StatusCode != 200 {
		t.Fatal(resp.Status, body)
	}
	if got := s.Find(s.show, "big")[0]; got.MD5 != md5Of("old") {
		t.Fatal("the content changed before it had arrived")
	}
	status, _, body := s.send(t, resp.Header.Get("Location"), "", "new")
	s.wantFinished(t, status, body, "new")
	if got := s.Find(s.show, "big")[0]; got.ID != f.Id || got.Revision != 2 || got.ModifiedTime.Year() != 2020 {
		t.Fatalf("%+v", got)
	}
}

func TestSessionEnds(t *testing.T) {
	clk := newClock()
	s := newStudio(t, drive.Options{Now: clk.Now})
	uri := s.begin(t, 3)
	s.ExpireSessions()
	if status, _, _ := s.send(t, uri, "bytes */3", ""); status != 410 {
		t.Fatal(status)
	}
	if status, _, body := s.send(t, s.URL+"/upload/drive/v3/files?uploadType=resumable&upload_id=unknown", "",
		"abc"); status != 404 || reason(t, body) != "notFound" {
		t.Fatal(status, body)
	}
	uri = s.begin(t, 3)
	clk.Advance(7*24*time.Hour + time.Second)
	if status, _, body := s.send(t, uri, "", "abc"); status != 410 {
		t.Fatal(status, body)
	}
	if got := s.Files(); len(got) != 0 {
		t.Fatal(got)
	}
}

func TestSessionUsedID(t *testing.T) {
	s := newStudio(t)
	id := must(s.api.Files.GenerateIds().Count(1).Do())(t).Ids[0]
	begin := func() (int, string) {
		resp, _ := s.request(t, "POST", "/upload/drive/v3/files?uploadType=resumable&supportsAllDrives=true",
			`{"id":"`+id+`","name":"big","parents":["`+s.show.ID+`"]}`, "Content-Type", "application/json")
		return resp.StatusCode, resp.Header.Get("Location")
	}
	_, first := begin()
	_, second := begin()
	if status, _, body := s.send(t, first, "", "abc"); status != 200 {
		t.Fatal(status, body)
	}
	for range 2 {
		if status, _, body := s.send(t, second, "", "abc"); status != 409 || reason(t, body) != "fileIdInUse" {
			t.Fatal(status, body)
		}
	}
	if status, _ := begin(); status != 409 {
		t.Fatal(status)
	}
	if got := s.Files(); len(got) != 1 || got[0].ID != id {
		t.Fatal(got)
	}
}

// A client that dies in the middle of a PUT finds whole multiples of 256 KiB.
func TestSessionBrokenConnection(t *testing.T) {
	s := newStudio(t)
	data := content(4 * chunk)
	uri := s.begin(t, len(data))
	conn := must(net.Dial("tcp", strings.TrimPrefix(s.URL, "http://")))(t)
	target := must(url.Parse(uri))(t)
	head := "PUT " + target.RequestURI() + " HTTP/1.1\r\nHost: " + target.Host + "\r\nContent-Length: " +
		strconv.Itoa(len(data)) + "\r\n\r\n"
	must(conn.Write([]byte(head + data[:2*chunk+1000])))(t)
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	// The question may overtake the data: the answer is a lower bound.
	var received string
	eventually(t, "the server noticed",
		func() bool { return len(s.Log()) > 0 && s.Log()[len(s.Log())-1].Kind == "upload.put" })
	_, received, _ = s.send(t, uri, "bytes */1048576", "")
	if received != "bytes=0-524287" {
		t.Fatal(received)
	}
	status, _, body := s.send(t, uri, "bytes 524288-1048575/1048576", data[2*chunk:])
	s.wantFinished(t, status, body, data)
}

// A newer request ends one that waits for data which will never come.
func TestSessionTakeover(t *testing.T) {
	s := newStudio(t)
	data := content(2 * chunk)
	uri := s.begin(t, len(data))
	pipe, feed := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		req, err := http.NewRequest("PUT", uri, pipe)
		if err == nil {
			req.ContentLength = int64(len(data))
			var resp *http.Response
			if resp, err = http.DefaultTransport.RoundTrip(req); err == nil {
				err = resp.Body.Close()
			}
		}
		ended <- err
	}()
	must(feed.Write([]byte(data[:chunk])))(t)
	eventually(t, "the PUT has arrived", func() bool { return s.Calls()["upload.put"] == 1 })
	// The question ends the PUT; what was stored stays.
	status, received, body := s.send(t, uri, "bytes */524288", "")
	if status != 308 || received != "" && received != "bytes=0-262143" {
		t.Fatal(status, received, body)
	}
	// Only now does the client end: its side of the connection still waits for
	// data that it could send.
	feed.Close()
	if err := <-ended; err == nil {
		t.Fatal("the old PUT was answered")
	}
	offset := 0
	if received != "" {
		offset = chunk
	}
	status, _, body = s.send(t, uri, "bytes "+strconv.Itoa(offset)+"-524287/524288", data[offset:])
	s.wantFinished(t, status, body, data)
}

func TestGoogleClientResumable(t *testing.T) {
	s := newStudio(t)
	for name, size := range map[string]int{"empty": 0, "one": 1, "chunk": chunk, "two": 2 * chunk, "odd": 5*chunk + 3} {
		data := content(size)
		// ChunkSize below the size makes the client use a session.
		f := must(s.api.Files.Create(&api.File{Name: name, Parents: []string{s.show.ID}}).SupportsAllDrives(true).
			Media(strings.NewReader(data), googleapi.ChunkSize(chunk)).Fields("md5Checksum,size").Do())(t)
		if f.Md5Checksum != md5Of(data) || f.Size != int64(size) {
			t.Fatalf("%s: %+v", name, f)
		}
		g := must(s.api.Files.Create(&api.File{Name: name + "InOne", Parents: []string{s.show.ID}}).
			SupportsAllDrives(true).
			Media(strings.NewReader(data), googleapi.ContentType("image/x-exr")).Fields("id,md5Checksum,size").Do())(t)
		if g.Md5Checksum != md5Of(data) || g.Size != int64(size) {
			t.Fatalf("%s: %+v", name, g)
		}
		h := must(s.api.Files.Update(g.Id, nil).SupportsAllDrives(true).
			Media(strings.NewReader(data+"!"), googleapi.ChunkSize(0)).Fields("md5Checksum").Do())(t)
		if h.Md5Checksum != md5Of(data+"!") {
			t.Fatalf("%s: %+v", name, h)
		}
	}
	if got := s.Calls()["upload.put"]; got != 1+2+6 {
		t.Fatal(s.Calls())
	}
}

// Google's client goes on after an answer of 503 to a chunk.
func TestGoogleClientRetriesAChunk(t *testing.T) {
	s := newStudio(t)
	fault := s.AddFault(drive.Fault{Kind: "upload.put", Skip: 1, Count: 1, Effect: drive.EffectStatus, Status: 503})
	data := content(3 * chunk)
	f := must(s.api.Files.Create(&api.File{Name: "big", Parents: []string{s.show.ID}}).SupportsAllDrives(true).
		Media(strings.NewReader(data), googleapi.ChunkSize(chunk)).Fields("md5Checksum").Do())(t)
	if f.Md5Checksum != md5Of(data) || fault.Hits() != 1 {
		t.Fatal(f.Md5Checksum, fault.Hits())
	}
}

func TestUploadMedia(t *testing.T) {
	s := newStudio(t)
	s.UpdateSettings(func(v *drive.Settings) { v.ServiceAccountStorage = -1 })
	resp, body := s.request(t, "POST", "/upload/drive/v3/files?uploadType=media", "abc", "Content-Type", "text/plain")
	if resp.StatusCode != 200 {
		t.Fatal(resp.Status, body)
	}
	got := s.Files()
	if len(got) != 1 || got[0].Name != "Untitled" || got[0].MimeType != "text/plain" || got[0].MD5 != md5Of("abc") ||
		got[0].Parent != s.account.RootID() {
		t.Fatal(got)
	}
	resp, _ = s.request(t, "PATCH", "/upload/drive/v3/files/"+got[0].ID+"?uploadType=media", "defg", "Content-Type",
		"text/plain")
	if got := s.Files(); resp.StatusCode != 200 || got[0].MD5 != md5Of("defg") {
		t.Fatal(resp.Status, got)
	}
	want := map[string]int{"token": 1, "files.create.media": 1, "files.update.media": 1}
	if diff := cmp.Diff(want, s.Calls()); diff != "" {
		t.Fatal(diff)
	}
}

func TestParallelUploads(t *testing.T) {
	clk := newClock()
	s := newStudio(t, drive.Options{Now: clk.Now, Settings: drive.Settings{TokenLifetime: 48 * time.Hour}})
	s.Delete(s.upload(t, s.show.ID, "yesterday", "x").Id)
	clk.Advance(25 * time.Hour) // what counts for the day changes while all look at it
	dir := s.Mkdir(s.show, "a")
	var failed atomic.Int32
	const workers, each = 8, 25
	done := make(chan struct{})
	for w := range workers {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range each {
				name := strconv.Itoa(w*each + i)
				f, err := s.api.Files.Create(&api.File{Name: name, Parents: []string{dir}}).SupportsAllDrives(true).
					Media(strings.NewReader(name)).Fields("md5Checksum").Do()
				if err != nil || f.Md5Checksum != md5Of(name) {
					failed.Add(1)
				}
			}
		}()
	}
	for range workers {
		<-done
	}
	if failed.Load() != 0 || len(s.Files()) != 1+workers*each || len(s.Duplicates()) != 0 {
		t.Fatal(failed.Load(), len(s.Files()), s.Duplicates())
	}
}

func TestDiscard(t *testing.T) {
	s := newStudio(t, drive.Options{Discard: true})
	f := s.upload(t, s.show.ID, "x", "abc")
	if f.Md5Checksum != md5Of("abc") || f.Size != 3 {
		t.Fatalf("%+v", f)
	}
	if _, err := s.Content(f.Id); err == nil {
		t.Fatal("discarded content can be read")
	}
	_, err := s.api.Files.Get(f.Id).SupportsAllDrives(true).Download()
	wantError(t, err, 500, "backendError")
}

// Drive may keep any part of what was sent: only its answer says how much.
func TestFaultPartial(t *testing.T) {
	s := newStudio(t)
	data := content(3 * chunk)
	uri := s.begin(t, len(data))
	f := s.AddFault(drive.Fault{Kind: "upload.put", Count: 2, Effect: drive.EffectPartial, AfterBytes: 1000})
	if status, received, _ := s.send(t, uri, "bytes 0-524287/786432", data[:2*chunk]); status != 308 ||
		received != "bytes=0-999" {
		t.Fatal(status, received)
	}
	if status, received, _ := s.send(t, uri, "bytes 1000-786431/786432", data[1000:]); status != 308 ||
		received != "bytes=0-1999" {
		t.Fatal(status, received)
	}
	if f.Hits() != 2 {
		t.Fatal(f.Hits())
	}
	status, _, body := s.send(t, uri, "bytes 2000-786431/786432", data[2000:])
	s.wantFinished(t, status, body, data)
	// Nothing at all has arrived: there is no Range.
	s.AddFault(drive.Fault{Kind: "upload.put", Count: 1, Effect: drive.EffectPartial})
	if status, received, _ := s.send(t, s.begin(t, len(data)), "", data); status != 308 || received != "" {
		t.Fatal(status, received)
	}
}
