package drive

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// sessions are the resumable uploads, finished ones too: a repeated question gets
// the result.
type sessions struct {
	mu    sync.Mutex
	known map[string]*session
}

// session is one resumable upload. It is worked on by one request at a time; a
// newer request ends the one before, whose client is surely gone.
type session struct {
	account *Account
	target  string
	name    string // of the item that is written
	begin   *call  // the request that started it: method and parameters
	meta    *metadata

	mediaType string
	total     int64 // -1: not known
	started   time.Time

	turn sync.Mutex // held by the request that works on the session

	guard  sync.Mutex
	cancel context.CancelFunc // ends the request that has the turn or waits for it

	// Guarded by turn.
	draft *draft
	// end is nil until every byte has arrived or the session failed. It is set by
	// who has the turn.
	end atomic.Pointer[ending]
}

// ending is what becomes of a session's content once it is complete.
type ending struct {
	size  int64
	hurry chan struct{} // closed to end the time that finishing takes
	once  sync.Once     // closes hurry
	done  chan struct{} // closed when doc or fail is set

	doc  map[string]any // the finished file
	fail *apiError      // how it ended otherwise
}

// startSession answers a resumable create or update with the session's URI.
func (c *call) startSession() error {
	m, err := c.metadata()
	if err != nil {
		return err
	}
	ss := &session{
		account: c.account, target: c.target, name: or(c.s.nameOf(c.id), m.name), meta: m,
		mediaType: c.r.Header.Get("X-Upload-Content-Type"), total: -1,
		started: c.s.now(), draft: c.s.store.draft(),
		// Only what describes the request is kept, not its connection.
		begin: &call{s: c.s, kind: c.kind, m: c.m, query: c.query, id: c.id, mask: c.mask, upload: true,
			account: c.account},
	}
	if text := c.r.Header.Get("X-Upload-Content-Length"); text != "" {
		total, err := strconv.ParseUint(text, 10, 62)
		if err != nil {
			return &apiError{Code: 400, Reason: "badRequest", Message: "Invalid X-Upload-Content-Length: " + text,
				violation: true}
		}
		ss.total = int64(total)
	}
	if refused := c.precheck(m, ss.mediaType, ss.total); refused != nil {
		return refused
	}
	id := randomText(64)
	c.s.sessions.add(id, ss)
	c.s.secrets.add(id)
	query := maps.Clone(c.query)
	query.Set("upload_id", id)
	h := c.w.Header()
	h.Set("Location", c.baseURL()+c.r.URL.Path+"?"+query.Encode())
	h.Set("Content-Length", "0")
	c.w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Server) sessionLifetime() time.Duration {
	return or(s.Settings().SessionLifetime, googleSessionLifetime)
}

func (s *sessions) add(id string, ss *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[id] = ss
}

// ExpireSessions ends every resumable session: data sent to one is answered 410.
func (s *Server) ExpireSessions() {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	for _, ss := range s.sessions.known {
		ss.started = time.Time{}
	}
}

// take gives the turn to this call; the call before it is ended. release gives
// it back.
func (ss *session) take(c *call) (release func(), ok bool) {
	ctx, cancel := context.WithCancel(c.ctx)
	ss.guard.Lock()
	if ss.cancel != nil {
		ss.cancel()
	}
	ss.cancel = cancel
	ss.guard.Unlock()
	// A read that waits for data is ended by a deadline in the past.
	conn := http.NewResponseController(c.w.ResponseWriter)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	ss.turn.Lock()
	outer := c.ctx
	c.ctx = ctx
	release = func() {
		stop()
		cancel()
		c.ctx = outer
		ss.turn.Unlock()
	}
	if ctx.Err() != nil {
		release()
		return nil, false
	}
	return release, true
}

// handleSession answers what is sent to a session's URI. The URI is a secret of
// its own: no token is looked at.
func (c *call) handleSession() error {
	if c.r.Method != http.MethodPut && c.r.Method != http.MethodPost {
		return &apiError{Code: 405, Reason: "httpMethodNotAllowed", Message: "Method Not Allowed", violation: true}
	}
	s := c.s
	s.sessions.mu.Lock()
	ss := s.sessions.known[c.query.Get("upload_id")]
	gone := ss != nil && s.now().Sub(ss.started) > s.sessionLifetime()
	s.sessions.mu.Unlock()
	switch {
	case ss == nil:
		return &apiError{Code: 404, Reason: "notFound", Message: "Upload session not found."}
	case gone:
		return &apiError{Code: 410, Reason: "gone", Message: "Upload session has expired."}
	}
	c.account, c.target = ss.account, ss.target
	release, ok := ss.take(c)
	if !ok {
		return errBroken
	}
	received, err := c.advance(ss)
	end := ss.end.Load()
	release()
	switch {
	case err != nil:
		return err
	case end != nil:
		return c.await(end)
	}
	return c.resumeIncomplete(received)
}

