package gdrive

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"

	"sitesync/site"
	"sitesync/site/transport"
)

const (
	// multipartLimit is up to which size a file goes in one request with its metadata, bytes. Google's advice
	// is 5 MB.
	multipartLimit = 5_000_000

	// maxHead bounds how much longer than its content a request with metadata is, bytes.
	maxHead = 4 << 10

	// wholeBody is up to which size a request is read before it is sent, bytes: then all of it goes in one write.
	wholeBody = 64 << 10

	// stallTimeout is how long a request may stand still.
	stallTimeout = time.Minute

	// finishPatience is how many times stallTimeout the answer to the last bytes of a session may take: Drive may have
	// to finish the file.
	finishPatience = 3

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

	// lengthen keeps the claim of a new one for as long as Drive may take to finish a large file.
	lengthen func(context.Context) error
}

// upload writes the content to the target and returns what Drive then says of it, its MD5 and size compared
// with what was sent.
func (s *Site) upload(ctx context.Context, t target, u site.Incoming) (*drive.File, error) {
	body := newContent(u)
	var answer *drive.File
	var err error
	pieced := u.Size > s.maxMultipart || s.pieces.fit(t.key(), u.Size+maxHead) < u.Size+maxHead && u.Size > granule
	if !pieced {
		answer, pieced, err = s.whole(ctx, t, u, body)
	}
	if pieced {
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

// whole sends metadata and content in one request. If that does not get through, it reports whether the content is to
// go in pieces.
func (s *Site) whole(ctx context.Context, t target, u site.Incoming,
	body *content) (answer *drive.File, pieced bool, err error) {
	began := time.Now()
	err = s.attempt(ctx, func() (err error) {
		answer, err = s.multipart(ctx, t, u, body)
		return err
	})
	switch n := u.Size + maxHead; {
	case err == nil:
		s.pieces.done(t.key(), false)
	case isTooLarge(err) && u.Size <= granule:
		err = errEvenSmallest(err, u.Size)
	case isTooLarge(err):
		pieced = s.pieces.tooLarge(n)
	case u.Size > granule && s.pacer.SucceededSince(began) &&
		(isForeign(err) || site.ClassOf(err) == site.Transient && answerOf(err).status == 0):
		s.pieces.broke(t.key(), n, n, n, true) // the next time
	}
	return answer, pieced, err
}

// key is the journal's key of the target's upload session: one that creates a file cannot update it.
func (t target) key() string {
	if t.create {
		return "create " + t.id
	}
	return "update " + t.id
}

// sessionKey is key with the account: sessions of other accounts cannot be used.
func (s *Site) sessionKey(t target) string { return s.tokens.identity + " " + t.key() }

// uploadURL is where an upload goes.
func (s *Site) uploadURL(t target, kind string) (method, address string) {
	q := url.Values{"uploadType": {kind}, "supportsAllDrives": {"true"}, "fields": {uploadFields}}
	address = s.endpoint + "/upload/drive/v3/files"
	if t.create {
		return http.MethodPost, address + "?" + q.Encode()
	}
	return http.MethodPatch, address + "/" + url.PathEscape(t.id) + "?" + q.Encode()
}

// metadata is what is sent along with the content.
func (t target) metadata(u site.Incoming) ([]byte, error) {
	var f drive.File
	if !u.ModTime.IsZero() {
		f.ModifiedTime = u.ModTime.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	if t.create {
		f.Id, f.Name, f.Parents = t.id, t.name, []string{t.parent}
	}
	return json.Marshal(&f)
}

// multipart sends metadata and content in one request.
func (s *Site) multipart(ctx context.Context, t target, u site.Incoming, body *content) (*drive.File, error) {
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

// send makes a request. An answer other than 2xx and 308 is an error.
func (s *Site) send(ctx context.Context, method, address string, size int64, body io.Reader,
	header http.Header) (*http.Response, error) {
	if size == 0 {
		body = http.NoBody
	}
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, errors.New("cannot build the request") // the error would contain the address
	}
	req.ContentLength = size
	req.Header = header
	res, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
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
		return nil, site.Classed(site.Transient, fmt.Errorf("google drive's answer can't be read: %w", err))
	}
	return &f, nil
}

// errGrown says that the source is longer than the upload's size, so it is not what was published.
var errGrown = errors.New("it has grown")

// content reads an upload's source and computes its MD5. It can go back for another attempt.
type content struct {
	upload site.Incoming
	at     int64 // where it is read on
	hash   hash.Hash
	hashed int64 // what the hash has seen, from the start
	err    error // of reading the source
}

func newContent(u site.Incoming) *content { return &content{upload: u, hash: md5.New()} }

// seek goes back to an offset up to hashed. What was hashed is not hashed again, except after a seek to 0.
func (c *content) seek(offset int64) {
	if offset == 0 {
		c.hash.Reset()
		c.hashed = 0
	}
	c.at, c.err = offset, nil
}

// skip hashes up to an offset what another process has sent. Nothing must have been read yet.
func (c *content) skip(ctx context.Context, offset int64) error {
	for buf := make([]byte, 256<<10); c.at < offset; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := c.Read(buf[:min(int64(len(buf)), offset-c.at)]); err != nil {
			return classify(c.blame(err))
		}
	}
	return nil
}

// Read reads on and reports progress. A source that is not of the upload's size fails before its last byte is
// returned, so that no request with it can be complete.
func (c *content) Read(p []byte) (int, error) {
	left := c.upload.Size - c.at
	n, err := c.upload.Content.ReadAt(p[:min(int64(len(p)), left+1)], c.at)
	if int64(n) == left && int64(len(p)) == left {
		// There was no room for what must not be there.
		if more, _ := c.upload.Content.ReadAt(make([]byte, 1), c.upload.Size); more > 0 {
			n++
		}
	}
	switch {
	case int64(n) > left:
		err = errGrown
	case int64(n) == left || n == len(p):
		err = nil // an EOF just behind what was asked for
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		c.err = err
		return 0, err
	}
	if n == 0 {
		return 0, io.EOF
	}
	c.at += int64(n)
	if fresh := c.at - c.hashed; fresh > 0 {
		c.hash.Write(p[int64(n)-fresh : n])
		c.hashed = c.at
	}
	if c.upload.OnProgress != nil {
		c.upload.OnProgress(c.at)
	}
	return n, nil
}

// sum is the MD5 of what was read.
func (c *content) sum() string { return hex.EncodeToString(c.hash.Sum(nil)) }

// sumOf reads all of an upload's source and returns its MD5.
func sumOf(ctx context.Context, u site.Incoming) (string, error) {
	u.OnProgress = nil // nothing is
	body := newContent(u)
	if err := body.skip(ctx, u.Size); err != nil {
		return "", err
	}
	return body.sum(), nil
}

// digest is an MD5 as it is remembered; zero for none.
type digest [md5.Size]byte

// parseDigest parses an MD5 in hexadecimal.
func parseDigest(text string) (d digest) {
	if sum, err := hex.DecodeString(text); err == nil && len(sum) == len(d) {
		copy(d[:], sum)
	}
	return d
}

// blame returns the source's error, if there was one, instead of what came of it in a request.
func (c *content) blame(err error) error {
	if err == nil || errors.Is(err, transport.ErrSlowSource) || c.err == nil { // of a slow source c is still in use
		return err
	}
	return &sourceError{c.err}
}
