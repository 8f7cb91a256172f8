package mongod

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// authority is a CA that lives as long as its set.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certificate(pkix.Name{CommonName: name})
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert, key}, err
}

// certificate is what all certificates here have in common.
func certificate(subject pkix.Name) *x509.Certificate {
	serial := make([]byte, 16)
	_, _ = rand.Read(serial) // never fails
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		Subject:      subject,
		// Clocks of machines in a container may differ by a little.
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(7 * 24 * time.Hour),
	}
}

// write writes the CA's certificate.
func (a *authority) write(path string) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o644)
}

// issue writes a new certificate and its key into one file, as mongod and the drivers want it.
func (a *authority) issue(path string, template *x509.Certificate) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	cert, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	return os.WriteFile(path, text, 0o600)
}

// OtherCA writes the certificate of a CA that has signed for no server.
func OtherCA(path string) error {
	ca, err := newAuthority("another CA")
	if err != nil {
		return err
	}
	return ca.write(path)
}

// CAFile is the certificate of the CA of a set with Options.TLS.
func (rs *ReplicaSet) CAFile() string { return filepath.Join(rs.dir, "ca.pem") }

func (rs *ReplicaSet) certificatePath() string { return filepath.Join(rs.dir, "server.pem") }

// certify makes the set's CA and the certificate that all members have. They are servers and, to each other, clients.
func (rs *ReplicaSet) certify() (err error) {
	if rs.ca, err = newAuthority("CA of " + filepath.Base(rs.dir)); err != nil {
		return err
	}
	template := certificate(pkix.Name{CommonName: "mongod", Organization: []string{"servers"}})
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	return errors.Join(rs.ca.write(rs.CAFile()), rs.ca.issue(rs.certificatePath(), template))
}

// tlsConfig is that of the members' own clients; nil without TLS.
func (rs *ReplicaSet) tlsConfig() *tls.Config {
	if rs.ca == nil {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AddCert(rs.ca.cert)
	return &tls.Config{RootCAs: pool}
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
	template := certificate(pkix.Name{CommonName: name, Organization: []string{"clients"}})
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	path := filepath.Join(rs.dir, name+".pem")
	if err := rs.ca.issue(path, template); err != nil {
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
