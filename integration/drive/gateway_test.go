package drive_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	api "google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"

	"sitesync/integration/drive"
)

// A proxy that refuses large bodies lets chunks pass.
func TestGatewayMaxBody(t *testing.T) {
	for _, g := range []drive.Gateway{{}, {MaxBodyRead: true}, {Buffer: true}, {MaxBodyRead: true, Buffer: true}} {
		s := newStudio(t)
		must(s.api.Files.Get("root").Do())(t) // the token is there
		g.MaxBody = 2 * chunk
		s.UpdateSettings(func(v *drive.Settings) { v.Gateway = g })
		data := content(3*chunk + 9)
		create := func(option googleapi.MediaOption) error {
			_, err := s.api.Files.Create(&api.File{Name: "x", Parents: []string{s.show.ID}}).SupportsAllDrives(true).
				Media(strings.NewReader(data), option).Do()
			return err
		}
		refused := func(resp *http.Response, body string) {
			t.Helper()
			if resp.StatusCode != 413 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") ||
				!strings.Contains(body, "524288 bytes") {
				t.Errorf("%+v: %s %s", g, resp.Status, body)
			}
		}
		header := []string{"Content-Type", "multipart/related; boundary=b"}
		multi := "--b\r\nContent-Type: application/json\r\n\r\n{\"name\":\"x\",\"parents\":[\"" +
			s.show.ID + "\"]}\r\n--b\r\nContent-Type: x/y\r\n\r\n" + data + "\r\n--b--"
		refused(s.request(t, "POST", "/upload/drive/v3/files?uploadType=multipart&supportsAllDrives=true", multi,
			header...))
		uri := s.begin(t, len(data))
		refused(s.request(t, "PUT", uri, data))
		// What was read before the refusal has gone on, unless the proxy takes all first.
		want := ""
		if g.MaxBodyRead && !g.Buffer {
			want = "bytes=0-524287"
		}
		if status, received, _ := s.send(t, uri, "bytes */786441", ""); status != 308 || received != want {
			t.Errorf("%+v: %d %q", g, status, received)
		}
		if err := create(googleapi.ChunkSize(2 * chunk)); err != nil {
			t.Errorf("%+v: %v", g, err)
		}
		if got := s.Find(s.show, "x"); len(got) != 1 || got[0].MD5 != md5Of(data) {
			t.Errorf("%+v: %v", g, got)
		}
	}
}

// A proxy that takes all of a body before Drive sees any of it.
func TestGatewayBuffers(t *testing.T) {
	s := newStudio(t)
	uri := s.begin(t, 4*chunk)
	s.UpdateSettings(func(v *drive.Settings) { v.Gateway = drive.Gateway{Buffer: true, Bandwidth: 1} })
	data := content(4 * chunk)
	ended := make(chan error, 1)
	req := must(http.NewRequest("PUT", uri, io.MultiReader(strings.NewReader(data))))(t)
	req.ContentLength = int64(len(data))
	go func() {
		resp, err := s.http.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		ended <- err
	}()
	eventually(t, "the proxy has everything", func() bool { return s.Received() >= int64(len(data)) })
	eventually(t, "a newer request has ended it", func() bool { // which may come before the proxy has begun to send
		status, received, _ := s.send(t, uri, "bytes */1048576", "")
		if status != 308 || received != "" {
			t.Fatal("Drive has something", status, received)
		}
		select {
		case err := <-ended:
			if err == nil {
				t.Fatal("answered")
			}
			return true
		default:
			return false
		}
	})
	s.UpdateSettings(func(v *drive.Settings) { v.Gateway.Bandwidth = 0 })
	status, _, body := s.send(t, uri, "", data)
	s.wantFinished(t, status, body, data)
}

func TestControlGateway(t *testing.T) {
	s := newStudio(t)
	s.control(t, "PATCH", "settings", `{"gateway":{"maxBody":1000,"buffer":true,"bandwidth":5}}`, 200, nil)
	if got, want := s.Settings().Gateway, (drive.Gateway{MaxBody: 1000, Buffer: true, Bandwidth: 5}); got != want {
		t.Fatalf("%+v", got)
	}
	s.control(t, "PATCH", "settings", `{"gateway":{"size":1000}}`, 400, nil)
}
