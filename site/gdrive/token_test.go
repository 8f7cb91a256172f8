package gdrive

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/sync/semaphore"

	"sitesync/integration/drive"
	"sitesync/site"
)

func TestCredentials(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	user := s.AddUser("artist@studio.example")
	s.Delegate(s.account, user)
	for _, test := range []struct {
		name, subject, root, account string
		credentials                  *drive.Account
		at                           drive.Place
	}{
		{"service account", "", "/SHOW", "sync@studio.iam.example", s.account, s.show},
		{"service account for a user", user.Email, "/My Drive",
			"artist@studio.example (through sync@studio.iam.example)", s.account, user},
		{"authorized user", "", "/My Drive", "the authorized user", user, user},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := s.openAs(t, test.credentials.Credentials(), test.subject, test.root)
			if err := d.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			if d.Account() != test.account {
				t.Errorf("account %q, want %q", d.Account(), test.account)
			}
			put(t, d, test.root+"/"+test.name, "a")
			s.wantOne(t, test.at, test.name, "a")
		})
	}
}

// A key's signature tells the time. A clock that is wrong is named, as the answer could as well be about the key.
func TestWrongClock(t *testing.T) {
	for ahead, want := range map[time.Duration]string{
		-2 * time.Hour:                "the clock of this machine is 2h behind google's; set it right",
		7*time.Minute + 5*time.Second: "the clock of this machine is 7m ahead of google's; set it right",
	} {
		server, err := drive.Start(drive.Options{Now: func() time.Time { return time.Now().Add(-ahead) }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Close() })
		account := server.AddServiceAccount("sync@studio.iam.example")
		server.AddSharedDrive("SHOW").AddMember(account, drive.ContentManager)
		d := (&studio{Server: server}).openAs(t, account.Credentials(), "", "/SHOW")
		wantClass(t, d.Check(t.Context()), site.Unavailable, "invalid_grant", want)
		if got, known := d.ClockAhead(); !known || (got-ahead).Abs() > time.Minute {
			t.Errorf("the clock is %v ahead, %t, want %v", got, known, ahead)
		}
	}
}

// Credentials that Google does not accept are the site's trouble.
func TestRefusedCredentials(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	user := s.AddUser("artist@studio.example")
	stranger := s.AddServiceAccount("stranger@studio.iam.example")
	for _, test := range []struct {
		name, subject string
		credentials   []byte
		words         []string
	}{
		{"other key", "", edit(t, s.account.Credentials(), "private_key", newKey(t)), []string{"invalid_grant",
			"Invalid JWT Signature"}},
		{"other key id", "", edit(t, s.account.Credentials(), "private_key_id", "0123"),
			[]string{"Invalid JWT Signature"}},
		{"unknown account", "", edit(t, s.account.Credentials(), "client_email", "gone@studio.iam.example"),
			[]string{"account not found"}},
		{"no delegation", user.Email, stranger.Credentials(), []string{"unauthorized_client",
			"domain-wide delegation"}},
		{"no such user", "gone@studio.example", s.account.Credentials(), []string{"Invalid email"}},
		{"revoked grant", "", edit(t, user.Credentials(), "refresh_token", "1//old"), []string{"expired or revoked"}},
		{"wrong secret", "", edit(t, user.Credentials(), "client_secret", "guess"), []string{"invalid_client"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := s.openAs(t, test.credentials, test.subject, "/SHOW")
			words := append(test.words, "google's token service answered 40", "check the key file")
			wantClass(t, d.Check(t.Context()), site.Unavailable, words...)
			_, err := d.Put(t.Context(), upload("/SHOW/a", []byte("a")))
			wantClass(t, err, site.Unavailable, words...)
		})
	}
}

