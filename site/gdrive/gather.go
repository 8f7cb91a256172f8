package gdrive

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// fullRecord is how much a TLS record holds at the most, bytes (RFC 8446, section 5.1). After a record of this size
	// more follows, as a rule.
	fullRecord = 16 << 10

	// gatherMost is how much goes in one write at the most, about, bytes.
	gatherMost = 96 << 10

	// gatherFor is how long a full record waits for what follows. It is the last one of a request only if that is a
	// multiple of 16 KiB.
	gatherFor = 5 * time.Millisecond
)

// gatherWrites has a transport send several full TLS records in one write: crypto/tls makes one of each, and for a large
// file a third of these writes' time is spent on entering the kernel and waking who reads.
func gatherWrites(t *http.Transport) {
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &gatheringConn{Conn: conn}, nil
	}
}

// gatheringConn is a connection whose large writes are gathered for a moment. Small ones go at once, with what was
// gathered before. The error of a write that came too late for it is that of the next one.
type gatheringConn struct {
	net.Conn

	mu       sync.Mutex
	gathered []byte
	timer    *time.Timer // sends what nothing has followed
	err      error       // of a write; no other is tried after it
}

func (c *gatheringConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(p) < fullRecord && len(c.gathered) == 0 && c.err == nil {
		return c.Conn.Write(p)
	}
	c.gathered = append(c.gathered, p...)
	switch {
	case len(p) < fullRecord || len(c.gathered) > gatherMost:
		c.send()
	case c.timer == nil:
		c.timer = time.AfterFunc(gatherFor, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.send()
		})
	default:
		c.timer.Reset(gatherFor)
	}
	if c.err != nil {
		return 0, c.err
	}
	return len(p), nil
}

// Close gives up what was gathered: crypto/tls sends its farewell before, which is small.
func (c *gatheringConn) Close() error {
	err := c.Conn.Close() // first, as a write may hold the lock until then
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
	return err
}

// send sends what was gathered. c.mu must be held.
func (c *gatheringConn) send() {
	if len(c.gathered) > 0 && c.err == nil {
		_, c.err = c.Conn.Write(c.gathered)
	}
	c.gathered = c.gathered[:0]
}
