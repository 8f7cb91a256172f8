package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sitesync/integration/mongod"
	"sitesync/integration/testenv"
)

func TestMain(m *testing.M) { os.Exit(mongod.Main(m)) }

// short is the profile of --short.
func short(seed *uint64) profile {
	return settings{Short: true, FaultRate: 0.05, ListingLag: 30 * time.Second, Seed: seed}.profile()
}

// After a minute of all faults, nothing is lost, duplicated, of other content or orphaned. Otherwise logs and data are
// kept where the output says.
func TestChaos(t *testing.T) {
	fixed := uint64(1)
	for name, seed := range map[string]*uint64{"fixed seed": &fixed, "random seed": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			err := run(t.Context(), short(seed), &out)
			t.Log(out.String())
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// Ctrl-C ends the run at once and cleans up.
func TestAbort(t *testing.T) {
	for name, at := range map[string]string{"starting": "starting a MongoDB", "publishing": "  publishing: "} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("TMPDIR", dir)
			ctx, abort := context.WithCancelCause(t.Context())
			interrupted := errors.New("interrupted")
			out := &testenv.TriggerWriter{Text: at, Trigger: func() { abort(interrupted) }}
			if err := run(ctx, short(nil), out); !errors.Is(err, interrupted) {
				t.Errorf("%v\n%s", err, out.String())
			}
			if left, err := filepath.Glob(filepath.Join(dir, "sitesync*")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}
