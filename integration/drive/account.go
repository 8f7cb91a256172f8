package drive

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"sync"
	"time"
)

// googleTokenURL is the token endpoint in the key files that Google gives out.
const googleTokenURL = "https://oauth2.googleapis.com/token"

// Role is what an account may do with an item or in a shared drive.
type Role int

// The roles, weakest first. Viewer and Contributor are what Drive's own pages
// call a reader and a writer of a shared drive.
const (
	NoRole         Role = iota
	Reader              // sees and downloads
	Commenter           // as Reader
	Writer              // adds and changes
	ContentManager      // in a shared drive: also trashes and moves ("fileOrganizer")
	Organizer           // in a shared drive: also deletes ("organizer")
	Owner               // owns the item in My Drive
	Viewer         = Reader
	Contributor    = Writer
)

// String is the role's name in the API.
func (r Role) String() string {
	return [...]string{"none", "reader", "commenter", "writer", "fileOrganizer", "organizer", "owner"}[r]
}

// Account is a service account or a user, with a My Drive of its own.
type Account struct {
	Email   string
	Service bool // a service account, not a user

	server       *Server
	permissionID string
	root         *item
	keyID        string
	clientID     string
	clientSecret string
	refreshToken string

	// Guarded by the tree's lock.
	usage     int64 // bytes owned
	storage   int64 // bytes that may be owned; 0: as the settings say, below 0: unlimited
	uploads   []uploaded
	delegates map[*Account]bool // users that this service account may act for
}

func minuteOf(t time.Time) int64 { return t.Unix() / 60 }

// uploaded is a number of bytes uploaded in a minute.
type uploaded struct {
	minute int64
	bytes  int64
}

// processKey is the key of every service account: making one takes longer than
// most tests.
var processKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// AddServiceAccount makes a service account. Adding one again returns the same.
func (s *Server) AddServiceAccount(email string) *Account { return s.addAccount(email, true) }

// AddUser makes a user. Adding one again returns the same.
func (s *Server) AddUser(email string) *Account { return s.addAccount(email, false) }

func (s *Server) addAccount(email string, service bool) *Account {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	if a := s.tree.accounts[email]; a != nil {
		return a
	}
	sum := sha256.Sum256([]byte(email))
	a := &Account{
		Email: email, Service: service, server: s,
		permissionID: fmt.Sprintf("%020d", binary.BigEndian.Uint64(sum[:])),
		keyID:        hex.EncodeToString(sum[:20]),
		clientID:     fmt.Sprintf("%d.apps.googleusercontent.com", len(s.tree.accounts)+1),
		clientSecret: "GOCSPX-" + randomText(15),
		refreshToken: "1//" + randomText(48),
		delegates:    map[*Account]bool{},
	}
	a.root = s.tree.addRoot("0A"+randomText(11)[:11]+"Uk9PVA", "My Drive", s.now())
	a.root.owner = a
	s.tree.accounts[email] = a
	return a
}

// Credentials returns the JSON file with which a program acts as the account: a
// service account's key file, or a user's authorized_user file. Its token_uri is
// this server.
func (a *Account) Credentials() []byte { return a.credentials(a.server.URL + "/token") }

// GoogleCredentials returns the same file with Google's own token_uri, for
// programs that reach the server through StartProxy.
func (a *Account) GoogleCredentials() []byte { return a.credentials(googleTokenURL) }

func (a *Account) credentials(tokenURL string) []byte {
	doc := map[string]string{
		"type":            "authorized_user",
		"client_id":       a.clientID,
		"client_secret":   a.clientSecret,
		"refresh_token":   a.refreshToken,
		"token_uri":       tokenURL,
		"universe_domain": "googleapis.com",
	}
	if a.Service {
		key, err := processKey()
		var der []byte
		if err == nil {
			der, err = x509.MarshalPKCS8PrivateKey(key)
		}
		if err != nil {
			panic(fmt.Sprintf("make a service account's key: %v", err))
		}
		doc = map[string]string{
			"type":                        "service_account",
			"project_id":                  "emulated-project",
			"private_key_id":              a.keyID,
			"private_key":                 string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
			"client_email":                a.Email,
			"client_id":                   a.permissionID,
			"auth_uri":                    "https://accounts.google.com/o/oauth2/auth",
			"token_uri":                   tokenURL,
			"auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
			"client_x509_cert_url":        "https://www.googleapis.com/robot/v1/metadata/x509/" + a.Email,
			"universe_domain":             "googleapis.com",
		}
	}
	out, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("write credentials: %v", err))
	}
	return out
}

