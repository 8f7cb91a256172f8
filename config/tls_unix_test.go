//go:build unix

package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// certificate is one that has signed itself, and its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, secret.Public(), secret)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func TestTLSByURI(t *testing.T) {
	cert, key := certificate(t)
	const (
		uri = ` but must be a MongoDB connection string such as ` +
			`mongodb://USER:PASSWORD@HOST:27017/?replicaSet=NAME, with %XX for special characters in the password: `
		fix    = `; run chmod 600 on it (Kubernetes: set defaultMode: 0440 on the secret's volume, and fsGroup)`
		anyone = `=true, so anyone between here and the database can read and change everything; name the CA file ` +
			`of the servers by tlsCAFile instead`
	)
	for name, test := range map[string]struct {
		uri            string // DIR is the folder
		flag           bool   // on the command line
		warnings, errs []string
	}{
		"CA":      {uri: "mongodb://u:S3cr3t@h/?tls=true&tlsCAFile=DIR/ca.pem"},
		"CA, srv": {uri: "mongodb+srv://u:S3cr3t@h/?tlsCAFile=DIR/ca.pem"},
		"certificate": {uri: "mongodb://h/?authMechanism=MONGODB-X509&" +
			"tlsCertificateKeyFile=DIR/both.pem&TLSCAFILE=DIR/ca.pem"},
		"no CA": {uri: "mongodb://h/?tls=true&tlsCAFile=DIR/none.pem",
			errs: []string{"AVALON_MONGO names the file DIR/none.pem in tlsCAFile, which cannot be read: no such " +
				"file or directory"}},
		"no CA, srv": {uri: "mongodb+srv://h/?tlsCAFile=DIR/none.pem",
			errs: []string{"AVALON_MONGO names the file DIR/none.pem in tlsCAFile, which cannot be read: no such " +
				"file or directory"}},
		"folder": {uri: "mongodb://h/?tlsCertificateKeyFile=DIR",
			errs: []string{"AVALON_MONGO names the file DIR in tlsCertificateKeyFile, which cannot be read: is not a " +
				"file"}},
		"not a CA": {uri: "mongodb://h/?tlsCAFile=DIR/key.pem",
			errs: []string{`AVALON_MONGO is "mongodb://h/?tlsCAFile=DIR/key.pem"` + uri +
				`the specified CA file does not contain any valid certificates`}},
		"no key": {uri: "mongodb://h/?tlsCertificateKeyFile=DIR/ca.pem",
			warnings: []string{"AVALON_MONGO names the file DIR/ca.pem in tlsCertificateKeyFile, which others can " +
				"read (mode 0644)" + fix}, errs: []string{`AVALON_MONGO is ` +
				`"mongodb://h/?tlsCertificateKeyFile=DIR/ca.pem"` + uri + `failed to find PRIVATE KEY`}},
		"readable key": {uri: "mongodb://h/?tls=true&tlsCertificateKeyFile=DIR/read%61ble.pem",
			warnings: []string{"AVALON_MONGO names the file DIR/readable.pem in tlsCertificateKeyFile, which others " +
				"can read (mode 0640)" + fix}},
		"insecure": {uri: "mongodb://u:S3cr3t@h/?tls=true&tlsInsecure=true",
			warnings: []string{"AVALON_MONGO has tlsInsecure" + anyone}},
		"insecure, old": {uri: "mongodb://h/?ssl=true;sslInsecure=true",
			warnings: []string{"AVALON_MONGO has sslInsecure" + anyone}},
		"secure": {uri: "mongodb://h/?tls=true&tlsInsecure=false"},
		"on the command line": {uri: "mongodb://u:S3cr3t@h/?tls=true", flag: true, warnings: []string{
			"--mongo has a password in it, which everyone on this machine can see in the list of processes; give it " +
				"by SITESYNC_MONGO"}},
		"on the command line, no password": {flag: true,
			uri: "mongodb://u@h/?authMechanism=MONGODB-X509&tlsCertificateKeyFile=DIR/both.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStudio(t)
			s.write("ca.pem", cert)
			s.write("key.pem", key)
			s.write("both.pem", cert+key)
			s.write("readable.pem", cert+key)
			for file, mode := range map[string]os.FileMode{"ca.pem": 0o644, "readable.pem": 0o640} {
				if err := os.Chmod(filepath.Join(s.dir, file), mode); err != nil {
					t.Fatal(err)
				}
			}
			uri := strings.ReplaceAll(test.uri, "DIR", s.dir)
			var flags Flags
			if test.flag {
				flags.Mongo = &uri
			} else {
				s.env["AVALON_MONGO"] = uri
			}
			_, warnings, errs := s.load(flags)
			if diff := cmp.Diff(test.warnings, warnings); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.errs, errs); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}