// advance does what a request to the session wants, and returns how much has
// arrived. With the last byte the session gets its ending. The call has the turn.
func (c *call) advance(ss *session) (received int64, err error) {
	if ss.end.Load() != nil {
		_, err := io.Copy(io.Discard, c.r.Body)
		return 0, err
	}
	r := contentRange{first: 0, last: c.r.ContentLength - 1, total: c.r.ContentLength}
	whole := c.r.Header.Get("Content-Range") == ""
	if !whole {
		if r, err = parseContentRange(c.r.Header.Get("Content-Range")); err != nil {
			return 0, errBadRequest("Failed to parse Content-Range header.")
		}
	}
	if r.total >= 0 && ss.total >= 0 && r.total != ss.total {
		return 0, errBadRequest("The total size is not the one that the session began with.")
	}
	if r.first < 0 { // a question for the status
		if c.r.ContentLength > 0 {
			return 0, errBadRequest("A request for the status has no body.")
		}
		if r.total != ss.draft.size {
			return ss.draft.size, nil
		}
		ss.finish(c)
		return 0, nil
	}
	limit := int64(-1)
	final := whole || r.final() || ss.total >= 0 && r.last == ss.total-1
	if !whole || c.r.ContentLength >= 0 {
		limit = r.length()
	}
	switch {
	case !whole && c.r.ContentLength >= 0 && c.r.ContentLength != limit:
		return 0, errBadRequest("Content-Length and Content-Range do not agree.")
	case !final && limit%granule != 0:
		return 0, errBadRequest("The size of a chunk must be a multiple of 256 KiB.")
	case r.first > ss.draft.size:
		return 0, errBadRequest("The range begins after what has arrived.")
	}
	// What has arrived before is not stored again.
	skip := ss.draft.size - r.first
	if limit >= 0 {
		skip = min(skip, limit)
		limit -= skip
	}
	if _, err := io.CopyN(io.Discard, c.r.Body, skip); err != nil {
		return 0, cmp.Or(interrupted(err), err)
	}
	if c.fault != nil && c.fault.Fault.Effect == EffectPartial {
		err := ss.draft.readFrom(io.LimitReader(c.r.Body, c.fault.Fault.AfterBytes-skip), -1, false)
		if err == nil {
			_, err = io.Copy(io.Discard, c.r.Body)
		}
		return ss.draft.size, err
	}
	if err := ss.draft.readFrom(c.r.Body, limit, true); err != nil {
		if err := interrupted(err); err != nil {
			return 0, err
		}
		ss.draft.drop()
		end := newEnding(0)
		end.set(nil, errBackend(err))
		ss.end.Store(end)
		return 0, nil
	}
	if n, err := io.Copy(io.Discard, c.r.Body); err != nil {
		return 0, err
	} else if n > 0 {
		return 0, errBadRequest("The body is longer than its range.")
	}
	if !final {
		return ss.draft.size, nil
	}
	if ss.total >= 0 && ss.draft.size != ss.total {
		return 0, errBadRequest("The body is not of the size that the session began with.")
	}
	ss.finish(c)
	return 0, nil
}

// interrupted is how to end a request whose body did not arrive whole; nil if
// something else went wrong.
func interrupted(err error) error {
	var page *htmlError
	if errors.As(err, &page) {
		return page
	}
	if errors.Is(err, errBroken) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errBroken
	}
	return nil
}

// finish makes the file, now or after the time that Settings.Finishing says. The
// client need not wait for it.
func (ss *session) finish(c *call) {
	content := ss.draft.finish()
	end := newEnding(content.size)
	begin, meta := ss.begin, ss.meta
	ss.begin, ss.meta, ss.draft = nil, nil, nil
	ss.end.Store(end)
	apply := func() {
		doc, fail := begin.apply(meta, ss.mediaType, content)
		if fail != nil {
			content.remove()
		}
		end.set(doc, fail)
	}
	f := c.s.Settings().Finishing
	if f.Time <= 0 || content.size < f.From {
		apply()
		return
	}
	c.s.running.Go(func() {
		timer := time.NewTimer(f.Time)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-end.hurry:
		case <-c.s.ctx.Done():
			return
		}
		apply()
	})
}

// Finishing returns how many uploads have all their bytes and no file yet.
func (s *Server) Finishing() (n int) {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	for _, ss := range s.sessions.known {
		if end := ss.end.Load(); end != nil {
			select {
			case <-end.done:
			default:
				n++
			}
		}
	}
	return n
}

// FinishUploads ends the time that finishing takes for every upload whose bytes
// have all arrived.
func (s *Server) FinishUploads() {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	for _, ss := range s.sessions.known {
		if end := ss.end.Load(); end != nil {
			end.once.Do(func() { close(end.hurry) })
		}
	}
}

func newEnding(size int64) *ending {
	return &ending{size: size, hurry: make(chan struct{}), done: make(chan struct{})}
}

func (e *ending) set(doc map[string]any, fail *apiError) {
	e.doc, e.fail = doc, fail
	close(e.done)
}

// await answers how the session ended. While Drive still finishes the file it
// says nothing, or that everything has arrived and more is to come.
func (c *call) await(end *ending) error {
	answers := c.s.Settings().Finishing.Answers
	if answers == AnswerAll || answers == AnswerStatus && c.kind == "upload.status" {
		select {
		case <-end.done:
		default:
			return c.resumeIncomplete(end.size)
		}
	}
	select {
	case <-end.done:
	case <-c.ctx.Done():
		return errBroken
	}
	if end.fail != nil {
		return end.fail
	}
	doc := end.doc
	if doc["md5Checksum"] != nil && c.wrongMD5() {
		doc = maps.Clone(doc)
		doc["md5Checksum"] = wrongMD5
	}
	return c.answerFile(doc)
}
