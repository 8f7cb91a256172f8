package main

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
)

// servers are MongoDB's, as the driver sees them. It tries all of them again and again, whatever is wrong, so what only
// a person can mend is told from here: once, until the server has answered.
type servers struct {
	tell    func(host, trouble string) // may be nil
	tellSet func(trouble string)       // told when the replica set has no majority, and with "" when it has one again; may be nil
	tls     bool                       // the connection string asks for it

	mu       sync.Mutex
	answered map[string]bool
	troubles map[string]string // of those that can't be used now, by host
	failing  map[string]bool   // hosts whose last heartbeat failed
	topology event.TopologyDescription
	setTold  string      // what tellSet was told last
	setWatch *time.Timer // while it is waited whether a majority comes back
}

// monitor sees each try.
func (s *servers) monitor() *event.ServerMonitor {
	return &event.ServerMonitor{
		ServerHeartbeatSucceeded: func(e *event.ServerHeartbeatSucceededEvent) { s.saw(e.ConnectionID, nil) },
		ServerHeartbeatFailed:    func(e *event.ServerHeartbeatFailedEvent) { s.saw(e.ConnectionID, e.Failure) },
		TopologyDescriptionChanged: func(e *event.TopologyDescriptionChangedEvent) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.topology = e.NewDescription
			s.watchSet()
		},
	}
}

func (s *servers) saw(connection string, err error) {
	host, _, _ := strings.Cut(connection, "[") // 127.0.0.1:27017[-5]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answered == nil {
		s.answered, s.troubles, s.failing = map[string]bool{}, map[string]string{}, map[string]bool{}
	}
	defer s.watchSet()
	if err == nil {
		s.answered[host] = true
		delete(s.troubles, host)
		delete(s.failing, host)
		return
	}
	s.failing[host] = true
	trouble := handshakeTrouble(err, s.tls, s.answered[host])
	if trouble == "" || trouble == s.troubles[host] {
		return
	}
	s.troubles[host] = trouble
	if s.tell != nil {
		s.tell(host, trouble)
	}
}

// codeAuthenticationFailed is MongoDB's error code for a login that it refuses.
const codeAuthenticationFailed = 18

