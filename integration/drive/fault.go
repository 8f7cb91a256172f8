package drive

import (
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Effect is what a fault does to a request.
type Effect string

// The effects of a fault.
const (
	// EffectDelay only waits for Fault.Delay, then goes on.
	EffectDelay Effect = "delay"
	// EffectStatus answers with an error. With When After the work is done
	// first.
	EffectStatus Effect = "status"
	// EffectHTML answers Fault.Status, which need not be an error, with a page
	// of HTML as a proxy or a filter between the client and Google sends it. A
	// redirect leads to another such page. With When After the work is done
	// first.
	EffectHTML Effect = "html"
	// EffectReset cuts the connection (a TCP reset).
	EffectReset Effect = "reset"
	// EffectHang sends not a byte until the client goes away, the fault is
	// removed or the server closes.
	EffectHang Effect = "hang"
	// EffectWrongMD5 answers with another md5Checksum than the stored one.
	EffectWrongMD5 Effect = "wrongMD5"
	// EffectTruncate cuts the connection within the answer, after
	// Fault.AfterBytes bytes or, if that is 0, half of it.
	EffectTruncate Effect = "truncate"
	// EffectInvalidJSON does the work and answers 200 with half a document.
	EffectInvalidJSON Effect = "invalidJSON"
	// EffectPartial keeps of the data that is sent to an upload session only the
	// first Fault.AfterBytes bytes, any number, and answers 308 with the Range
	// that has arrived. It is for upload.put; other requests are not changed.
	EffectPartial Effect = "partial"
	// EffectIgnoreRange answers a request for a part of a content with all of it, as
	// a proxy may do. It is for files.download; other requests are not changed.
	EffectIgnoreRange Effect = "ignoreRange"
	// EffectDrip sends the answer byte by byte, Fault.Delay between two.
	EffectDrip Effect = "drip"
)

// When says at which point of a request EffectStatus, EffectReset and EffectHang
// happen.
type When string

// The points of a request.
const (
	// Before is before anything was read or done; it is the default.
	Before When = "before"
	// InBody is when Fault.AfterBytes bytes of the request's body were read, or
	// at its end if it is shorter. Nothing is done then, but a resumable session
	// keeps what arrived, in multiples of 256 KiB.
	InBody When = "body"
	// After is when the work is done and the answer would be sent.
	After When = "after"
	// InAnswer is when Fault.AfterBytes bytes of the answer's body were sent. It is
	// for EffectHang.
	InAnswer When = "answer"
)

// Fault makes requests go wrong.
type Fault struct {
	// Kind names the requests, exactly ("files.list") or with * for any text
	// ("files.create*", "*").
	Kind string `json:"kind"`
	// Name, if not empty, is which item's requests are hit: its name, or a
	// pattern as for Kind (a backslash before a character that is special in
	// one). It is the name in a create's metadata, and otherwise the one of the
	// item that the request or its upload session addresses. Requests that are
	// about no single item, such as files.list and files.generateIds, and creates
	// that name none, are not hit.
	Name string `json:"name"`
	// The first Skip matching requests pass, the Count after them are hit;
	// Count 0 is without end.
	Skip  int `json:"skip"`
	Count int `json:"count"`
	// Probability is the chance that a request is hit; 0 is always. The dice are
	// seeded by Options.Seed.
	Probability float64 `json:"probability"`

	Effect Effect `json:"effect"`
	When   When   `json:"when"`
	// AfterBytes is for InBody, InAnswer, EffectTruncate and EffectPartial.
	AfterBytes int64 `json:"afterBytes"`
	// Delay is waited before the effect, whatever it is; with EffectDrip it is
	// waited before each byte.
	Delay time.Duration `json:"delay"`

	// Status, Message and RetryAfter are for EffectStatus and EffectHTML, Reason
	// for EffectStatus. A reason that Google documents brings its message and
	// domain along; NoReason leaves the list of errors out of the answer. For kind
	// "token" the reason is OAuth's error, such as invalid_grant.
	Status     int           `json:"status"`
	Reason     string        `json:"reason"`
	Message    string        `json:"message"`
	RetryAfter time.Duration `json:"retryAfter"`
	// RetryAfterDate writes RetryAfter as the other form of the header, a date.
	RetryAfterDate bool `json:"retryAfterDate"`
}

// NoReason as a fault's reason makes an error that names none.
const NoReason = "none"

// UnmarshalJSON reads durations as strings or nanoseconds.
func (f *Fault) UnmarshalJSON(data []byte) error {
	type plain Fault
	return unmarshalWithDurations(data, (*plain)(f))
}

// MarshalJSON writes durations as strings.
func (f Fault) MarshalJSON() ([]byte, error) { return marshalWithDurations(reflect.ValueOf(f)) }

// check finds what is wrong with a fault.
func (f Fault) check() error {
	if !slices.Contains([]When{"", Before, InBody, After, InAnswer}, f.When) {
		return fmt.Errorf("fault: when %q is none of before, body, after, answer", f.When)
	}
	if f.When == InAnswer && f.Effect != EffectHang {
		return fmt.Errorf("fault: only effect %s can be in the answer", EffectHang)
	}
	if _, err := path.Match(f.Kind, "x"); err != nil || f.Kind == "" {
		return fmt.Errorf("fault: kind %q names no request", f.Kind)
	}
	if _, err := path.Match(f.Name, "x"); err != nil {
		return fmt.Errorf("fault: name %q is no pattern", f.Name)
	}
	if f.Skip < 0 || f.Count < 0 || f.AfterBytes < 0 || f.Delay < 0 || f.RetryAfter < 0 || f.Probability < 0 ||
		f.Probability > 1 {
		return fmt.Errorf("fault: a number is below 0, or the probability above 1")
	}
	switch f.Effect {
	case EffectStatus:
		if f.Status < 400 || f.Status > 599 {
			return fmt.Errorf("fault: status %d is no error", f.Status)
		}
		if f.When == InBody {
			return fmt.Errorf("fault: a status is sent before or after the work, not in the body")
		}
	case EffectHTML:
		if f.Status < 200 || f.Status > 599 || f.When == InBody {
			return fmt.Errorf("fault: a page of HTML has a status from 200 to 599, before or after the work")
		}
	case EffectDelay, EffectDrip:
		if f.Delay <= 0 {
			return fmt.Errorf("fault: effect %s wants a delay", f.Effect)
		}
	case EffectReset, EffectHang, EffectWrongMD5, EffectTruncate, EffectInvalidJSON, EffectPartial,
		EffectIgnoreRange:
	default:
		return fmt.Errorf("fault: unknown effect %q", f.Effect)
	}
	return nil
}

// ActiveFault is a fault that was added to a server.
type ActiveFault struct {
	ID    int
	Fault Fault

	faults *faults
	seen   int
	hits   int
	gone   chan struct{} // closed when it is removed
}

// faults are the active faults, in the order of their adding.
type faults struct {
	mu     sync.Mutex
	active []*ActiveFault
	nextID int
	dice   *rand.Rand
}

// AddFault lets a fault act. The first active fault that hits a request is the
// only one that acts on it. A fault that makes no sense panics.
func (s *Server) AddFault(f Fault) *ActiveFault {
	a, err := s.faults.add(f)
	if err != nil {
		panic("drive emulator: " + err.Error())
	}
	return a
}

// ClearFaults removes every fault; hanging requests end.
func (s *Server) ClearFaults() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	for _, a := range s.faults.active {
		close(a.gone)
	}
	s.faults.active = nil
}

