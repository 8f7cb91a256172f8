package main

import (
	"context"
	"net"
	"strings"
	"sync"

	"go.mongodb.org/mongo-driver/v2/event"
)

// connections are the MongoDB driver's. When a user is dropped, the server logs its connections out for good, also if
// the user is created again at once. The driver goes on using them, as they are not broken, and would be refused
// for ever. So they are broken then: those that follow log in.
type connections struct {
	net.Dialer

	mu   sync.Mutex
	open map[*connection]bool
}

type connection struct {
	net.Conn
	of *connections
}

// DialContext opens a connection and remembers it.
func (c *connections) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.Dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[*connection]bool{}
	}
	remembered := &connection{Conn: conn, of: c}
	c.open[remembered] = true
	return remembered, nil
}

// Close closes the connection and forgets it.
func (c *connection) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// monitor looks for answers to whoever is logged out.
func (c *connections) monitor() *event.CommandMonitor {
	return &event.CommandMonitor{Failed: func(_ context.Context, e *event.CommandFailedEvent) {
		if !strings.Contains(e.Failure.Error(), "requires authentication") {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for conn := range c.open {
			_ = conn.Conn.Close() // whoever uses it is told
		}
		clear(c.open)
	}}
}
