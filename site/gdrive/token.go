package gdrive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"golang.org/x/sync/semaphore"
	"google.golang.org/api/drive/v3"
)

// tokenSource returns an access token for as long as it is valid. Unlike oauth2's own it drops a token that was
// refused early, and stops waiting for one when the request's context ends.
type tokenSource struct {
	account string // who we are, for messages
	// identity distinguishes accounts in the journal. It reveals no secret and no name.
	identity string
	fetch    func(context.Context) (*oauth2.Token, error)
	timeout  time.Duration // stallTimeout, which tests shorten

	mu  *semaphore.Weighted // guards tok; unlike a Mutex's, its lock can be given up waiting for
	tok *oauth2.Token
}

// errKey says that credentials can't be used; what is in them stays in them.
var errKey = errors.New("the key can't be read; download the key file again")

// newTokenSource reads a service account's key or authorized-user credentials. No error of it repeats what
// is in the file.
func newTokenSource(data []byte, subject string, base http.RoundTripper) (*tokenSource, error) {
	var about struct {
		Type         string `json:"type"`
		ClientEmail  string `json:"client_email"`
		ClientID     string `json:"client_id"`
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.Unmarshal(data, &about); err != nil {
		return nil, errors.New("not a JSON file")
	}
	var account string
	var who []string
	switch google.CredentialsType(about.Type) {
	case google.ServiceAccount:
		account, who = about.ClientEmail, []string{about.ClientEmail, subject}
		if subject != "" { // as whom the service account acts makes the difference, not which one it is
			account, who = subject+" (through "+account+")", []string{subject}
		}
		// The key itself is parsed at the first use otherwise.
		if _, err := google.JWTAccessTokenSourceWithScope(data, drive.DriveScope); err != nil {
			return nil, errKey
		}
	case google.AuthorizedUser:
		account, who = "the authorized user", []string{about.ClientID, about.RefreshToken}
	default:
		return nil, fmt.Errorf("type is %q; use a service account's key or authorized-user credentials", about.Type)
	}
	fetch := func(ctx context.Context) (*oauth2.Token, error) {
		bound := &boundTransport{ctx: ctx, base: base}
		ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: bound,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }})
		// Credentials keep their token and their context, so a fresh token takes fresh credentials.
		c, err := google.CredentialsFromJSONWithTypeAndParams(ctx, data, google.CredentialsType(about.Type),
			google.CredentialsParams{Scopes: []string{drive.DriveScope}, Subject: subject})
		if err != nil {
			return nil, errKey
		}
		tok, err := c.TokenSource.Token()
		if bound.err != nil {
			return nil, bound.err
		}
		return tok, err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", who))
	return &tokenSource{account: account, identity: hex.EncodeToString(sum[:8]), fetch: fetch, timeout: stallTimeout,
		mu: semaphore.NewWeighted(1)}, nil
}

// boundTransport binds the request for a token to a context, which oauth2 makes without one for service
// accounts, and keeps the error of it, which oauth2 would bury in a text.
type boundTransport struct {
	ctx  context.Context
	base http.RoundTripper
	err  error // an *unreachableError, or a page that came instead
}

func (t *boundTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := t.base.RoundTrip(req.WithContext(t.ctx))
	switch {
	case err != nil:
		t.err = &unreachableError{err}
	case isPage(res):
		defer res.Body.Close()
		t.err = pageError(res)
		return nil, t.err
	}
	return res, err
}

// unreachableError says that the token service gave no answer. The cause has nothing of the request in it.
type unreachableError struct{ err error }

func (e *unreachableError) Error() string {
	return "google's token service can't be reached: " + e.err.Error()
}
func (e *unreachableError) Unwrap() error { return e.err }

// token returns a token that is good as far as we know.
func (s *tokenSource) token(ctx context.Context) (*oauth2.Token, error) {
	// The wait for another one that asks is within the time too: it may be for a service that hangs.
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := s.mu.Acquire(limited, 1); err != nil {
		if ctx.Err() == nil {
			err = &unreachableError{err}
		}
		return nil, err
	}
	defer s.mu.Release(1)
	if s.tok.Valid() {
		return s.tok, nil
	}
	tok, err := s.fetch(limited)
	if err != nil {
		return nil, err
	}
	s.tok = tok
	return tok, nil
}

// refused says that the server did not take the token.
func (s *tokenSource) refused(ctx context.Context, tok *oauth2.Token) {
	if err := s.mu.Acquire(ctx, 1); err != nil {
		return // the next one to use it is refused too
	}
	defer s.mu.Release(1)
	if s.tok == tok {
		s.tok = nil
	}
}

// authTransport signs requests, bounds answers, and drops a token that is answered 401; the caller makes the request
// again.
type authTransport struct {
	tokens *tokenSource
	base   http.RoundTripper
}

func (t *authTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	tok, err := t.tokens.token(req.Context())
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // RoundTrip must close it, also on errors
		}
		return nil, &tokenError{err}
	}
	req = req.Clone(req.Context())
	tok.SetAuthHeader(req)
	res, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusUnauthorized {
		t.tokens.refused(req.Context(), tok)
	}
	if isDownload(req) && res.StatusCode < 300 {
		return res, nil // content, whose type and length are whatever they are
	}
	res.Body = struct { // Google's client reads whatever there is
		io.Reader
		io.Closer
	}{io.LimitReader(res.Body, maxAnswer), res.Body}
	if isPage(res) {
		defer res.Body.Close()
		return nil, pageError(res)
	}
	return res, nil
}

// tokenError is a failure to get a token, as opposed to one of the request that needed it.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }
