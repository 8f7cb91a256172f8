package gdrive

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"sitesync/site"
	"sitesync/site/pacer"
)

// isDownload reports whether a request is for content.
func isDownload(req *http.Request) bool {
	return req.Method == http.MethodGet && strings.Contains(req.URL.RawQuery, "alt=media")
}

// File is a file on Drive that is open for reading. What is read comes in streams; a stream that breaks goes on where
// it was.
type File struct {
	site     *Site
	ctx      context.Context // for as long as it is open
	cancel   context.CancelFunc
	metadata metadata
	root     string
	reading  site.Reading
	path     string
	priority bool // as in [site.OpenOptions], as is willRead
	willRead bool
	began    time.Time // when it was to be opened

	mu     sync.Mutex
	first  *opening // of all of it, that was begun with Open; nil if there is none, or it is in use
	at     *stream  // of the last ReadAt; nil if there is none, or it is in use
	whole  bool     // all of it was read, and its MD5 is right
	read   bool     // some of it was
	failed error    // of the last stream that could not be read
}

var _ interface {
	site.SourceFile
	site.Ranger
} = (*File)(nil)

// Size is part of [site.SourceFile].
func (f *File) Size() int64 { return f.metadata.size }

// ModTime is part of [site.SourceFile].
func (f *File) ModTime() time.Time { return f.metadata.modified }

// MD5 is part of [site.SourceFile].
func (f *File) MD5() string { return f.metadata.md5 }

// Reading is part of [site.SourceFile].
func (f *File) Reading() site.Reading { return f.reading }

// String is part of [site.SourceFile].
func (f *File) String() string { return f.path }

// Close ends all reading.
func (f *File) Close() error {
	f.cancel()
	f.dropFirst()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at != nil {
		f.at.Close()
		f.at = nil
	}
	if f.willRead {
		f.site.ahead.ended(f.read)
	}
	return nil
}

// ReadRange is part of [site.Ranger].
func (f *File) ReadRange(ctx context.Context, offset, n int64) (io.ReadCloser, error) {
	if offset < 0 || n < 0 || offset+n > f.Size() {
		return nil, fmt.Errorf("the source %s has no %d bytes from %d on", f, n, offset)
	}
	return f.stream(ctx, offset, n), nil
}

// ReadAt is part of [io.ReaderAt]. A call that goes on where another one has ended takes no new request.
func (f *File) ReadAt(p []byte, offset int64) (n int, err error) {
	if offset < 0 {
		return 0, fmt.Errorf("the source %s has nothing before its first byte", f)
	}
	if offset >= f.Size() {
		return 0, io.EOF
	}
	f.mu.Lock()
	s := f.at
	f.at = nil
	f.mu.Unlock()
	if s != nil && s.at != offset {
		s.Close()
		s = nil
	}
	if s == nil {
		s = f.stream(f.ctx, offset, f.Size()-offset)
	}
	n, err = io.ReadFull(s, p)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil || f.at != nil || f.ctx.Err() != nil {
		s.Close()
	} else {
		f.at = s
	}
	return n, err
}

// ReadError is part of [site.SourceFile].
func (f *File) ReadError(ctx context.Context, used error) error {
	f.mu.Lock()
	failed := f.failed
	f.mu.Unlock()
	if used == nil || ctx.Err() != nil {
		return nil
	}
	return f.diagnose(ctx, failed)
}

// diagnose returns the error of the root if that explains an error.
func (f *File) diagnose(ctx context.Context, err error) error {
	if isRefused(err) {
		return f.site.diagnoseSource(ctx, f.root, err)
	}
	return err
}

// Changed is part of [site.SourceFile]. It asks Drive, unless what was read says that it is still the same. Of a file
// that was not read, metadata that was asked for before it was to be opened may be that of the content before the one
// that is wanted.
func (f *File) Changed(ctx context.Context) error {
	f.mu.Lock()
	asked := f.metadata.asked
	known := f.whole || !f.read && !asked.Before(f.began) && time.Since(asked) < confirmedTTL
	f.mu.Unlock()
	if known {
		return nil
	}
	if f.priority {
		ctx = pacer.WithPriority(ctx)
	}
	now, err := f.site.metadata(ctx, f.metadata.id)
	switch {
	case isNotFound(err):
		return f.changed("was deleted from google drive")
	case err != nil:
		return f.diagnose(ctx, fmt.Errorf("the source %s: %w", f, err))
	case now.trashed:
		return f.changed("was put into the trash of google drive")
	case now.size != f.metadata.size || now.md5 != f.metadata.md5:
		return f.changed("was replaced on google drive")
	}
	return nil
}

// changed is the error of a file that is no longer what it was when it was opened, as far as that was asked for.
func (f *File) changed(what string) error {
	f.site.known.forget(f.metadata.id)
	return site.Classed(site.NotReady, fmt.Errorf("the source %s %s while it was read", f, what))
}

// opening is a request for content that is under way.
type opening struct {
	cancel context.CancelFunc
	expiry *time.Timer   // after which it is given up, if it was begun before the file was opened
	done   chan struct{} // closed when it was answered
	res    *http.Response
	err    error

	asked    chan struct{} // closed when the metadata is there that was asked for with it; nil if it was not
	metadata metadata
	unknown  error // why there is none
}

// info waits for the metadata, if it was asked for and has come.
func (o *opening) info(ctx context.Context) (m metadata, ok bool) {
	if o == nil || o.asked == nil {
		return m, false
	}
	select {
	case <-o.asked:
		return o.metadata, o.unknown == nil
	case <-ctx.Done():
		return m, false
	}
}

// begin asks for a file of a size without waiting for it.
func (s *Site) begin(ctx context.Context, id string, size int64) *opening {
	ctx, cancel := context.WithCancel(ctx)
	o := &opening{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(o.done)
		o.res, o.err = s.download(ctx, id, 0, size, size)
	}()
	return o
}

// beginUnknown is begin for a file whose metadata is asked for as well.
func (s *Site) beginUnknown(ctx context.Context, id string, size int64) *opening {
	o := s.begin(ctx, id, size)
	o.asked = make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	end := o.cancel
	o.cancel = func() { end(); cancel() }
	go func() {
		defer close(o.asked)
		o.metadata, o.unknown = s.metadata(ctx, id)
	}()
	return o
}

// drop ends it.
func (o *opening) drop() {
	o.cancel()
	<-o.done
	if o.asked != nil {
		<-o.asked
	}
	if o.res != nil {
		o.res.Body.Close()
	}
}

// takeFirst returns the request that was begun with Open; nil if there is none.
func (f *File) takeFirst() *opening {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.first
	f.first = nil
	return o
}

func (f *File) dropFirst() {
	if o := f.takeFirst(); o != nil {
		o.drop()
	}
}

// download asks for the bytes of a file of a size from an offset to an end. That it succeeds is not known before they
// come.
func (s *Site) download(ctx context.Context, id string, from, end, size int64) (res *http.Response, err error) {
	q := url.Values{"alt": {"media"}, "supportsAllDrives": {"true"}}
	address := s.endpoint + "/drive/v3/files/" + url.PathEscape(id) + "?" + q.Encode()
	header := http.Header{"Accept-Encoding": {"identity"}} // what Go unpacks has no length
	if from > 0 || end < size {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, end-1))
	}
	err = s.paced(ctx, s.pacer.Wait, func() (err error) {
		res, err = s.send(ctx, http.MethodGet, address, 0, nil, header)
		return err
	})
	return res, err
}

// leastProgress is how much must come between two breaks of a stream for the second to count as the first, bytes.
const leastProgress = 256 << 10

// maxSkipped is how much of an answer is dropped that begins at the start of the file in spite of its Range, if only
// a part is wanted, bytes. Of a file in a thousand parts, far more would be dropped than there is.
const maxSkipped = 16 << 20

// errOddAnswer says that an answer is not what was asked for. It is asked for again.
var errOddAnswer = site.Classed(site.Transient, errors.New("google drive has sent another part of the file than was "+
	"asked for"))

// stream reads a part of a file. Where it breaks, it goes on from there with another request.
type stream struct {
	file    *File
	ctx     context.Context    // of requests: ends with the reader's, the stream and the file
	cancel  context.CancelFunc // ... and stop the watch for the reader's
	at, end int64              // offsets of the next byte, and of the one after the last
	body    io.ReadCloser      // of the request under way; nil if there is none
	first   *opening           // the first request, if it was made already
	begun   bool               // that was used
	opened  int64              // where the request under way began; negative once it has succeeded, or gone on for long
	retry   *retry
	since   int64     // where it was when it last counted as going on
	sum     hash.Hash // of what was read; nil if that is not the whole file
	err     error     // that it has ended with
}

// stream returns a reader of n bytes from an offset.
func (f *File) stream(ctx context.Context, offset, n int64) *stream {
	s := &stream{file: f, at: offset, end: offset + n, since: offset, retry: f.site.newRetry()}
	inner, cancel := context.WithCancel(f.ctx)
	stop := context.AfterFunc(ctx, cancel)
	s.ctx, s.cancel = inner, func() { stop(); cancel() }
	f.mu.Lock()
	f.read = f.read || n > 0
	f.mu.Unlock()
	if n == f.Size() {
		s.sum = md5.New()
	}
	if offset == 0 && n > 0 { // the rest of it is not read, if there is one
		s.first = f.takeFirst()
	}
	return s
}

