package drive

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	apiPrefix       = "/drive/v3/"
	uploadPrefix    = "/upload/drive/v3/"
	resumablePrefix = "/resumable/upload/drive/v3/" // the description names it too
	controlPrefix   = "/_control/"
)

// maxMetadata bounds the JSON of a request.
const maxMetadata = 1 << 20

// maxDrain is how much of a refused upload is still read, so that the client
// sees the answer and not a reset.
const maxDrain = 16 << 20

// defaultLogSize is how many requests are remembered.
const defaultLogSize = 10_000

// Options say how a server is started. The zero value is a faithful Drive
// without latency, limits or faults.
type Options struct {
	// Dir keeps the content of files. If it is empty, a temporary folder is made
	// and removed by Close.
	Dir string
	// Settings are the first settings.
	Settings Settings
	// Discard keeps only size and MD5 of contents: they can't be read back.
	Discard bool
	// LogSize is how many requests Log remembers; 0 is 10,000.
	LogSize int
	// Seed makes the dice of faults and jitter repeatable.
	Seed uint64
	// Now is the clock for tokens, sessions, quotas, the listing lag and the
	// times of files; nil is time.Now. Latency and delays take real time.
	Now func() time.Time
}

// Server is an emulated Google Drive that listens on 127.0.0.1.
type Server struct {
	// URL is the server's address, "http://127.0.0.1:PORT".
	URL string

	api        *description
	now        func() time.Time
	store      *store
	removeDir  bool
	tree       *tree
	tokens     tokens
	sessions   sessions
	secrets    secrets
	calls      *recorder
	faults     faults
	limits     limits
	settings   atomic.Pointer[Settings]
	settingsMu sync.Mutex   // one change at a time
	pageEpoch  atomic.Int64 // grows when page tokens expire
	upload     bandwidth
	download   bandwidth
	gateway    bandwidth // from the gateway on

	violationsMu sync.Mutex
	violations   []string

	http    *http.Server
	served  chan error
	ctx     context.Context // ends when the server closes
	stop    context.CancelFunc
	gate    sync.RWMutex // held to enter a request and to close
	closed  bool
	running sync.WaitGroup
	proxies []*Proxy
}

// Start starts a server on a free port of 127.0.0.1. It must be closed.
func Start(o Options) (*Server, error) {
	api, err := loadDescription()
	if err != nil {
		return nil, fmt.Errorf("start the drive emulator: %w", err)
	}
	s := &Server{
		api:    api,
		now:    o.Now,
		tree:   newTree(),
		tokens: tokens{known: map[string]accessToken{}},
		calls:  newRecorder(or(o.LogSize, defaultLogSize)),
		served: make(chan error, 1),
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.sessions.known = map[string]*session{}
	s.faults.dice = rand.New(rand.NewPCG(o.Seed, o.Seed))
	s.settings.Store(&Settings{})
	s.SetSettings(o.Settings)
	dir := o.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "drive-emulator-"); err != nil {
			return nil, fmt.Errorf("start the drive emulator: %w", err)
		}
		s.removeDir = true
	}
	s.store = newStore(dir, o.Discard)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		if s.removeDir {
			err = errors.Join(err, os.RemoveAll(dir))
		}
		return nil, fmt.Errorf("start the drive emulator: %w", err)
	}
	s.URL = "http://" + listener.Addr().String()
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.http = &http.Server{Handler: s, ErrorLog: log.New(io.Discard, "", 0), ConnContext: withBandwidth}
	go func() { s.served <- s.http.Serve(listener) }()
	return s, nil
}

// TB is what StartTest needs of a testing.TB.
type TB interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	TempDir() string
}

// StartTest starts a server that ends with the test and fails it if a request
// was made that Google's description of the API does not allow. At most one
// Options may be given.
func StartTest(t TB, options ...Options) *Server {
	t.Helper()
	var o Options
	if len(options) > 0 {
		o = options[0]
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := Start(o)
	if err != nil {
		t.Fatalf("%v", err)
		return nil
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("%v", err)
		}
		s.Check(t)
	})
	return s
}

