package web

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// cookiePrefix begins the name of a cookie. Browsers send a cookie to all ports of a host, so each process adds
	// something of its own: several on one host would sign each other out.
	cookiePrefix = "sitesync_session_"

	// signedIn is how long somebody stays signed in.
	signedIn = 12 * time.Hour

	// mostSessions bounds how many are signed in at once; beyond it the oldest has to sign in again.
	mostSessions = 100

	// Tries of a token that a machine has, and how often it gets another one.
	triesAtOnce = 5
	tryEvery    = 5 * time.Second

	// mostTriers bounds the machines that are remembered.
	mostTriers = 1000
)

// session is somebody who may change things, in one browser.
type session struct {
	form    string // what a form must send to be from our page
	expires time.Time
	flash   string // told once
}

// sessions know who may change things. Whoever gives the token gets a random value in a cookie; only its hash is kept.
type sessions struct {
	token  [sha256.Size]byte // hash
	key    [32]byte          // of the values in forms
	cookie string            // name of our cookies

	mu     sync.Mutex
	all    map[[sha256.Size]byte]*session
	triers map[string]*rate.Limiter // by host
}

// newSessions returns nil without a token: nobody may change anything.
func newSessions(token string) *sessions {
	if token == "" {
		return nil
	}
	s := &sessions{token: sha256.Sum256([]byte(token)), cookie: cookiePrefix + rand.Text(),
		all: map[[sha256.Size]byte]*session{}, triers: map[string]*rate.Limiter{}}
	rand.Read(s.key[:])
	return s
}

// mayTry reports whether a host may try a token now.
func (s *sessions) mayTry(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.triers[host]
	if l == nil {
		if len(s.triers) >= mostTriers {
			clear(s.triers)
		}
		l = rate.NewLimiter(rate.Every(tryEvery), triesAtOnce)
		s.triers[host] = l
	}
	return l.Allow()
}

// fits reports whether the token is the right one, in a time that does not tell how much of it is.
func (s *sessions) fits(token string) bool {
	given := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(given[:], s.token[:]) == 1
}

// begin signs somebody in and returns the value of the cookie.
func (s *sessions) begin(now time.Time) string {
	var value [32]byte
	rand.Read(value[:])
	text := base64.RawURLEncoding.EncodeToString(value[:])
	hash := sha256.Sum256([]byte(text))
	mac := hmac.New(sha256.New, s.key[:])
	mac.Write(hash[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	var oldest [sha256.Size]byte
	for h, other := range s.all {
		if now.After(other.expires) {
			delete(s.all, h)
		} else if first := s.all[oldest]; first == nil || other.expires.Before(first.expires) {
			oldest = h
		}
	}
	if len(s.all) >= mostSessions {
		delete(s.all, oldest)
	}
	s.all[hash] = &session{form: base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), expires: now.Add(signedIn)}
	return text
}

// of returns who makes a request, nil if nobody is signed in.
func (s *sessions) of(r *http.Request, now time.Time) *session {
	if s == nil {
		return nil
	}
	cookie, err := r.Cookie(s.cookie)
	if err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.all[sha256.Sum256([]byte(cookie.Value))]
	if found == nil || now.After(found.expires) {
		return nil
	}
	return found
}

// end signs out who makes a request.
func (s *sessions) end(r *http.Request) {
	if cookie, err := r.Cookie(s.cookie); err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.all, sha256.Sum256([]byte(cookie.Value)))
	}
}

// tell has the next page tell something.
func (s *sessions) tell(who *session, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	who.flash = text
}

// told returns what is to be told, once.
func (s *sessions) told(who *session) string {
	if who == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	text := who.flash
	who.flash = ""
	return text
}

// sent reports whether a form came from a page that this session was shown.
func (s *session) sent(r *http.Request) bool {
	return subtle.ConstantTimeCompare([]byte(r.PostFormValue("form")), []byte(s.form)) == 1
}

// setCookie gives whoever makes a request the cookie of a session; without a value it is taken away.
func (s *sessions) setCookie(w http.ResponseWriter, r *http.Request, value string) {
	c := &http.Cookie{Name: s.cookie, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https", MaxAge: int(signedIn / time.Second)}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}
