package uploader

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// logAgainAfter is the shortest time between two announcements of the same outage: one that comes and goes is not
// told of each time.
const logAgainAfter = 30 * time.Second

// availability logs once that a service is out of reach, and once that it is back.
type availability struct {
	log  *zap.Logger
	what string

	mu       sync.Mutex
	down     bool      // that it is out of reach
	loggedAt time.Time // when that was logged last
}

// observe takes the result of a request; nil means that it works.
func (o *availability) observe(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err == nil && o.down:
		o.down = false
		o.log.Info(o.what + " works again")
	case err == nil:
	case o.down, time.Since(o.loggedAt) < logAgainAfter:
		o.log.Debug(o.what+" still does not work", zap.Error(err))
	default:
		o.down, o.loggedAt = true, time.Now()
		o.log.Warn(o.what+" does not work for now; it is tried again and costs no try", zap.Error(err))
	}
}