// Faults lists the faults that were added and not removed.
func (s *Server) Faults() []*ActiveFault {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	return append([]*ActiveFault(nil), s.faults.active...)
}

// Hits returns how many requests the fault has hit.
func (a *ActiveFault) Hits() int {
	a.faults.mu.Lock()
	defer a.faults.mu.Unlock()
	return a.hits
}

// Remaining returns how many requests the fault will still hit, -1 if it has no
// end.
func (a *ActiveFault) Remaining() int {
	a.faults.mu.Lock()
	defer a.faults.mu.Unlock()
	if a.Fault.Count == 0 {
		return -1
	}
	return a.Fault.Count - a.hits
}

// Remove ends the fault; requests that hang by it end.
func (a *ActiveFault) Remove() {
	a.faults.mu.Lock()
	defer a.faults.mu.Unlock()
	for i, other := range a.faults.active {
		if other == a {
			a.faults.active = append(a.faults.active[:i:i], a.faults.active[i+1:]...)
			close(a.gone)
			return
		}
	}
}

func (f *faults) add(fault Fault) (*ActiveFault, error) {
	if err := fault.check(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nextID++
	a := &ActiveFault{ID: f.nextID, Fault: fault, faults: f, gone: make(chan struct{})}
	f.active = append(f.active, a)
	return a, nil
}

// askName reports whether a fault wants to know the name of the item that a
// request of that kind is about.
func (f *faults) askName(kind string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.active, func(a *ActiveFault) bool {
		ok, _ := path.Match(a.Fault.Kind, kind)
		return ok && a.Fault.Name != ""
	})
}

