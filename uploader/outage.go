package uploader

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// tellAgain is the shortest time between two announcements of the same outage: one that comes and goes is not
// told of each time.
const tellAgain = 30 * time.Second

// outage tells once that something is out of reach, and once that it is back.
type outage struct {
	log  *zap.Logger
	what string

	mu   sync.Mutex
	told bool      // that it is out of reach
	at   time.Time // when that was told last
}

// saw takes note of how a use of it ended.
func (o *outage) saw(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err == nil && o.told:
		o.told = false
		o.log.Info(o.what + " works again")
	case err == nil:
	case o.told, time.Since(o.at) < tellAgain:
		o.log.Debug(o.what+" still does not work", zap.Error(err))
	default:
		o.told, o.at = true, time.Now()
		o.log.Warn(o.what+" does not work for now; it is tried again and costs no try", zap.Error(err))
	}
}
