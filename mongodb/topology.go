package mongodb

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.uber.org/zap"
)

// topologyMonitor follows the driver's events about MongoDB's servers. The driver retries for ever, whatever is wrong,
// so a problem that only a person can fix is logged from here: once, until the server has answered.
type topologyMonitor struct {
	log     *zap.Logger
	wantTLS bool // the connection string asks for it

	mu       sync.Mutex
	answered map[string]bool
	problems map[string]string // of the hosts that no connection can be made to now
	failing  map[string]bool   // hosts whose last heartbeat failed
	topology event.TopologyDescription

	majorityLogged bool        // that the replica set has lost its majority
	majorityTimer  *time.Timer // while electionTimeout runs
}

// monitor returns what the driver calls.
func (m *topologyMonitor) monitor() *event.ServerMonitor {
	return &event.ServerMonitor{
		ServerHeartbeatSucceeded: func(e *event.ServerHeartbeatSucceededEvent) { m.observe(e.ConnectionID, nil) },
		ServerHeartbeatFailed:    func(e *event.ServerHeartbeatFailedEvent) { m.observe(e.ConnectionID, e.Failure) },
		TopologyDescriptionChanged: func(e *event.TopologyDescriptionChangedEvent) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.topology = e.NewDescription
			m.watchMajority()
		},
	}
}

// observe takes in the result of a heartbeat.
func (m *topologyMonitor) observe(connection string, err error) {
	host, _, _ := strings.Cut(connection, "[") // 127.0.0.1:27017[-5]
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.answered == nil {
		m.answered, m.problems, m.failing = map[string]bool{}, map[string]string{}, map[string]bool{}
	}
	defer m.watchMajority()
	if err == nil {
		m.answered[host] = true
		delete(m.problems, host)
		delete(m.failing, host)
		return
	}
	m.failing[host] = true
	problem := handshakeProblem(err, m.wantTLS, m.answered[host])
	if problem == "" || problem == m.problems[host] {
		return
	}
	m.problems[host] = problem
	m.log.Warn("cannot connect to a server of MongoDB", zap.String("server", host), zap.String("error", problem))
}

// codeAuthenticationFailed is MongoDB's error code for a login that it refuses.
const codeAuthenticationFailed = 18

// Explain adds to an error what is wrong with the servers, or with the login.
func (c *Client) Explain(err error) error {
	m := c.topology
	var refused mongo.ServerError
	if errors.As(err, &refused) && refused.HasErrorCode(codeAuthenticationFailed) {
		return fmt.Errorf("%w; check the user and the password in the connection string, with %%XX for special "+
			"characters, and authSource, the database that the user is created in", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, host := range slices.Sorted(maps.Keys(m.problems)) {
		err = fmt.Errorf("%w; %s: %s", err, host, m.problems[host])
	}
	if lost := lostMajority(m.topology, m.failing); lost != nil {
		err = fmt.Errorf("%w; %s", err, lost.Remedy())
	}
	return err
}

// electionTimeout is how long a replica set may be without a majority before that is logged: members restart, and
// elections take up to some 10 s.
const electionTimeout = 10 * time.Second

// watchMajority has it logged if the replica set stays without a majority. m.mu must be held.
func (m *topologyMonitor) watchMajority() {
	lost := lostMajority(m.topology, m.failing)
	switch {
	case lost == nil && m.majorityLogged:
		m.majorityLogged = false
		m.log.Info("the replica set has a majority again")
	case lost != nil && m.majorityTimer == nil:
		m.majorityTimer = time.AfterFunc(electionTimeout, func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.majorityTimer = nil
			if lost := lostMajority(m.topology, m.failing); lost != nil && !m.majorityLogged {
				m.majorityLogged = true
				m.log.Error("nothing is synced until MongoDB confirms writes again; no try is spent",
					zap.String("error", lost.Remedy()))
			}
		})
	}
}

// LostMajority is what the replica set lacks for a majority; nil if nothing.
func (c *Client) LostMajority() *MajorityLoss {
	c.topology.mu.Lock()
	defer c.topology.mu.Unlock()
	return lostMajority(c.topology.topology, c.topology.failing)
}

// WaitForMembers waits until each member of the replica set has answered or failed, at the longest for as long as
// opening a connection may take.
func (c *Client) WaitForMembers(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout+time.Second)
	defer cancel()
	for c.topology.hasUnknown() && ctx.Err() == nil {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// hasUnknown reports whether a member has neither answered nor failed.
func (m *topologyMonitor) hasUnknown() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.topology.Servers, func(d event.ServerDescription) bool {
		return d.Kind == unknownServer && !m.failing[d.Addr.String()]
	})
}

