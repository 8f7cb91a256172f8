package main

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
)

func TestHandshakeTrouble(t *testing.T) {
	expired := x509.CertificateInvalidError{Reason: x509.Expired, Cert: &x509.Certificate{NotAfter: time.Now()}}
	name := x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"mongo1.studio.example"}}, Host: "mongo1"}
	for _, test := range []struct {
		err               error
		wantTLS, answered bool
		want              string // empty: nothing is told
	}{
		{err: x509.UnknownAuthorityError{}, wantTLS: true, want: "tlsCAFile=/PATH/ca.pem"},
		{err: x509.UnknownAuthorityError{}, wantTLS: true, answered: true, want: "tlsCAFile=/PATH/ca.pem"}, // it has a new one
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
		got := handshakeTrouble(fmt.Errorf("connection: %w", test.err), test.wantTLS, test.answered)
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%v (TLS %t, answered %t): %q", test.err, test.wantTLS, test.answered, got)
		}
	}
}

// The driver tries again and again; a trouble is told once, and again only after the server has answered.
func TestServersAreToldOfOnce(t *testing.T) {
	var told []string
	s := &servers{tls: true, tell: func(host, _ string) { told = append(told, host) }}
	for range 3 {
		s.saw("a:27017[-1]", x509.UnknownAuthorityError{})
		s.saw("b:27017[-2]", io.EOF)
		s.saw("c:27017[-3]", context.DeadlineExceeded)
	}
	s.saw("b:27017[-4]", nil)
	s.saw("b:27017[-4]", io.EOF) // it stops
	if err := s.explain(errors.New("no")).Error(); !strings.HasPrefix(err, "no; a:27017: its certificate") || strings.Contains(err, "b:27017") {
		t.Error(err)
	}
	s.saw("a:27017[-5]", nil)
	s.saw("a:27017[-6]", x509.UnknownAuthorityError{})
	if diff := cmp.Diff([]string{"a:27017", "b:27017", "a:27017"}, told); diff != "" {
		t.Error(diff)
	}
}
