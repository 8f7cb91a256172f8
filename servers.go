package main

import (
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

	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// servers are MongoDB's, as the driver sees them. It tries all of them again and again, whatever is wrong, so what only
// a person can mend is told from here: once, until the server has answered.
type servers struct {
	tell func(host, trouble string) // may be nil
	tls  bool                       // the connection string asks for it

	mu       sync.Mutex
	answered map[string]bool
	troubles map[string]string // of those that can't be used now, by host
}

// monitor sees each try.
func (s *servers) monitor() *event.ServerMonitor {
	return &event.ServerMonitor{
		ServerHeartbeatSucceeded: func(e *event.ServerHeartbeatSucceededEvent) { s.saw(e.ConnectionID, nil) },
		ServerHeartbeatFailed:    func(e *event.ServerHeartbeatFailedEvent) { s.saw(e.ConnectionID, e.Failure) },
	}
}

func (s *servers) saw(connection string, err error) {
	host, _, _ := strings.Cut(connection, "[") // 127.0.0.1:27017[-5]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answered == nil {
		s.answered, s.troubles = map[string]bool{}, map[string]string{}
	}
	if err == nil {
		s.answered[host] = true
		delete(s.troubles, host)
		return
	}
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
	return err
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