// Kinds of servers, as the driver names them.
const (
	unknownServer = "Unknown"
	primaryServer = "RSPrimary"
)

// MajorityLoss says that too many members of a replica set are away.
type MajorityLoss struct {
	set              string
	noPrimary        bool
	reachable, total int      // members; with a primary, those with data
	needed           int      // of them
	away             []string // hosts
}

// String says what has happened, without the names of hosts.
func (l *MajorityLoss) String() string {
	if l.noPrimary {
		return fmt.Sprintf("the replica set %s has lost its majority: %d of %d members can be reached from here, %d "+
			"are needed to elect a primary, and nothing can be written before that", l.set, l.reachable, l.total,
			l.needed)
	}
	return fmt.Sprintf("the replica set %s has lost its majority: %d of %d members with data can be reached from here "+
		"(an arbiter has none), so MongoDB confirms no write and its change streams stand still", l.set, l.reachable,
		l.total)
}

// Remedy is String with the members to start.
func (l *MajorityLoss) Remedy() string {
	return fmt.Sprintf("%s; start these again, or make them reachable: %s", l, strings.Join(l.away, ", "))
}

// lostMajority returns what a replica set lacks for taking writes that a majority confirms, nil if nothing; failing are
// the hosts whose last heartbeat failed. How many members may vote is not known, so all are taken to. Sources:
// https://www.mongodb.com/docs/manual/reference/write-concern/#calculating-majority-for-write-concern
func lostMajority(t event.TopologyDescription, failing map[string]bool) *MajorityLoss {
	if t.SetName == "" {
		return nil
	}
	l := &MajorityLoss{set: t.SetName, noPrimary: true}
	var arbiters []string
	for _, d := range t.Servers {
		arbiters = append(arbiters, d.Arbiters...)
		l.noPrimary = l.noPrimary && d.Kind != primaryServer
	}
	for _, d := range t.Servers {
		host := d.Addr.String()
		away := d.Kind == unknownServer && failing[host]
		if away {
			l.away = append(l.away, host)
		}
		if slices.Contains(arbiters, host) {
			continue
		}
		if l.total++; !away {
			l.reachable++
		}
	}
	majority := len(t.Servers)/2 + 1
	l.needed = min(majority, l.total)
	if l.noPrimary {
		l.total, l.reachable, l.needed = len(t.Servers), len(t.Servers)-len(l.away), majority
	}
	if l.reachable >= l.needed || l.reachable == 0 { // none at all is another problem
		return nil
	}
	slices.Sort(l.away)
	return l
}

// handshakeProblem says what is to be done about a server that no connection can be made to; empty if the driver's
// trying again is enough. A server that has answered before and then closes a connection is one that stops.
func handshakeProblem(err error, wantTLS, answered bool) string {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		closed  = errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
	)
	switch {
	case errors.As(err, &unknown):
		return "its certificate is signed by a CA that is not known here; name the file with the certificate of its " +
			"CA in the connection string: tlsCAFile=/PATH/ca.pem"
	case errors.As(err, &name):
		return fmt.Sprintf("%v; its certificate must have the name that the connection string and the replica set's "+
			"configuration give it", name)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("%v; give the server a new certificate, or set the clock right", invalid)
	case errors.As(err, new(tls.RecordHeaderError)):
		return "it does not speak TLS; take tls=true and tlsCAFile out of the connection string, or switch TLS on there"
	case answered || !closed:
		return ""
	case wantTLS:
		return "it closes connections; if it speaks no TLS, take tls=true and tlsCAFile out of the connection " +
			"string; if it demands a client certificate, name it: tlsCertificateKeyFile=/PATH/client.pem"
	}
	return "it closes connections; if it demands TLS, add tls=true to the connection string, and " +
		"tlsCAFile=/PATH/ca.pem if its CA is the studio's own"
}
