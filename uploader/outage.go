package uploader

import (
	"sync"

	"go.uber.org/zap"
)

// outage tells once that something is out of reach, and once that it is back.
type outage struct {
	log  *zap.Logger
	what string

	mu  sync.Mutex
	out bool
}

// saw takes note of how a use of it ended.
func (o *outage) saw(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err != nil && !o.out:
		o.log.Warn(o.what+" is out of reach or busy; what is pending is tried again and costs no try", zap.Error(err))
	case err != nil:
		o.log.Debug(o.what+" is still out of reach or busy", zap.Error(err))
	case o.out:
		o.log.Info(o.what + " is back")
	}
	o.out = err != nil
}
