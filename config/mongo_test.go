package config

import (
	"strings"
	"testing"
)

func TestRedacted(t *testing.T) {
	for uri, want := range map[URI]string{
		"mongodb://h1:27017,h2/db?replicaSet=rs0": "mongodb://h1:27017,h2/db?replicaSet=rs0",
		"mongodb://user@h":                        "mongodb://user@h",
		"mongodb://user:p%40ss@h/":                "mongodb://user:***@h/",
		"mongodb://user:p@ss:w/o?rd@h/?x=1":       "mongodb://user:***@h/?x=1",
		"mongodb+srv://user:pass@h":               "mongodb+srv://user:***@h",
		"user:pass@h":                             "user:***@h",
		"mongodb://h/?tls=true&tlsCertificateKeyFilePassword=p@ss&x=1": "mongodb://h/?tls=true&" +
			"tlsCertificateKeyFilePassword=***&x=1",
		"mongodb://h/?AUTHMECHANISMPROPERTIES=AWS_SESSION_TOKEN:abc;authMechanism=MONGODB-AWS": "mongodb://h/?" +
			"AUTHMECHANISMPROPERTIES=***;authMechanism=MONGODB-AWS",
		"": "",
	} {
		if got := uri.Redacted(); got != want {
			t.Errorf("%s is redacted to %s, want %s", string(uri), got, want)
		}
	}
}

// Whatever is wrong with a connection string, the reason shows no part of it
// that could belong to a password.
func TestURICheck(t *testing.T) {
	for _, uri := range []URI{
		"mongodb://h", "mongodb://u:p%40ss@h1,h2:27018/admin?replicaSet=rs0&tls=true",
		"mongodb+srv://u:p@cluster.studio.example/?srvMaxHosts=2",
	} {
		if reason := uri.check(); reason != "" {
			t.Errorf("%s: %s", uri, reason)
		}
	}
	for _, uri := range []URI{
		"", "h", "mongodb://", "mongodb+srv://", "mongodb://u:S3cr3t%@h", "mongodb://u:x%zS3cr3t@h",
		"mongodb://u:x:S3cr3t@h",
		"mongodb://u:x/S3cr3t@h", "mongodb://u:x@S3cr3t:y@h", "mongodb://u:x@:S3cr3t,h", "mongodb://u:x@h:S3cr3t/y@h",
		"mongodb://u:x@a/S3cr3t%zz@h", "mongodb://u:x@a/?S3cr3t@h", "mongodb://u:x@a?S3cr3t@h",
		"mongodb://u:x@a/?a=S3cr3t%zz@h",
		"mongodb://h/?w=S3cr3t%zz", "mongodb://h/?tlsCertificateKeyFilePassword=S3cr3t%zz",
		"mongodb+srv://u:x%zS3cr3t@h/?srvMaxHosts=1",
	} {
		switch reason := uri.check(); {
		case reason == "":
			t.Errorf("%s passes", string(uri))
		case strings.Contains(reason, "S3cr3t"):
			t.Errorf("%s: %s", string(uri), reason)
		}
	}
}
