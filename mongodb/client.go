// Package mongodb connects to the studio's MongoDB, and knows what the driver reports of its servers. It knows no
// document.
package mongodb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/zap"

	"sitesync/config"
)

const (
	// connectTimeout is how long opening a connection may take, unless the connection string says otherwise.
	connectTimeout = 5 * time.Second

	// serverSelectionTimeout is short enough to find another primary while a publish is still fresh.
	serverSelectionTimeout = 5 * time.Second

	// heartbeatInterval: a server that hangs is given up after this and twice connectTimeout. The driver's 10 s are too
	// long.
	heartbeatInterval = 2 * time.Second

	// Bounds of the wait between two attempts to look up the servers of a mongodb+srv connection string.
	firstLookupDelay = time.Second
	maxLookupDelay   = 30 * time.Second
)

// Client is a connection to MongoDB with what the driver reports of its servers.
type Client struct {
	*mongo.Client
	topology *topologyMonitor
}

// Connect prepares a client. Nothing is asked of a server yet, but the servers of a mongodb+srv connection string are
// looked up in DNS: the error has a [*net.DNSError] if that fails. A nil log logs nothing.
func Connect(cfg config.Mongo, log *zap.Logger) (*Client, error) {
	if log == nil {
		log = zap.NewNop()
	}
	var dialer authResetDialer
	topology := &topologyMonitor{log: log}
	o := options.Client().SetAppName("sitesync").SetDialer(&dialer).SetMonitor(dialer.monitor()).
		SetServerMonitor(topology.monitor()).SetServerSelectionTimeout(serverSelectionTimeout).
		SetConnectTimeout(connectTimeout).SetHeartbeatInterval(heartbeatInterval).ApplyURI(cfg.URI.Reveal())
	topology.wantTLS = o.TLSConfig != nil
	client, err := mongo.Connect(o)
	if unresolved := new(net.DNSError); errors.As(err, &unresolved) {
		return nil, fmt.Errorf("mongo %s: %w; check the host in the connection string, and this machine's DNS server",
			cfg.URI, unresolved)
	}
	if err != nil {
		return nil, fmt.Errorf("mongo %s: %w", cfg.URI, err)
	}
	return &Client{client, topology}, nil
}

// ConnectWhenResolved is [Connect], but waits while DNS does not resolve the servers of a mongodb+srv connection
// string: to the driver that is an invalid connection string, to a studio an outage like any other. The error is ctx's
// if that ends first.
func ConnectWhenResolved(ctx context.Context, cfg config.Mongo, log *zap.Logger) (*Client, error) {
	policy := backoff.NewExponentialBackOff(backoff.WithInitialInterval(firstLookupDelay),
		backoff.WithMaxInterval(maxLookupDelay), backoff.WithMaxElapsedTime(0))
	logged := false
	connect := func() (*Client, error) {
		client, err := Connect(cfg, log)
		if err != nil && !errors.As(err, new(*net.DNSError)) {
			err = backoff.Permanent(err)
		}
		return client, err
	}
	client, err := backoff.RetryNotifyWithData(connect, backoff.WithContext(policy, ctx),
		func(err error, _ time.Duration) {
			if !logged {
				log.Warn("the servers of MongoDB are not found in DNS; retrying, no try is spent", zap.Error(err))
				logged = true
			}
		})
	if err == nil && logged {
		log.Info("the servers of MongoDB were found in DNS")
	}
	return client, err
}

// authResetDialer opens the driver's connections, and closes them when the server has logged them out. It does that for
// good when a user is dropped, also if the user is created again at once. The driver goes on using the connections, as
// they are not broken, and would be refused for ever; those that it opens instead log in.
type authResetDialer struct {
	net.Dialer
	open sync.Map // the keys are [*connection]
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
	c := &connection{conn, d}
	d.open.Store(c, nil)
	return c, nil
}

// Close closes the connection and forgets it.
func (c *connection) Close() error {
	c.dialer.open.Delete(c)
	return c.Conn.Close()
}

// monitor closes all connections when the server answers to one that it is not logged in.
func (d *authResetDialer) monitor() *event.CommandMonitor {
	return &event.CommandMonitor{Failed: func(_ context.Context, e *event.CommandFailedEvent) {
		if strings.Contains(e.Failure.Error(), "requires authentication") {
			d.open.Range(func(c, _ any) bool {
				_ = c.(*connection).Close() // the operation that uses it fails
				return true
			})
		}
	}}
}
