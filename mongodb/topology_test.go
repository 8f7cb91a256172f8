package mongodb

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo/address"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sitesync/config"
)

func TestHandshakeTrouble(t *testing.T) {
	expired := x509.CertificateInvalidError{Reason: x509.Expired, Cert: &x509.Certificate{NotAfter: time.Now()}}
	name := x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"mongo1.studio.example"}},
		Host: "mongo1"}
	for _, test := range []struct {
		err               error
		wantTLS, answered bool
		want              string // empty: nothing is told
	}{
		{err: x509.UnknownAuthorityError{}, wantTLS: true, want: "tlsCAFile=/PATH/ca.pem"},
		// it has a new one
		{err: x509.UnknownAuthorityError{}, wantTLS: true, answered: true, want: "tlsCAFile=/PATH/ca.pem"},
		{err: name, wantTLS: true, want: "valid for mongo1.studio.example, not mongo1; its certificate must"},
		{err: expired, wantTLS: true, answered: true, want: "expired"},
		{err: tls.RecordHeaderError{}, wantTLS: true, want: "does not speak TLS"},
		{err: io.EOF, wantTLS: true, want: "tlsCertificateKeyFile="},
		{err: io.EOF, want: "add tls=true"},
		{err: syscall.ECONNRESET, want: "add tls=true"},
		{err: io.EOF, answered: true},
		{err: io.EOF, wantTLS: true, answered: true},
		{err: context.DeadlineExceeded},
		{err: syscall.ECONNREFUSED, wantTLS: true},
	} {
		// As the driver wraps them.
		got := handshakeProblem(fmt.Errorf("connection: %w", test.err), test.wantTLS, test.answered)
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%v (TLS %t, answered %t): %q", test.err, test.wantTLS, test.answered, got)
		}
	}
}

// The driver retries for ever; a problem is logged once, and again only after the server has answered.
func TestProblemsAreLoggedOnce(t *testing.T) {
	core, logged := observer.New(zap.InfoLevel)
	m := &topologyMonitor{wantTLS: true, log: zap.New(core)}
	for range 3 {
		m.observe("a:27017[-1]", x509.UnknownAuthorityError{})
		m.observe("b:27017[-2]", io.EOF)
		m.observe("c:27017[-3]", context.DeadlineExceeded)
	}
	m.observe("b:27017[-4]", nil)
	m.observe("b:27017[-4]", io.EOF) // it stops
	err := (&Client{topology: m}).Explain(errors.New("no")).Error()
	if !strings.HasPrefix(err, "no; a:27017: its certificate") || strings.Contains(err, "b:27017") {
		t.Error(err)
	}
	m.observe("a:27017[-5]", nil)
	m.observe("a:27017[-6]", x509.UnknownAuthorityError{})
	var hosts []string
	for _, e := range logged.All() {
		hosts = append(hosts, e.ContextMap()["server"].(string))
	}
	if diff := cmp.Diff([]string{"a:27017", "b:27017", "a:27017"}, hosts); diff != "" {
		t.Error(diff)
	}
}

func TestLostMajority(t *testing.T) {
	const primary, secondary, arbiter, away = "RSPrimary", "RSSecondary", "RSArbiter", unknownServer
	for name, test := range map[string]struct {
		kinds   []string
		failing bool // those away have failed, and are not just not asked yet
		arbiter int  // index, 0 for none
		want    string
	}{
		"all well":            {kinds: []string{primary, secondary, arbiter}, arbiter: 2},
		"one member":          {kinds: []string{primary}},
		"one of three away":   {kinds: []string{primary, secondary, away}, failing: true},
		"just connected":      {kinds: []string{primary, away, away}},
		"an election":         {kinds: []string{secondary, secondary, away}, failing: true},
		"none can be reached": {kinds: []string{away, away, away}, failing: true},
		"the other one with data away": {kinds: []string{primary, away, arbiter}, failing: true, arbiter: 2,
			want: "1 of 2 members with data"},
		"the arbiter away": {kinds: []string{primary, secondary, away}, failing: true, arbiter: 2},
		"no primary, and one of three is there": {kinds: []string{secondary, away, away}, failing: true,
			want: "1 of 3 members can be reached from here, 2 are needed"},
		"no primary of two": {kinds: []string{secondary, away}, failing: true,
			want: "1 of 2 members can be reached from here, 2 are needed"},
		"secondary and arbiter, being elected": {kinds: []string{away, secondary, arbiter}, failing: true, arbiter: 2},
	} {
		topology := event.TopologyDescription{SetName: "rs0", Kind: "ReplicaSetWithPrimary"}
		failing := map[string]bool{}
		hosts := []string{"a:1", "b:2", "c:3"}
		for i, kind := range test.kinds {
			d := event.ServerDescription{Addr: address.Address(hosts[i]), Kind: kind}
			if kind != away && test.arbiter > 0 {
				d.Arbiters = []string{hosts[test.arbiter]}
			}
			if kind == away && test.failing {
				failing[hosts[i]] = true
			}
			topology.Servers = append(topology.Servers, d)
		}
		lost := lostMajority(topology, failing)
		if (lost == nil) != (test.want == "") || lost != nil && (!strings.Contains(lost.String(), test.want) ||
			!strings.Contains(lost.Remedy(), "make them reachable: ") || strings.Contains(lost.String(), ":1")) {
			t.Errorf("%s: %v", name, lost)
		}
	}
	if lost := lostMajority(event.TopologyDescription{Kind: "Single",
		Servers: []event.ServerDescription{{Kind: "Standalone"}}}, nil); lost != nil {
		t.Errorf("a standalone server: %v", lost)
	}
}

// What DNS can't tell is waited for, as long as it takes; a command says so at once.
func TestServersThatAreNotInDNS(t *testing.T) {
	cfg := config.Mongo{URI: "mongodb+srv://sync:S3cr3t@nowhere.invalid/", Database: "avalon", State: "sitesync"}
	_, err := Connect(cfg, nil)
	if err == nil || !strings.Contains(err.Error(), "DNS server") || strings.Contains(err.Error(), "S3cr3t") {
		t.Errorf("%v", err)
	}
	core, logged := observer.New(zap.InfoLevel)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if client, err := ConnectWhenResolved(ctx, cfg, zap.New(core)); client != nil ||
			!errors.Is(err, context.Canceled) {
			t.Errorf("%v, %v", client, err)
		}
	}()
	for deadline := time.Now().Add(time.Minute); logged.Len() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is logged")
		}
	}
	cancel()
	<-ended
	if n := logged.FilterMessageSnippet("not found in DNS").Len(); n != 1 || logged.Len() != 1 {
		t.Errorf("logged %v", logged.All())
	}
}