// newKey is a private key that Google does not know.
func newKey(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// edit changes a text of a JSON document.
func edit(t *testing.T, doc []byte, key, value string) []byte {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(doc, &m); err != nil {
		t.Fatal(err)
	}
	m[key] = value
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Credentials that are none are refused at once, and not shown.
func TestMalformedCredentials(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	for name, credentials := range map[string][]byte{
		"not JSON":   []byte("S3cr3t"),
		"other type": []byte(`{"type": "external_account", "x": "S3cr3t"}`),
		"no type":    []byte(`{"private_key": "S3cr3t"}`),
		"no PEM":     edit(t, s.account.Credentials(), "private_key", "S3cr3t"),
		"broken PEM": edit(t, s.account.Credentials(), "private_key",
			"-----BEGIN PRIVATE KEY-----\nS3cr3t==\n-----END PRIVATE KEY-----\n"),
		"not strings": []byte(`{"type": 1, "private_key": "S3cr3t"}`),
	} {
		_, err := s.tryOpen(t, credentials, "")
		if err == nil || !strings.Contains(err.Error(), "account.json") || strings.Contains(err.Error(), "S3cr3t") {
			t.Errorf("%s: error %v, want one that names the file and not what is in it", name, err)
		}
	}
	if _, err := New(t.Context(), Config{Credentials: t.TempDir() + "/none.json"}); err == nil ||
		!strings.Contains(err.Error(), "none.json") {
		t.Errorf("error %v", err)
	}
}

// A token that is refused before its time is replaced, silently, wherever it happens.
func TestRefusedToken(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"files.create.multipart", "files.create.resumable", "upload.put", "upload.status",
		"files.list",
		"files.create", "files.generateIds", "drives.list"} {
		t.Run(kind, func(t *testing.T) {
			s := newStudio(t)
			d := s.open(t)
			fault := s.AddFault(
				drive.Fault{Kind: kind, Count: 1, Effect: drive.EffectStatus, Status: 401, Reason: "authError"},
			)
			if kind == "upload.status" { // which is asked only after a break
				s.AddFault(drive.Fault{Kind: "upload.put", Count: 1, Effect: drive.EffectReset})
			}
			put(t, d, "/SHOW/pub/new/small", "small")
			put(t, d, "/SHOW/pub/new/large", large(testLimit+1))
			if fault.Hits() != 1 {
				t.Errorf("%d hits", fault.Hits())
			}
			s.wantCalls(t, "token", 2)
			s.wantOne(t, s.show, "pub/new/small", "small")
			s.wantOne(t, s.show, "pub/new/large", large(testLimit+1))
		})
	}
}

func TestRevokedToken(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	put(t, d, "/SHOW/pub/a", "1")
	s.RevokeTokens(s.account)
	put(t, d, "/SHOW/pub/b", "2")
	s.wantCalls(t, "token", 2)
}

// Who may have been replaced while a token was fetched sends nothing with it, however small it is.
func TestFencedWhileATokenIsFetched(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	s.Mkdir(s.show, "pub")
	file := filepath.Join(t.TempDir(), "account.json")
	if err := os.WriteFile(file, s.account.Credentials(), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := New(
		t.Context(),
		Config{Credentials: file, Endpoint: s.URL, Roots: []string{"/SHOW/pub"}, Connections: 1, Fence: func() error {
			if s.Calls()["token"] > 1 {
				return errors.New("another process has taken over")
			}
			return nil
		}},
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	d.wait = time.Millisecond
	put(t, d, "/SHOW/pub/a", "1")
	s.RevokeTokens(s.account)
	_, err = d.Put(t.Context(), upload("/SHOW/pub/b", []byte("2")))
	wantClass(t, err, site.Transient, "another process has taken over")
	s.wantCalls(t, "files.create.multipart", 2) // one that worked, and one that was refused
	if found := s.Find(s.show, "pub/b"); len(found) != 0 {
		t.Errorf("it is on Drive: %+v", found)
	}
}

// When fresh tokens are refused too, it is the site's trouble.
func TestTokensRefused(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, testLimit + 1} {
		s := newStudio(t)
		d := s.open(t)
		for _, kind := range []string{"files.create.multipart", "upload.put"} {
			s.AddFault(drive.Fault{Kind: kind, Effect: drive.EffectStatus, Status: 401, Reason: "authError"})
		}
		_, err := d.Put(t.Context(), upload("/SHOW/pub/a", []byte(large(size))))
		wantClass(t, err, site.Unavailable, "401", "valid key file")
		s.wantCalls(t, "token", 2)
	}
}

// One token serves all requests.
func TestTokenIsShared(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	done := make(chan error)
	for range 8 {
		go func() { done <- d.Check(t.Context()) }()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	s.wantCalls(t, "token", 1)
}

// The token service's outage costs no file a try.
func TestTokenService(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		drive.Fault
		want string
	}{
		{drive.Fault{Effect: drive.EffectReset}, "google's token service can't be reached: "},
		{drive.Fault{Effect: drive.EffectInvalidJSON}, "google's token service sent no token"},
		{drive.Fault{Effect: drive.EffectStatus, Status: 503}, "google's token service answered 503"},
		{drive.Fault{Effect: drive.EffectStatus, Status: 429, Reason: "rate_limit"},
			"google's token service answered 429"},
	} {
		fault := test.Fault
		s := newStudio(t)
		d := s.open(t)
		fault.Kind = "token"
		active := s.AddFault(fault)
		_, err := d.Put(t.Context(), upload("/SHOW/pub/a", []byte("a")))
		wantClass(t, err, site.Transient, test.want)
		if active.Hits() != maxAttempts {
			t.Errorf("%d attempts, want %d", active.Hits(), maxAttempts)
		}
		active.Remove()
		put(t, d, "/SHOW/pub/a", "a")
	}
}

// A token service that hangs does not keep a request from being given up.
func TestTokenHangs(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	for _, a := range []*drive.Account{s.account, s.AddUser("artist@studio.example")} {
		d := s.openAs(t, a.Credentials(), "", "/SHOW")
		fault := s.AddFault(drive.Fault{Kind: "token", Effect: drive.EffectHang})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		done := make(chan error)
		for range 2 { // the one who asks, and one who waits for it
			go func() { done <- d.Check(ctx) }()
		}
		eventually(t, "the token is asked for", func() bool { return fault.Hits() == 1 })
		cancel()
		for range 2 {
			if err := <-done; !interrupted(err) {
				t.Error(err)
			}
		}
		fault.Remove()
	}
}

// Those who wait for a token, while the service hangs that one of them has asked, wait no longer than that one.
func TestTokenServiceHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		s := &tokenSource{timeout: time.Minute, mu: semaphore.NewWeighted(1),
			fetch: func(ctx context.Context) (*oauth2.Token, error) {
				asked.Add(1)
				<-ctx.Done()
				return nil, &unreachableError{ctx.Err()}
			}}
		start := time.Now()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if _, err := s.token(t.Context()); !errors.As(err, new(*unreachableError)) {
					t.Errorf("%v", err)
				}
			})
		}
		wg.Wait()
		if waited := time.Since(start); waited != time.Minute {
			t.Errorf("the last one waited for %s, and %d asked", waited, asked.Load())
		}
	})
}
