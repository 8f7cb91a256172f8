package gdrive

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sitesync/integration/drive"
	"sitesync/site"
)

// as is the site as the next process opens it, with credentials and a subject.
func (s *studio) as(t *testing.T, j *kept, credentials []byte, subject string) *Site {
	t.Helper()
	file := filepath.Join(t.TempDir(), "account.json")
	if err := os.WriteFile(file, credentials, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := New(
		t.Context(),
		Config{
			Credentials: file,
			Subject:     subject,
			Endpoint:    s.URL,
			Roots:       []string{"/SHOW/pub"},
			Connections: 8,
			Journal:     j,
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	d.wait = time.Millisecond
	t.Cleanup(func() { d.Close() })
	return d
}

// What one account has reserved, or begun to upload, another one neither makes twice nor fails at: not a single Put
// comes to an error, whatever became of the first one's request.
func TestAnotherAccount(t *testing.T) {
	t.Parallel()
	for who, next := range map[string]func(s *studio) (credentials []byte, subject string){
		"another service account": func(s *studio) ([]byte, string) {
			other := s.AddServiceAccount("another@studio.iam.example")
			s.show.AddMember(other, drive.ContentManager)
			return other.Credentials(), ""
		},
		"a subject": func(s *studio) ([]byte, string) {
			user := s.AddUser("artist@studio.example")
			s.show.AddMember(user, drive.ContentManager)
			s.Delegate(s.account, user)
			return s.account.Credentials(), user.Email
		},
		"the same": func(s *studio) ([]byte, string) { return s.account.Credentials(), "" },
	} {
		for what, fault := range map[string]drive.Fault{
			"folder refused": {Kind: "files.create", Effect: drive.EffectStatus, Status: 403,
				Reason: "storageQuotaExceeded"},
			"folder made": {Kind: "files.create", Effect: drive.EffectReset, When: drive.After},
			"small file refused": {Kind: "files.create.multipart", Effect: drive.EffectStatus, Status: 403,
				Reason: "storageQuotaExceeded"},
			"small file made": {Kind: "files.create.multipart", Effect: drive.EffectReset, When: drive.After},
			"session refused": {Kind: "files.create.resumable", Effect: drive.EffectStatus, Status: 403,
				Reason: "storageQuotaExceeded"},
			"session broken": {Kind: "upload.put", Effect: drive.EffectReset, When: drive.InBody,
				AfterBytes: 1 << 20},
			"large file made":      {Kind: "upload.put", Effect: drive.EffectReset, When: drive.After},
			"nothing went wrong":   {},
			"outage of everything": {Kind: "*", Effect: drive.EffectStatus, Status: 503},
		} {
			for _, lag := range []time.Duration{0, time.Hour} {
				for _, old := range []bool{false, true} {
					if old && lag == 0 {
						continue // no difference
					}
					t.Run(fmt.Sprintf("%s, %s, old journal %t, lag %v", who, what, old, lag), func(t *testing.T) {
						t.Parallel()
						s, j := newStudio(t), newKept()
						s.Mkdir(s.show, "pub")
						s.UpdateSettings(func(set *drive.Settings) { set.ListingLag = lag })
						var active *drive.ActiveFault
						if fault.Kind != "" {
							active = s.AddFault(fault)
						}
						small, big := "/SHOW/pub/v001/a.ma", "/SHOW/pub/v001/a.exr"
						content := large(testLimit + 1)
						first := s.as(t, j, s.account.Credentials(), "")
						for _, u := range []site.Incoming{upload(small, []byte("a")), upload(big, []byte(content))} {
							u.Upcoming = func() []string { return []string{small, big} }
							_, _ = first.Put(t.Context(), u)
						}
						if active != nil {
							active.Remove()
						}
						if old {
							j.forgetAccounts(first.tokens.identity)
						}
						credentials, subject := next(s)
						d := s.as(t, j, credentials, subject)
						put(t, d, small, "a")
						put(t, d, big, content)
						put(t, s.as(t, j, credentials, subject), small, "bb")
						s.wantOne(t, s.show, "pub/v001/a.ma", "bb")
						s.wantOne(t, s.show, "pub/v001/a.exr", content)
						if n := len(s.Files()); n != 4 {
							t.Errorf("%d files and folders: %v", n, s.Files())
						}
					})
				}
			}
		}
	}
}

// forgetAccounts makes it a journal of the time when accounts were not told apart.
func (k *kept) forgetAccounts(identity string) {
	k.makeOlder(true)
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, session := range k.sessions {
		delete(k.sessions, key)
		k.sessions[key[len(identity)+1:]] = session
	}
}

// Nothing that is secret, or a name, can be read out of what the journal tells accounts apart by.
func TestIdentity(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	user := s.AddUser("artist@studio.example")
	seen := map[string]bool{}
	for _, d := range []*Site{
		s.openAs(t, s.account.Credentials(), ""), s.openAs(t, s.account.Credentials(), user.Email),
		s.openAs(t, user.Credentials(), ""),
		s.openAs(t, s.AddServiceAccount("another@studio.iam.example").Credentials(), ""),
	} {
		if id := d.tokens.identity; len(id) != 16 || seen[id] {
			t.Errorf("identity %q", id)
		}
		seen[d.tokens.identity] = true
	}
	other := s.AddServiceAccount("another@studio.iam.example")
	if d := s.openAs(t, other.Credentials(), user.Email); !seen[d.tokens.identity] {
		t.Error("who acts as the same user is told apart")
	}
}
