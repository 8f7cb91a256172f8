package gdrive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"

	"sitesync/uploader/site"
)

const (
	// multipartLimit is up to which size a file goes in one request with its metadata, bytes. Google's advice
	// is 5 MB.
	multipartLimit = 5_000_000

	// wholeBody is up to which size a request is read before it is sent, bytes: then all of it goes in one write.
	wholeBody = 64 << 10

	// stallTimeout is how long a request may stand still, not a byte sent or answered.
	stallTimeout = time.Minute

	// maxAnswer bounds the answers that are read, bytes. A listing of 1000 long names stays below.
	maxAnswer = 8 << 20

	contentType = "application/octet-stream"
)

// target is the file to be written: a new one, or one that is there.
type target struct {
	id     string
	create bool
	parent string // of a new one
	name   string // of a new one
}

// upload writes the content to the target and returns what Drive then says of it, its MD5 and size compared
// with what was sent.
func (s *Site) upload(ctx context.Context, t target, u site.Upload) (*drive.File, error) {
	body := newContent(u)
	var answer *drive.File
	var err error
	if u.Size <= multipartLimit {
		err = s.attempt(ctx, func() (err error) {
			answer, err = s.multipart(ctx, t, u, body)
			return err
		})
	} else {
		answer, err = s.resumable(ctx, t, u, body)
	}
	if err != nil {
		return nil, err
	}
	if sum := body.sum(); answer.Md5Checksum != sum || answer.Size != u.Size {
		return nil, fmt.Errorf("google drive has %d bytes with MD5 %s, but %d bytes with MD5 %s were sent",
			answer.Size, answer.Md5Checksum, u.Size, sum)
	}
	return answer, nil
}

// key is what the journal knows the target's upload session by: one that creates a file is of no use for updating it.
func (t target) key() string {
	if t.create {
		return "create " + t.id
	}
	return "update " + t.id
}

// uploadURL is where an upload goes.
func (s *Site) uploadURL(t target, kind string) (method, address string) {
	q := url.Values{"uploadType": {kind}, "supportsAllDrives": {"true"}, "fields": {uploadFields}}
	address = s.endpoint + "/upload/drive/v3/files"
	if t.create {
		return http.MethodPost, address + "?" + q.Encode()
	}
	return http.MethodPatch, address + "/" + url.PathEscape(t.id) + "?" + q.Encode()
}

// metadata is what is sent along with the content. Encoding a whole [drive.File] takes longer than a small file does.
func (t target) metadata(u site.Upload) ([]byte, error) {
	var f struct {
		ID           string   `json:"id,omitempty"`
		Name         string   `json:"name,omitempty"`
		Parents      []string `json:"parents,omitempty"`
		ModifiedTime string   `json:"modifiedTime,omitempty"`
	}
	if !u.ModTime.IsZero() {
		f.ModifiedTime = u.ModTime.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	if t.create {
		f.ID, f.Name, f.Parents = t.id, t.name, []string{t.parent}
	}
	return json.Marshal(f)
}

// multipart sends metadata and content in one request.
func (s *Site) multipart(ctx context.Context, t target, u site.Upload, body *content) (*drive.File, error) {
	meta, err := t.metadata(u)
	if err != nil {
		return nil, err
	}
	boundary := multipart.NewWriter(io.Discard).Boundary() // a random one
	head := fmt.Sprintf("--%[1]s\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n%[2]s\r\n"+
		"--%[1]s\r\nContent-Type: %[3]s\r\n\r\n", boundary, meta, contentType)
	tail := "\r\n--" + boundary + "--\r\n"
	body.seek(0)
	method, address := s.uploadURL(t, "multipart")
	size := int64(len(head)) + u.Size + int64(len(tail))
	var all io.Reader = io.MultiReader(strings.NewReader(head), body, strings.NewReader(tail))
	if size <= wholeBody {
		whole := make([]byte, size)
		if _, err := io.ReadFull(all, whole); err != nil {
			return nil, body.blame(err)
		}
		all = bytes.NewReader(whole)
	}
	res, err := s.send(ctx, method, address, size, all,
		http.Header{"Content-Type": {"multipart/related; boundary=" + boundary}})
	if err != nil {
		return nil, body.blame(err)
	}
	defer res.Body.Close()
	return decodeFile(res)
}

// send makes a request and gives it up when it stands still. An answer other than 2xx and 308 is an error.
func (s *Site) send(ctx context.Context, method, address string, size int64, body io.Reader, header http.Header) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	stall := time.AfterFunc(s.stall, func() { cancel(fmt.Errorf("not a byte for %v", s.stall)) })
	alive := func() { stall.Reset(s.stall) }
	done := func() { stall.Stop(); cancel(nil) }

	sent := &requestBody{reader: body, alive: alive, fence: s.fence}
	var reader io.Reader = sent
	if size == 0 {
		reader = http.NoBody
	} else if whole, ok := body.(*bytes.Reader); ok {
		reader = whole
	}
	req, err := http.NewRequestWithContext(ctx, method, address, reader)
	if err != nil {
		done()
		return nil, errors.New("the request can't be built") // the error would name the address
	}
	req.ContentLength = size
	req.Header = header
	res, err := s.client.Do(req)
	sent.end()
	if err != nil {
		cause := context.Cause(ctx)
		done()
		if cause != nil {
			return nil, cause
		}
		return nil, err
	}
	alive() // for the last time: an answer is small, and one that only drips in is given up too
	res.Body = &answerBody{ReadCloser: res.Body, done: done}
	if res.StatusCode == http.StatusPermanentRedirect { // Drive's "resume incomplete"
		return res, nil
	}
	if err := googleapi.CheckResponse(res); err != nil {
		res.Body.Close()
		return nil, err
	}
	return res, nil
}

func decodeFile(res *http.Response) (*drive.File, error) {
	var f drive.File
	if err := json.NewDecoder(res.Body).Decode(&f); err != nil {
		return nil, site.Classed(site.Throttled, fmt.Errorf("google drive's answer can't be read: %w", err))
	}
	return &f, nil
}

// requestBody is the body of a request, and tells whenever it moves on.
type requestBody struct {
	alive func()
	fence func() error

	mu     sync.Mutex
	reader io.Reader
	over   bool
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return 0, io.EOF
	}
	// A process that was paused must not go on where it was.
	if err := b.fence(); err != nil {
		return 0, err
	}
	b.alive()
	return b.reader.Read(p)
}

// end keeps the HTTP client from reading on, which it may do for a while after it has returned: the next
// attempt reads from the same source.
func (b *requestBody) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
}

// answerBody is the body of an answer, and tells when it is done with.
type answerBody struct {
	io.ReadCloser
	done func()
}

func (b *answerBody) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}
