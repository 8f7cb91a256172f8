package mongod_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"sitesync/integration/mongod"
)

// Members of a set with TLS talk it to each other, and take no client without it.
func TestTLS(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	rs := mongod.StartTest(t, mongod.Options{Members: 3, TLS: true})
	insert(t, ctx, rs.Client(), "by the set's client")
	insert(t, ctx, connect(t, rs.URI()), "by another")
	first := rs.Members()[0]
	must(t, first.Restart(ctx))

	plain, _, _ := strings.Cut(rs.URI(), "?")
	if err := connect(t, plain+"?serverSelectionTimeoutMS=500").Ping(ctx, nil); err == nil {
		t.Error("a client without TLS is served")
	}

	other := filepath.Join(t.TempDir(), "other.pem")
	must(t, mongod.OtherCA(other))
	trusted := url.QueryEscape(rs.CAFile())
	if !strings.Contains(rs.URI(), trusted) {
		t.Fatalf("%s does not name the CA", rs.URI())
	}
	u := strings.ReplaceAll(rs.URI(), trusted, url.QueryEscape(other)) + "&serverSelectionTimeoutMS=500"
	if err := connect(t, u).Ping(ctx, nil); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("with another CA: %v", err)
	}
	var unknown x509.UnknownAuthorityError
	if _, err := (&tls.Dialer{}).DialContext(ctx, "tcp", first.Host()); !errors.As(err, &unknown) {
		t.Errorf("without a CA: %v", err)
	}
}

func TestCertificateUser(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	rs := mongod.StartTest(t, mongod.Options{Auth: true, TLS: true})
	insert(t, ctx, rs.Client(), "x")
	uri, err := rs.CreateCertificateUser(ctx, "reader", mongod.Role{Role: "read", DB: "shots"})
	must(t, err)
	reader := connect(t, uri)
	if n := count(t, ctx, reader); n != 1 {
		t.Errorf("the reader sees %d documents, want 1", n)
	}
	var refused mongo.CommandError
	if err := reader.Database("other").Collection("Test").FindOne(ctx, bson.D{}).Err(); !errors.As(err, &refused) ||
		refused.Code != 13 {
		t.Errorf("the reader reads another database: %v", err)
	}

	plain := mongod.Shared(t)
	if _, err := plain.CreateCertificateUser(ctx, "nobody"); err == nil {
		t.Error("a set without TLS has users with certificates")
	}
}
