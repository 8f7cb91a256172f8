package drive

import (
	"context"
	"net"
	"sync"
	"time"
)

// minWait is the shortest time that a throttled call sleeps. Shorter waits add
// up in bandwidth.free until one is worth it.
const minWait = 10 * time.Millisecond

// bandwidth is bytes a second that all requests share.
type bandwidth struct {
	mu   sync.Mutex
	free time.Time // when what was taken so far has passed
}

// reserve returns how long n bytes have to wait. What was not used before now is
// not saved up.
func (b *bandwidth) reserve(n int, perSecond int64, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.free.Before(now) {
		b.free = now
	}
	b.free = b.free.Add(time.Duration(float64(n) / float64(perSecond) * float64(time.Second)))
	if wait := b.free.Sub(now); wait > minWait {
		return wait
	}
	return 0
}

// throttle waits until the bytes have passed; false if the call ended.
func (c *call) throttle(b *bandwidth, n int) bool {
	settings := c.s.Settings()
	perSecond := settings.UploadBandwidth
	if b == &c.s.download {
		perSecond = settings.DownloadBandwidth
	}
	if perSecond <= 0 {
		return true
	}
	return c.wait(b.reserve(n, perSecond, time.Now()))
}

type connectionKey struct{}

// withBandwidth gives each connection a bandwidth of its own; it is a
// [http.Server.ConnContext].
func withBandwidth(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, &bandwidth{})
}

// throttleConnection waits until the bytes of an answer have passed the call's
// connection; false if the call ended.
func (c *call) throttleConnection(n int) bool {
	b, ok := c.r.Context().Value(connectionKey{}).(*bandwidth)
	perSecond := c.s.Settings().ConnectionDownload
	return !ok || perSecond <= 0 || c.wait(b.reserve(n, perSecond, time.Now()))
}