// take finds the fault that hits a request of that kind about an item of that
// name.
func (f *faults) take(kind, name string) *ActiveFault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.active {
		if ok, _ := path.Match(a.Fault.Kind, kind); !ok {
			continue
		}
		if a.Fault.Name != "" {
			if ok, _ := path.Match(a.Fault.Name, name); !ok || name == "" {
				continue
			}
		}
		a.seen++
		if a.seen <= a.Fault.Skip || a.Fault.Count > 0 && a.hits >= a.Fault.Count ||
			a.Fault.Probability > 0 && f.dice.Float64() >= a.Fault.Probability {
			continue
		}
		a.hits++
		return a
	}
	return nil
}

// takeFault finds the call's fault.
func (c *call) takeFault(name string) {
	c.fault = c.s.faults.take(c.kind, name)
	if c.fault != nil && c.fault.Fault.When == InBody && c.r.ContentLength == 0 {
		f := c.fault.Fault
		f.When = Before // no body to break off in
		c.fault = &ActiveFault{Fault: f, gone: c.fault.gone}
	}
}

// hitBy reports whether the call's fault has that effect at that point.
func (c *call) hitBy(e Effect, when When) bool {
	return c.fault != nil && c.fault.Fault.Effect == e && or(c.fault.Fault.When, Before) == when
}

// faultBefore acts before the work. It reports whether the request is over.
func (c *call) faultBefore() (over bool, err error) {
	if c.fault == nil {
		return false, nil
	}
	f := c.fault.Fault
	if f.Effect != EffectDrip && !c.wait(f.Delay) {
		return true, errBroken
	}
	switch {
	case c.hitBy(EffectStatus, Before), c.hitBy(EffectHTML, Before):
		return true, c.faultError()
	case c.hitBy(EffectReset, Before):
		c.cut = true
		return true, errBroken
	case c.hitBy(EffectHang, Before):
		// Reading notices when the client goes away.
		if _, err := io.Copy(io.Discard, c.r.Body); err == nil {
			c.hang()
		}
		return true, errBroken
	}
	return false, nil
}

// faultAfter acts when the work is done; the answer was swallowed.
func (c *call) faultAfter() error {
	switch {
	case c.hitBy(EffectStatus, After), c.hitBy(EffectHTML, After):
		return c.faultError()
	case c.hitBy(EffectReset, After):
		c.cut = true
		return errBroken
	case c.hitBy(EffectHang, After):
		c.hang()
		return errBroken
	}
	return nil
}

// swallows reports whether the real answer is never sent.
func (c *call) swallows() bool {
	return c.hitBy(EffectStatus, After) || c.hitBy(EffectHTML, After) || c.hitBy(EffectReset, After) ||
		c.hitBy(EffectHang, After)
}

// wrongMD5 reports whether answers show another MD5.
func (c *call) wrongMD5() bool { return c.fault != nil && c.fault.Fault.Effect == EffectWrongMD5 }

func (c *call) faultError() error {
	f := c.fault.Fault
	if f.Effect == EffectHTML {
		return &htmlError{code: f.Status, text: f.Message, retryAfter: c.retryAfter(f)}
	}
	if c.kind == "token" {
		return &oauthError{f.Status, or(f.Reason, "internal_failure"), f.Message}
	}
	e := reasonError(f.Status, f.Reason, f.Message, 0)
	e.retryAfter = c.retryAfter(f)
	return e
}

// retryAfter is the header's value, empty for none.
func (c *call) retryAfter(f Fault) string {
	switch {
	case f.RetryAfter <= 0:
		return ""
	case f.RetryAfterDate:
		// Rounded up, so that no client comes back early; by the clock of the machine,
		// which is the client's.
		return time.Now().Add(f.RetryAfter + time.Second - 1).UTC().Format(http.TimeFormat)
	}
	return retryAfter(f.RetryAfter)
}

// hang waits until the client has gone.
func (c *call) hang() {
	select {
	case <-c.ctx.Done():
	case <-c.fault.gone:
	}
}

// wait reports whether the call still goes on after the time.
func (c *call) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// requestBody counts and throttles what is read of a request's body, and breaks
// it off if a fault or the gateway says so.
type requestBody struct {
	c     *call
	body  io.ReadCloser
	cut   int64 // bytes until the fault acts; below 0: no fault
	limit int64 // bytes that the gateway lets pass; below 0: no limit
}