// Read is part of [io.Reader]. It returns an error only once it has waited for the end of the trouble in vain. The last
// bytes of a file are not returned before all of it has turned out to be right.
func (s *stream) Read(p []byte) (n int, err error) {
	for s.err == nil {
		if s.at < s.end {
			n, err = s.read(p)
		}
		if err == nil && s.at == s.end {
			err = s.finish()
		}
		if err != nil {
			s.err = s.again(err)
		}
		if (n > 0 || len(p) == 0) && (s.err == nil || s.err == io.EOF) {
			return n, nil
		}
	}
	return 0, s.err
}

// read reads what comes next.
func (s *stream) read(p []byte) (int, error) {
	if s.body == nil {
		if err := s.open(); err != nil {
			return 0, err
		}
	}
	n, err := s.body.Read(p[:min(int64(len(p)), s.end-s.at)])
	if s.sum != nil {
		s.sum.Write(p[:n])
	}
	s.at += int64(n)
	if s.opened >= 0 && (s.at == s.end || s.at-s.opened >= leastProgress) {
		s.opened = -1
		s.file.site.pacer.Succeeded()
	}
	if s.at == s.end {
		err = nil // whatever comes after it
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, classify(err)
}

// open asks for the rest.
func (s *stream) open() (err error) {
	f := s.file
	var res *http.Response
	if o := s.first; o != nil && !s.begun {
		s.begun = true
		context.AfterFunc(s.ctx, o.cancel)
		<-o.done
		res, err = o.res, o.err
	} else {
		res, err = f.site.download(s.ctx, f.metadata.id, s.at, s.end, f.Size())
	}
	switch {
	case isNotFound(err):
		return f.changed("was deleted from google drive")
	case hasStatus(err, http.StatusRequestedRangeNotSatisfiable):
		return f.changed("became shorter on google drive")
	case err != nil:
		return err
	}
	if err := s.accept(res); err != nil {
		res.Body.Close()
		if errors.Is(err, site.ErrNoRanges) {
			return err
		}
		return classify(err)
	}
	s.body, s.opened = res.Body, s.at
	return nil
}

// accept makes sure that an answer brings the rest, or what begins it.
func (s *stream) accept(res *http.Response) error {
	f := s.file
	switch res.StatusCode {
	case http.StatusPartialContent:
		var first, last, total int64
		n, _ := fmt.Sscanf(res.Header.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &total)
		if n < 2 || first != s.at {
			return errOddAnswer
		}
		if n == 3 && total != f.Size() { // it may be unknown
			return f.changed("was replaced on google drive")
		}
		return nil
	case http.StatusOK:
		if isPage(res) && !strings.Contains(strings.ToLower(f.metadata.mime), "html") {
			return pageError(res)
		}
		if res.ContentLength >= 0 && res.ContentLength != f.Size() {
			return f.changed("was replaced on google drive")
		}
		// What was asked for was ignored on the way.
		if s.at > maxSkipped && s.end < f.Size() {
			return site.ErrNoRanges
		}
		_, err := io.CopyN(io.Discard, res.Body, s.at)
		return err
	}
	return errOddAnswer
}

// again waits until the rest is to be asked for once more, after an error. Otherwise it returns the error to end with.
func (s *stream) again(err error) error {
	if err == io.EOF || errors.Is(err, site.ErrNoRanges) {
		return err
	}
	s.closeBody()
	if s.at-s.since >= leastProgress {
		s.since = s.at
		s.retry.progressed()
	}
	if s.ctx.Err() == nil {
		err = s.retry.again(s.ctx, err)
	}
	switch {
	case s.ctx.Err() != nil:
		return s.ctx.Err()
	case err != nil:
		err = s.file.fail(err)
	}
	return err
}

// fail takes note of the error that a part of the file can't be read for.
func (f *File) fail(err error) error {
	if site.ClassOf(err) != site.NotReady {
		err = fmt.Errorf("the source %s: %w", f, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = err
	return err
}

// finish compares what was read with what Drive has.
func (s *stream) finish() error {
	f := s.file
	if s.sum == nil || f.metadata.md5 == "" {
		return io.EOF
	}
	if sum := hex.EncodeToString(s.sum.Sum(nil)); sum != f.metadata.md5 {
		return f.changed(fmt.Sprintf("came with the MD5 %s instead of %s: it was replaced on google drive, or damaged "+
			"on its way,", sum, f.metadata.md5))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.whole = true
	return io.EOF
}

func (s *stream) closeBody() {
	if s.body != nil {
		s.body.Close()
		s.body = nil
	}
}

// Close is part of [io.Closer].
func (s *stream) Close() error {
	s.cancel()
	if s.first != nil {
		s.first.drop()
	}
	s.closeBody()
	return nil
}