// Check fails the test for each violation.
func (s *Server) Check(t TB) {
	t.Helper()
	for _, v := range s.Violations() {
		t.Errorf("request that no client may make: %s", v)
	}
}

// Violations lists the requests that Google's description of the API does not
// allow or that the emulator does not know, and those that Google takes to the
// loss of people: content that is written into a Google Doc.
func (s *Server) Violations() []string {
	s.violationsMu.Lock()
	defer s.violationsMu.Unlock()
	return append([]string(nil), s.violations...)
}

// ClearViolations forgets the violations, for tests that make them on purpose.
func (s *Server) ClearViolations() {
	s.violationsMu.Lock()
	defer s.violationsMu.Unlock()
	s.violations = nil
}

// maxViolations bounds the list: one is enough to fail.
const maxViolations = 1000

func (s *Server) addViolation(c *call, message string) {
	s.violationsMu.Lock()
	defer s.violationsMu.Unlock()
	what := c.kind
	if c.r != nil { // a session that ends has only the kind of the request that began it
		what = fmt.Sprintf("%s %s (%s)", c.r.Method, c.r.URL.Path, c.kind)
	}
	if len(s.violations) < maxViolations {
		s.violations = append(s.violations, what+": "+message)
	}
}

// Close ends the server: connections are cut, requests under way end, proxies
// and a temporary folder are removed. It may be called more than once.
func (s *Server) Close() error {
	s.gate.Lock()
	was := s.closed
	s.closed = true
	proxies := s.proxies
	s.gate.Unlock()
	if was {
		return nil
	}
	s.stop()
	var errs []error
	for _, p := range proxies {
		errs = append(errs, p.Close())
	}
	errs = append(errs, s.http.Close())
	if err := <-s.served; !errors.Is(err, http.ErrServerClosed) {
		errs = append(errs, err)
	}
	s.running.Wait()
	if s.removeDir {
		errs = append(errs, os.RemoveAll(s.store.dir))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close the drive emulator: %w", err)
	}
	return nil
}

// enter counts a request in unless the server is closed.
func (s *Server) enter() bool {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed {
		return false
	}
	s.running.Add(1)
	return true
}

// call is one request.
type call struct {
	s      *Server
	w      *answer
	r      *http.Request
	ctx    context.Context // ends with the client, the server, or a takeover
	kind   string
	m      *method
	query  url.Values
	id     string // fileId or driveId of the path
	mask   *mask
	upload bool

	account  *Account
	fault    *ActiveFault
	target   string
	reason   string
	received int64
	cut      bool // the connection is to be reset
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		panic(http.ErrAbortHandler)
	}
	defer s.running.Done()
	if strings.HasPrefix(r.URL.Path, controlPrefix) {
		s.control(w, r)
		return
	}
	if strings.HasPrefix(r.URL.Path, blockedPath) {
		_ = (&htmlError{code: http.StatusOK}).write(w, "") // the client sees a broken connection itself
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	start := time.Now()
	w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat))
	c := &call{s: s, r: r, ctx: ctx, query: r.URL.Query()}
	c.w = &answer{ResponseWriter: w, c: c}
	refused := c.classify()
	s.calls.count(c.kind)
	err := c.run(refused)
	// The log is written before the connection ends, so that a client that saw
	// the end finds it.
	entry := LogEntry{
		Time: start, Kind: c.kind, Status: c.w.status, Target: c.target, Reason: c.reason,
		Received: c.received, Sent: c.w.sent, Duration: time.Since(start),
	}
	if c.account != nil {
		entry.Account = c.account.Email
	}
	if c.fault != nil {
		entry.Fault = string(c.fault.Fault.Effect)
	}
	s.calls.add(entry)
	switch {
	case err == nil:
	case c.cut:
		reset(w)
	default:
		panic(http.ErrAbortHandler)
	}
}

