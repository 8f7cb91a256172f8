package deploy_test

import (
	"regexp"
	"strings"
	"testing"
)

// What the Dockerfile builds is run as in a container by a test in integration.
func TestDockerfile(t *testing.T) {
	text := read(t, "../Dockerfile")
	stage := regexp.MustCompile(`(?m)^FROM --platform=\$BUILDPLATFORM golang:(\d+\.\d+)\.\d+-\w+ AS build$`).
		FindStringSubmatch(text)
	module := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "../go.mod"))
	if stage == nil || module == nil || stage[1] != module[1] {
		t.Errorf("the image is %q, go.mod has %q", stage, module)
	}
	for _, line := range []string{"\nFROM scratch\n", "\nUSER 65532:65532\n",
		"\nENTRYPOINT [\"/sitesync\"]\nCMD [\"run\"]\n",
		// Where Go looks first for what to trust, on Linux.
		"\nCOPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/\n", `CMD ["/sitesync", "health"]`,
		"\nEXPOSE 9105\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("there is no %q", line)
		}
	}
	// A secret must not become part of an image, nor of the cache of its build.
	ignored := read(t, "../.dockerignore")
	for _, line := range []string{"/deploy/compose/secrets\n", "/deploy/compose/.env\n"} {
		if !strings.Contains(ignored, line) {
			t.Errorf(".dockerignore has no %q", line)
		}
	}
}