// Delegate lets the service account act for the user (domain-wide delegation).
func (s *Server) Delegate(account, user *Account) {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	account.delegates[user] = true
}

// SetStorage sets how many bytes the account may own, whatever the settings say;
// 0 is what they say, below 0 unlimited.
func (a *Account) SetStorage(bytes int64) {
	a.server.tree.mu.Lock()
	defer a.server.tree.mu.Unlock()
	a.storage = bytes
}

// RootID is the id of the account's My Drive.
func (a *Account) RootID() string { return a.root.id }

func (a *Account) place() *item { return a.root }

// asUser is the account as a User resource, as another account sees it.
func (a *Account) asUser(by *Account) map[string]any {
	return map[string]any{
		"kind": "drive#user", "displayName": a.Email, "me": a == by,
		"permissionId": a.permissionID, "emailAddress": a.Email,
	}
}

// uploadedToday is the number of bytes uploaded in the 24 hours before now.
func (a *Account) uploadedToday(now time.Time) int64 {
	oldest := minuteOf(now.Add(-24 * time.Hour))
	var sum int64
	for _, u := range a.uploads {
		if u.minute > oldest {
			sum += u.bytes
		}
	}
	return sum
}

// addUpload notes an upload, and forgets those of more than 24 hours ago.
func (a *Account) addUpload(now time.Time, bytes int64) {
	oldest, minute := minuteOf(now.Add(-24*time.Hour)), minuteOf(now)
	a.uploads = slices.DeleteFunc(a.uploads, func(u uploaded) bool { return u.minute <= oldest })
	if n := len(a.uploads); n > 0 && a.uploads[n-1].minute == minute {
		a.uploads[n-1].bytes += bytes
		return
	}
	a.uploads = append(a.uploads, uploaded{minute, bytes})
}

// SharedDrive is a drive that has members and no owner.
type SharedDrive struct {
	ID   string // of its root folder too
	Name string

	server  *Server
	created time.Time
	root    *item

	// Guarded by the tree's lock.
	members map[*Account]Role
	items   int
	usage   int64 // bytes held
	storage int64 // bytes that may be held; 0: as the settings say, below 0: unlimited
}

// AddSharedDrive makes a shared drive without members. Names need not differ.
func (s *Server) AddSharedDrive(name string) *SharedDrive {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	d := &SharedDrive{ID: "0A" + randomText(13)[:13] + "9PVA", Name: name, server: s, created: s.now(),
		members: map[*Account]Role{}}
	// Drive itself calls a shared drive's root folder "Drive".
	d.root = s.tree.addRoot(d.ID, "Drive", d.created)
	d.root.drive = d
	s.tree.drives = append(s.tree.drives, d)
	return d
}

// AddMember gives an account a role in the drive, or with NoRole takes it away.
func (d *SharedDrive) AddMember(a *Account, role Role) {
	d.server.tree.mu.Lock()
	defer d.server.tree.mu.Unlock()
	delete(d.members, a)
	if role != NoRole {
		d.members[a] = role
	}
}

// SetStorage sets how many bytes the drive may hold, whatever the settings say; 0
// is what they say, below 0 unlimited.
func (d *SharedDrive) SetStorage(bytes int64) {
	d.server.tree.mu.Lock()
	defer d.server.tree.mu.Unlock()
	d.storage = bytes
}

func (d *SharedDrive) place() *item { return d.root }

// Place is where a path begins: an account's My Drive or a shared drive.
type Place interface{ place() *item }

var (
	_ Place = (*Account)(nil)
	_ Place = (*SharedDrive)(nil)
)
