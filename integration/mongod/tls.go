package mongod

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/certs"
)

// writeCertificate writes a new certificate of the authority and its key into one file, as mongod and the drivers want
// it.
func writeCertificate(path string, ca *certs.Authority, template *x509.Certificate) error {
	issued, err := ca.Issue(template)
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(issued.PrivateKey)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issued.Certificate[0]})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	return os.WriteFile(path, text, 0o600)
}

// OtherCA writes the certificate of a CA that has signed for no server.
func OtherCA(path string) error {
	ca, err := certs.NewAuthority("another CA")
	if err != nil {
		return err
	}
	return os.WriteFile(path, ca.PEM(), 0o644)
}

// CAFile is the certificate of the CA of a set with Options.TLS.
func (rs *ReplicaSet) CAFile() string { return filepath.Join(rs.dir, "ca.pem") }

func (rs *ReplicaSet) certificatePath() string { return filepath.Join(rs.dir, "server.pem") }

// certify makes the set's CA and the certificate that all members have. They are servers and, to each other, clients.
func (rs *ReplicaSet) certify() (err error) {
	if rs.ca, err = certs.NewAuthority("CA of " + filepath.Base(rs.dir)); err != nil {
		return err
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "mongod", Organization: []string{"servers"}},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	return errors.Join(os.WriteFile(rs.CAFile(), rs.ca.PEM(), 0o644),
		writeCertificate(rs.certificatePath(), rs.ca, template))
}

// tlsConfig is that of the members' own clients; nil without TLS.
func (rs *ReplicaSet) tlsConfig() *tls.Config {
	if rs.ca == nil {
		return nil
	}
	return &tls.Config{RootCAs: rs.ca.Pool()}
}

// CreateCertificateUser creates a user who logs in with a client certificate (MONGODB-X509) instead of a password,
// and returns the connection string, which names the file of the certificate and its key. It needs Options.Auth and
// Options.TLS.
func (rs *ReplicaSet) CreateCertificateUser(ctx context.Context, name string, roles ...Role) (uri string, err error) {
	if !rs.options.Auth || rs.ca == nil {
		return "", fmt.Errorf("create user %q with a certificate: start the set with Options.Auth and Options.TLS",
			name)
	}
	if roles == nil {
		roles = []Role{} // null is refused
	}
	// Not the organization of the servers, or mongod would take the client for a member.
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name, Organization: []string{"clients"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	path := filepath.Join(rs.dir, name+".pem")
	if err := writeCertificate(path, rs.ca, template); err != nil {
		return "", err
	}
	err = rs.client.Database("$external").RunCommand(ctx, bson.D{
		{Key: "createUser", Value: template.Subject.String()},
		{Key: "roles", Value: roles},
		{Key: "writeConcern", Value: rs.everywhere()},
	}).Err()
	if err != nil {
		return "", fmt.Errorf("create user %q: %w", template.Subject, err)
	}
	query := rs.query()
	query.Set("authMechanism", "MONGODB-X509")
	query.Set("authSource", "$external")
	query.Set("tlsCertificateKeyFile", path)
	return rs.address(nil, query), nil
}