// run does the work and answers. An error means that nothing can be answered.
func (c *call) run(refused *apiError) error {
	settings := c.s.Settings()
	if settings.Gateway.refuses(c.r) {
		page := errTooLarge(settings.Gateway.MaxBody)
		c.reason = "html"
		return page.write(c.w, c.baseURL()) // not a byte of the body is read before
	}
	name := ""
	if c.s.faults.askName(c.kind) {
		name = c.itemName()
	}
	c.takeFault(name)
	body := &requestBody{c: c, body: c.r.Body, cut: -1, limit: settings.Gateway.limit()}
	if c.hitBy(EffectReset, InBody) || c.hitBy(EffectHang, InBody) {
		body.cut = c.fault.Fault.AfterBytes
	}
	c.r.Body = body
	if settings.Gateway.Buffer && c.r.ContentLength != 0 {
		remove, err := c.buffer(settings.Gateway)
		if err != nil {
			return c.finish(err)
		}
		defer remove()
	}
	latency := settings.Latency
	if settings.Jitter > 0 {
		latency += c.s.faults.roll(settings.Jitter)
	}
	if !c.wait(latency) {
		return errBroken
	}
	over, err := c.faultBefore()
	if over {
		return c.finish(err)
	}
	if c.swallows() {
		c.w.swallow()
	}
	err = c.finish(c.work(refused))
	if err == nil && c.swallows() {
		c.w.unswallow()
		return c.finish(c.faultAfter())
	}
	return err
}

func (f *faults) roll(most time.Duration) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Duration(f.dice.Int64N(int64(most)))
}

// finish answers an error, or returns it if the client has gone.
func (c *call) finish(err error) error {
	if err == nil {
		return nil
	}
	var refused *apiError
	var oauth *oauthError
	var page *htmlError
	switch {
	case errors.Is(err, errBroken):
		return err
	case errors.As(err, &oauth):
		c.reason = oauth.Err
		return writeJSON(c.w, oauth.Code, map[string]any{"error": oauth.Err, "error_description": oauth.Description})
	case errors.As(err, &page):
		c.reason = "html"
	case !errors.As(err, &refused):
		refused = errBackend(err)
	}
	if refused != nil {
		c.reason = refused.Reason
		if refused.violation {
			c.s.addViolation(c, refused.Message)
		}
	}
	if _, err := io.CopyN(io.Discard, c.r.Body, maxDrain); err != nil && err != io.EOF {
		return err
	}
	if page != nil {
		return page.write(c.w, c.baseURL())
	}
	return refused.write(c.w)
}

// classify finds what the request is: its kind, and the API's method. The error
// says that there is no such method or that the query does not fit it.
func (c *call) classify() *apiError {
	path := c.r.URL.Path
	if path == "/token" || path == "/oauth2/v4/token" {
		c.kind = "token"
		return nil
	}
	rest, ok := strings.CutPrefix(path, apiPrefix)
	if !ok {
		if rest, ok = strings.CutPrefix(path, uploadPrefix); !ok {
			rest, ok = strings.CutPrefix(path, resumablePrefix)
		}
		c.upload = ok
	}
	if c.upload && c.query.Has("upload_id") {
		c.kind = "upload.put"
		if strings.HasPrefix(c.r.Header.Get("Content-Range"), "bytes */") {
			c.kind = "upload.status"
		}
		return nil
	}
	var params map[string]string
	if ok {
		c.m, params = c.s.api.find(c.r.Method, rest)
	}
	if c.m == nil {
		c.kind = "unknown"
		return &apiError{Code: 404, Reason: "notFound", Message: "Not Found", violation: true}
	}
	c.kind = strings.TrimPrefix(c.m.ID, "drive.")
	c.id = or(params["fileId"], params["driveId"])
	c.target = c.id
	switch {
	case c.upload:
		c.kind += "." + or(c.query.Get("uploadType"), "unknown")
	case c.kind == "files.get" && c.query.Get("alt") == "media":
		c.kind = "files.download"
	}
	if err := c.s.api.checkQuery(c.m, c.query, c.upload); err != nil {
		return err
	}
	if c.m.Request == nil && c.r.ContentLength != 0 {
		return violation("", "%s has no body", c.m.ID)
	}
	if fields := c.query.Get("fields"); fields != "" { // an empty one is none: rclone sends it
		m, err := parseMask(fields)
		if err != nil {
			return violation("fields", "Invalid field selection %s: %v", fields, err)
		}
		if err := c.s.api.checkMask(m, c.m.Response); err != nil {
			return err
		}
		c.mask = m
	}
	return nil
}

