package gdrive

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sitesync/integration/drive"
	"sitesync/integration/mongod"
	"sitesync/site"
)

func TestMain(m *testing.M) { os.Exit(mongod.Main(m)) }

// testLimit is the multipartLimit of tests: large files take their time.
const testLimit = 2 << 20

// studio is a Drive with a service account that is Content manager of the shared drive SHOW.
type studio struct {
	*drive.Server
	account *drive.Account
	show    *drive.SharedDrive
}

func newStudio(t *testing.T) *studio {
	t.Helper()
	s := &studio{Server: drive.StartTest(t)}
	s.account = s.AddServiceAccount("sync@studio.iam.example")
	s.show = s.AddSharedDrive("SHOW")
	s.show.AddMember(s.account, drive.ContentManager)
	return s
}

// open is the site with the studio's service account and the root /SHOW/pub, which it makes.
func (s *studio) open(t *testing.T) *Site {
	t.Helper()
	s.Mkdir(s.show, "pub")
	return s.openAs(t, s.account.Credentials(), "", "/SHOW/pub")
}

// openAs is a site with other credentials, subject and roots.
func (s *studio) openAs(t *testing.T, credentials []byte, subject string, roots ...string) *Site {
	t.Helper()
	d, err := s.tryOpen(t, credentials, subject, roots...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (s *studio) tryOpen(t *testing.T, credentials []byte, subject string, roots ...string) (*Site, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "account.json")
	if err := os.WriteFile(file, credentials, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := New(
		t.Context(),
		Config{Credentials: file, Subject: subject, Endpoint: s.URL, Roots: roots, Connections: 8},
	)
	if err == nil {
		d.wait, d.maxMultipart = time.Millisecond, testLimit
		t.Cleanup(func() { d.Close() })
	}
	return d, err
}

// upload is an upload of the content.
func upload(path string, content []byte) site.Incoming {
	return site.Incoming{Path: path, Content: bytes.NewReader(content), Size: int64(len(content)),
		ModTime: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)}
}

// put uploads the content, which must work, and checks what the site says of it.
func put(t *testing.T, d site.Backend, path, content string) site.Object {
	t.Helper()
	obj, err := d.Put(t.Context(), upload(path, []byte(content)))
	if err != nil {
		t.Fatal(err)
	}
	if obj.MD5 != md5Of(content) {
		t.Fatalf("Put %s: MD5 %s, want %s", path, obj.MD5, md5Of(content))
	}
	return obj
}

func md5Of(content string) string {
	sum := md5.Sum([]byte(content))
	return hex.EncodeToString(sum[:])
}

// large is content that takes a resumable upload; each part of it differs.
func large(size int) string {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return string(b)
}

// wantOne checks that exactly one file is at the path below the place, with that content, and returns it.
func (s *studio) wantOne(t *testing.T, at drive.Place, path, content string) drive.File {
	t.Helper()
	found := s.Find(at, path)
	if len(found) != 1 {
		t.Fatalf("%d files at %s, want 1: %+v", len(found), path, found)
	}
	r, err := s.Content(found[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != content {
		t.Fatalf(
			"%s has %d bytes with MD5 %s, want %d with %s",
			path,
			len(got),
			md5Of(string(got)),
			len(content),
			md5Of(content),
		)
	}
	return found[0]
}

// wantClass checks an error's class, and that its text has all of the words.
func wantClass(t *testing.T, err error, class site.Class, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one of class %s", class)
	}
	if got := site.ClassOf(err); got != class {
		t.Fatalf("class %s, want %s: %v", got, class, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q lacks %q", err, w)
		}
	}
}

// wantCalls checks how many requests of a kind were made.
func (s *studio) wantCalls(t *testing.T, kind string, want int) {
	t.Helper()
	if got := s.Calls()[kind]; got != want {
		t.Errorf("%d calls of %s, want %d; all: %v", got, kind, want, s.Calls())
	}
}

// eventually waits for a condition, at most ten seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// newCancel is a context that the test ends, at its own end at the latest.
func newCancel(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}

// interrupted reports whether an error is the context's.
func interrupted(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
