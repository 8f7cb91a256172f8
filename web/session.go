package web

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	// cookiePrefix begins the name of a cookie. Browsers send a cookie to all ports of a host, so each process adds
	// something of its own: several on one host would sign each other out.
	cookiePrefix = "sitesync_session_"

	sessionTTL = 12 * time.Hour

	// maxSessions bounds how many are signed in at once; beyond it the oldest has to sign in again.
	maxSessions = 100

	// Attempts to sign in that a host has, and how often it gets another one.
	attemptBurst    = 5
	attemptInterval = 5 * time.Second

	// maxLimiters bounds the hosts whose attempts are remembered.
	maxLimiters = 1000
)

// session is a person who may change something, in one browser.
type session struct {
	form    string // what a form must send to be from our page
	expires time.Time
	flash   atomic.Pointer[string] // a message that is shown once
}

// sessions are the people who may change something. They have given the token and got a random value in a cookie; only
// its hash is kept.
type sessions struct {
	token  [sha256.Size]byte // hash
	cookie string            // name of our cookies

	mu       sync.Mutex
	all      map[[sha256.Size]byte]*session
	limiters map[string]*rate.Limiter // by host
}

// newSessions returns nil without a token: nobody may change anything.
func newSessions(token string) *sessions {
	if token == "" {
		return nil
	}
	return &sessions{token: sha256.Sum256([]byte(token)), cookie: cookiePrefix + rand.Text(),
		all: map[[sha256.Size]byte]*session{}, limiters: map[string]*rate.Limiter{}}
}

// allowAttempt reports whether a host may try a token now.
func (s *sessions) allowAttempt(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.limiters[host]
	if l == nil {
		if len(s.limiters) >= maxLimiters {
			clear(s.limiters)
		}
		l = rate.NewLimiter(rate.Every(attemptInterval), attemptBurst)
		s.limiters[host] = l
	}
	return l.Allow()
}

// verify reports whether the token is the right one, in constant time.
func (s *sessions) verify(token string) bool {
	given := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(given[:], s.token[:]) == 1
}

// create creates a session and returns the value of its cookie.
func (s *sessions) create(now time.Time) string {
	value := rand.Text() + rand.Text()
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
	if len(s.all) >= maxSessions {
		delete(s.all, oldest)
	}
	s.all[sha256.Sum256([]byte(value))] = &session{form: rand.Text(), expires: now.Add(sessionTTL)}
	return value
}

// of returns the session of a request, nil if there is none.
func (s *sessions) of(r *http.Request, now time.Time) *session {
	if s == nil {
		return nil
	}
	if cookie, err := r.Cookie(s.cookie); err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if found := s.all[sha256.Sum256([]byte(cookie.Value))]; found != nil && !now.After(found.expires) {
			return found
		}
	}
	return nil
}

func (s *sessions) end(ended *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.all, func(_ [sha256.Size]byte, other *session) bool { return other == ended })
}

// sent reports whether a form came from a page of this session.
func (s *session) sent(r *http.Request) bool {
	return subtle.ConstantTimeCompare([]byte(r.PostFormValue("form")), []byte(s.form)) == 1
}

// setCookie sets the cookie of a session; without a value it deletes it.
func (s *sessions) setCookie(w http.ResponseWriter, r *http.Request, value string) {
	c := &http.Cookie{Name: s.cookie, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https", MaxAge: int(sessionTTL / time.Second)}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}