// work does what the request wants.
func (c *call) work(refused *apiError) error {
	switch {
	case c.kind == "token":
		return c.handleToken()
	case refused != nil:
		return refused
	case c.m == nil:
		return c.handleSession()
	}
	account, err := c.s.authorize(c.r, c.m)
	c.account = account
	if err != nil {
		return err
	}
	if err := c.s.limits.take(account, c.m, c.kind, c.s.now()); err != nil {
		return err
	}
	switch c.m.ID {
	case "drive.files.generateIds":
		return c.generateIDs()
	case "drive.files.list":
		return c.listFiles()
	case "drive.files.get":
		return c.getFile()
	case "drive.files.create":
		return c.createFile()
	case "drive.files.update":
		return c.updateFile()
	case "drive.files.delete":
		return c.deleteFile()
	case "drive.drives.list":
		return c.listDrives()
	case "drive.drives.get":
		return c.getDrive()
	case "drive.about.get":
		return c.getAbout()
	}
	return &apiError{Code: 501, Reason: "notImplemented", Message: c.m.ID + " is not emulated", violation: true}
}

// flag reads a boolean parameter.
func (c *call) flag(name string) bool { return c.query.Get(name) == "true" }

// allDrives reports whether the client can deal with shared drives.
func (c *call) allDrives() bool { return c.flag("supportsAllDrives") || c.flag("supportsTeamDrives") }

// viaGoogleName reports whether the client believes that it talks to Google.
func (c *call) viaGoogleName() bool {
	host, _, err := net.SplitHostPort(c.r.Host)
	if err != nil {
		host = c.r.Host
	}
	return strings.HasSuffix(host, ".googleapis.com")
}

// baseURL is the server's address as the client knows it.
func (c *call) baseURL() string {
	if c.r.TLS != nil || c.viaGoogleName() {
		return "https://" + c.r.Host
	}
	return "http://" + c.r.Host
}

// json answers with what the mask wants of a document.
func (c *call) json(doc map[string]any) error {
	return writeJSON(c.w, http.StatusOK, c.mask.apply(doc))
}

// wantsGzip reports whether the answer is compressed: Google's documentation says
// that a client asks for it with both headers.
func (c *call) wantsGzip() bool {
	return strings.Contains(c.r.Header.Get("Accept-Encoding"), "gzip") && strings.Contains(c.r.UserAgent(), "gzip")
}

// writeJSON sends a document. An error is one of the connection.
func writeJSON(w http.ResponseWriter, status int, doc any) error {
	data, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	data = append(data, '\n')
	h := w.Header()
	if a, ok := w.(*answer); ok && a.c.wantsGzip() {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write(data); err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
		if err := z.Close(); err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
		data = packed.Bytes()
		h.Set("Content-Encoding", "gzip")
		h.Set("Vary", "Accept-Encoding")
	}
	h.Set("Content-Type", "application/json; charset=UTF-8")
	h.Set("Content-Length", strconv.Itoa(len(data)))
	h.Set("Cache-Control", "no-cache, no-store, max-age=0, must-revalidate")
	w.WriteHeader(status)
	if _, err := w.Write(data); err != nil {
		return errBroken
	}
	return nil
}