// explain adds to an error what is wrong with the servers, or with the login.
func (s *servers) explain(err error) error {
	var refused mongo.ServerError
	if errors.As(err, &refused) && refused.HasErrorCode(codeAuthenticationFailed) {
		return fmt.Errorf("%w; check the user and the password in the connection string, with %%XX for special characters, and "+
			"authSource, the database that the user is created in", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, host := range slices.Sorted(maps.Keys(s.troubles)) {
		err = fmt.Errorf("%w; %s: %s", err, host, s.troubles[host])
	}
	if lost := lostMajority(s.topology, s.failing); lost != nil {
		err = fmt.Errorf("%w; %s", err, lost.forLog())
	}
	return err
}

// electionTime is how long a replica set may be without a majority before that is logged: members restart, and elections
// take up to some 10 s.
const electionTime = 10 * time.Second

// watchSet has it logged if the replica set stays without a majority. s.mu must be held.
func (s *servers) watchSet() {
	if s.tellSet == nil {
		return
	}
	lost := lostMajority(s.topology, s.failing)
	switch {
	case lost == nil && s.setTold != "":
		s.setTold = ""
		s.tellSet("")
	case lost != nil && s.setWatch == nil:
		s.setWatch = time.AfterFunc(electionTime, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.setWatch = nil
			if lost := lostMajority(s.topology, s.failing); lost != nil && s.setTold == "" {
				s.setTold = lost.forLog()
				s.tellSet(s.setTold)
			}
		})
	}
}

// lost is what the replica set lacks for a majority; nil if nothing.
func (s *servers) lost() *majorityLoss {
	s.mu.Lock()
	defer s.mu.Unlock()
	return lostMajority(s.topology, s.failing)
}

// settle waits until each member of the replica set has answered or failed, but not longer than a connection may take.
func (s *servers) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout+time.Second)
	defer cancel()
	for {
		s.mu.Lock()
		unknown := slices.ContainsFunc(s.topology.Servers, func(d event.ServerDescription) bool {
			return d.Kind == unknownServer && !s.failing[d.Addr.String()]
		})
		s.mu.Unlock()
		if !unknown {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

// Kinds of servers, as the driver names them.
const (
	unknownServer = "Unknown"
	primaryServer = "RSPrimary"
)

// majorityLoss says that too many members of a replica set are away.
type majorityLoss struct {
	set              string
	noPrimary        bool
	reachable, total int      // members; with a primary, those with data
	needed           int      // of them
	away             []string // hosts
}

// String says what has happened, without the names of hosts.
func (l *majorityLoss) String() string {
	if l.noPrimary {
		return fmt.Sprintf("the replica set %s has lost its majority: %d of %d members can be reached from here, %d are needed to elect a "+
			"primary, and nothing can be written before that", l.set, l.reachable, l.total, l.needed)
	}
	return fmt.Sprintf("the replica set %s has lost its majority: %d of %d members with data can be reached from here (an arbiter has "+
		"none), so MongoDB confirms no write and its change streams stand still", l.set, l.reachable, l.total)
}

// forLog also says which members to start.
func (l *majorityLoss) forLog() string {
	return fmt.Sprintf("%s; start these again, or make them reachable: %s", l, strings.Join(l.away, ", "))
}

// lostMajority tells what a replica set lacks for taking writes that a majority confirms, nil if nothing; failing are the
// hosts whose last heartbeat failed. How many members may vote is not known, so all are taken to. Sources:
// https://www.mongodb.com/docs/manual/reference/write-concern/#calculating-majority-for-write-concern
func lostMajority(t event.TopologyDescription, failing map[string]bool) *majorityLoss {
	if t.SetName == "" {
		return nil
	}
	l := &majorityLoss{set: t.SetName, noPrimary: true}
	arbiters := map[string]bool{}
	withData := 0
	for _, d := range t.Servers {
		for _, a := range d.Arbiters {
			arbiters[a] = true
		}
		l.noPrimary = l.noPrimary && d.Kind != primaryServer
	}
	for _, d := range t.Servers {
		host := d.Addr.String()
		away := d.Kind == unknownServer && failing[host]
		if away {
			l.away = append(l.away, host)
		}
		if arbiters[host] {
			continue
		}
		if withData++; !away {
			l.reachable++
		}
	}
	l.total = withData
	majority := len(t.Servers)/2 + 1
	l.needed = min(majority, withData)
	if l.noPrimary {
		l.total, l.reachable, l.needed = len(t.Servers), len(t.Servers)-len(l.away), majority
	}
	if l.reachable >= l.needed || l.reachable == 0 { // none at all is another trouble
		return nil
	}
	slices.Sort(l.away)
	return l
}

// handshakeTrouble says what is to be done about a server that no connection can be made to; empty if the driver's
// trying again is enough. A server that has answered before and then closes a connection is one that stops.
func handshakeTrouble(err error, wantTLS, answered bool) string {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		closed  = errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
	)
	switch {
	case errors.As(err, &unknown):
		return "its certificate is signed by a CA that is not known here; name the file with the certificate of its CA " +
			"in the connection string: tlsCAFile=/PATH/ca.pem"
	case errors.As(err, &name):
		return fmt.Sprintf("%v; its certificate must have the name that the connection string and the replica set's configuration give it", name)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("%v; give the server a new certificate, or set the clock right", invalid)
	case errors.As(err, new(tls.RecordHeaderError)):
		return "it does not speak TLS; take tls=true and tlsCAFile out of the connection string, or switch TLS on there"
	case answered || !closed:
		return ""
	case wantTLS:
		return "it closes connections; if it speaks no TLS, take tls=true and tlsCAFile out of the connection string; if it " +
			"demands a client certificate, name it: tlsCertificateKeyFile=/PATH/client.pem"
	}
	return "it closes connections; if it demands TLS, add tls=true to the connection string, and tlsCAFile=/PATH/ca.pem if its CA is the studio's own"
}
