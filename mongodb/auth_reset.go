package mongodb

import (
	"context"
	"net"
	"strings"
	"sync"

	"go.mongodb.org/mongo-driver/v2/event"
)

// authResetDialer opens the driver's connections, and closes them when the server has logged them out. It does that for
// good when a user is dropped, also if the user is created again at once. The driver goes on using the connections, as
// they are not broken, and would be refused for ever; those that it opens instead log in.
type authResetDialer struct {
	net.Dialer

	mu   sync.Mutex
	open map[*connection]bool
}

type connection struct {
	net.Conn
	dialer *authResetDialer
}

// DialContext is part of [options.ContextDialer].
func (d *authResetDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.Dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open == nil {
		d.open = map[*connection]bool{}
	}
	c := &connection{Conn: conn, dialer: d}
	d.open[c] = true
	return c, nil
}

// Close closes the connection and forgets it.
func (c *connection) Close() error {
	c.dialer.mu.Lock()
	delete(c.dialer.open, c)
	c.dialer.mu.Unlock()
	return c.Conn.Close()
}

// monitor closes all connections when the server answers to one that it is not logged in.
func (d *authResetDialer) monitor() *event.CommandMonitor {
	return &event.CommandMonitor{Failed: func(_ context.Context, e *event.CommandFailedEvent) {
		if !strings.Contains(e.Failure.Error(), "requires authentication") {
			return
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		for c := range d.open {
			_ = c.Conn.Close() // the operation that uses it fails
		}
		clear(d.open)
	}}
}
