//go:build unix

package local

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"sitesync/site"
)

// putOrder has a process of its own put a file.
type putOrder struct {
	Root, Rel string
	Size      int   // of largeContent
	Ranges    bool  // it is read in ranges
	KillAt    int64 // the call of the file system, from 1, before which the process is killed; 0: none
	KillRead  int64 // the offset from which on reading kills it; 0: none
}

const orderVariable = "SITESYNC_TEST_PUT"

func TestMain(m *testing.M) {
	text := os.Getenv(orderVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	var o putOrder
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		panic(err)
	}
	if err := o.put(); err != nil {
		scope, folder := site.ScopeOf(err)
		fmt.Printf("%s, %d, %s: %v\n", site.ClassOf(err), scope, folder, err)
		os.Exit(1)
	}
}

func (o putOrder) put() error {
	var calls atomic.Int64
	s := New(Options{Before: func(string, string) {
		if o.KillAt > 0 && calls.Add(1) == o.KillAt {
			killSelf()
		}
	}})
	s.sweeper.sweep = func(context.Context, folderKey) {} // it makes calls of its own
	content := largeContent(o.Size)
	in := incoming(o.Root, o.Rel, content)
	if o.Ranges {
		in.Content = &ranged{content: content, onRead: func(at int64) error {
			if o.KillRead > 0 && at >= o.KillRead {
				killSelf()
			}
			return nil
		}}
	}
	if _, err := s.Put(context.Background(), in); err != nil {
		return err
	}
	return s.Close()
}

func killSelf() {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {}
}

// process prepares a process that puts a file.
func (o putOrder) process(t *testing.T) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(o)
	must(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), orderVariable+"="+string(text))
	return cmd
}

// killed has a process put a file, and reports whether it was killed before the end.
func (o putOrder) killed(t *testing.T) bool {
	t.Helper()
	out, err := o.process(t).CombinedOutput()
	if err != nil && (len(out) > 0 || !strings.Contains(err.Error(), "killed")) {
		t.Fatalf("%v: %s", err, out)
	}
	return err != nil
}