func (b *requestBody) Read(p []byte) (int, error) {
	if b.cut == 0 {
		return 0, b.breakOff()
	}
	if b.cut > 0 && int64(len(p)) > b.cut {
		p = p[:b.cut]
	}
	n, err := b.body.Read(p)
	if b.limit >= 0 && b.c.received+int64(n) > b.limit {
		over := errTooLarge(b.limit)
		b.limit = -1   // the rest is read to be thrown away
		return 0, over // with bytes the error could be overlooked, as io.ReadFull does
	}
	b.c.received += int64(n)
	b.c.s.calls.received.Add(int64(n))
	if b.cut > 0 {
		b.cut -= int64(n)
	}
	if n > 0 && !b.c.throttle(&b.c.s.upload, n) {
		return 0, errBroken
	}
	switch {
	case err == io.EOF && b.cut >= 0:
		return n, b.breakOff()
	case err != nil && err != io.EOF:
		return n, errBroken
	}
	return n, err
}

func (b *requestBody) breakOff() error {
	b.cut = 0
	if b.c.hitBy(EffectHang, InBody) {
		b.c.hang()
	} else {
		b.c.cut = true
	}
	return errBroken
}

func (b *requestBody) Close() error { return b.body.Close() }

// answer is the ResponseWriter of a call: it counts, throttles, and does to the
// answer what a fault wants.
type answer struct {
	http.ResponseWriter
	c       *call
	status  int
	sent    int64
	scratch http.Header // of an answer that is swallowed
	left    int64       // bytes that EffectTruncate or InAnswer lets pass
	broken  bool        // a write failed: the client has gone
}

func (a *answer) Header() http.Header {
	if a.scratch != nil {
		return a.scratch
	}
	return a.ResponseWriter.Header()
}

func (a *answer) WriteHeader(status int) {
	if a.scratch != nil || a.status != 0 {
		return
	}
	a.status = status
	if a.is(EffectTruncate) {
		total, _ := strconv.ParseInt(a.Header().Get("Content-Length"), 10, 64)
		a.left = or(a.c.fault.Fault.AfterBytes, total/2)
	}
	if a.c.hitBy(EffectHang, InAnswer) {
		a.left = a.c.fault.Fault.AfterBytes
	}
	if !a.replaced() {
		a.ResponseWriter.WriteHeader(status)
		return
	}
	a.Header().Set("Content-Length", strconv.Itoa(len(invalidJSON)))
	a.Header().Del("Content-Encoding")
	a.ResponseWriter.WriteHeader(status)
	_, err := a.send([]byte(invalidJSON))
	a.broken = err != nil
}

// replaced reports whether the answer's body is the one of EffectInvalidJSON.
func (a *answer) replaced() bool { return a.is(EffectInvalidJSON) && a.status == http.StatusOK }

// invalidJSON is what EffectInvalidJSON answers.
const invalidJSON = `{"kind": "drive#file", "id": "1`

func (a *answer) is(e Effect) bool { return a.c.fault != nil && a.c.fault.Fault.Effect == e }

func (a *answer) Write(p []byte) (int, error) {
	if a.scratch != nil {
		return len(p), nil
	}
	n, err := a.write(p)
	a.broken = a.broken || err != nil
	return n, err
}

func (a *answer) write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	switch {
	case a.replaced():
		return len(p), nil
	case a.is(EffectTruncate), a.c.hitBy(EffectHang, InAnswer):
		n := min(int64(len(p)), a.left)
		if _, err := a.send(p[:n]); err != nil {
			return 0, errBroken
		}
		if a.left -= n; a.left == 0 {
			_ = http.NewResponseController(a.ResponseWriter).Flush()
			if a.is(EffectHang) {
				a.c.hang()
			}
			return int(n), errBroken
		}
		return int(n), nil
	case a.is(EffectDrip):
		for i := range p {
			if !a.c.wait(a.c.fault.Fault.Delay) {
				return i, errBroken
			}
			if _, err := a.send(p[i : i+1]); err != nil {
				return i, err
			}
			if err := http.NewResponseController(a.ResponseWriter).Flush(); err != nil {
				return i, err
			}
		}
		return len(p), nil
	}
	return a.send(p)
}

func (a *answer) send(p []byte) (int, error) {
	if !a.c.throttle(&a.c.s.download, len(p)) || !a.c.throttleConnection(len(p)) {
		return 0, errBroken
	}
	n, err := a.ResponseWriter.Write(p)
	a.sent += int64(n)
	return n, err
}

// swallow makes the answer go nowhere.
func (a *answer) swallow() { a.scratch = http.Header{} }

// unswallow lets an answer through again.
func (a *answer) unswallow() { a.scratch = nil }

// reset cuts the connection so that the client sees a reset, not an end.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	raw := conn
	if t, ok := conn.(*tls.Conn); ok {
		raw = t.NetConn()
	}
	if t, ok := raw.(interface{ SetLinger(int) error }); ok {
		_ = t.SetLinger(0) // a close then sends RST
	}
	_ = raw.Close()
}
