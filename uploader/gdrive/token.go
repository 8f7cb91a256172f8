package gdrive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/drive/v3"
)

// tokenSource hands out an access token for as long as it is good. Unlike oauth2's own it can be told that
// a token was refused before its time.
type tokenSource struct {
	account string // who we are, for messages
	fetch   func() (*oauth2.Token, error)

	mu  sync.Mutex
	tok *oauth2.Token
}

// newTokenSource reads a service account's key or authorized-user credentials. No error of it repeats what
// is in the file.
func newTokenSource(ctx context.Context, data []byte, subject string, transport http.RoundTripper) (*tokenSource, error) {
	var about struct {
		Type        string `json:"type"`
		ClientEmail string `json:"client_email"`
	}
	if err := json.Unmarshal(data, &about); err != nil {
		return nil, errors.New("not a JSON file")
	}
	var kind google.CredentialsType
	account := about.ClientEmail
	switch about.Type {
	case "service_account":
		kind = google.ServiceAccount
		if subject != "" {
			account = subject + " (through " + account + ")"
		}
	case "authorized_user":
		kind = google.AuthorizedUser
		account = "the authorized user"
	default:
		return nil, fmt.Errorf("type is %q; use a service account's key or authorized-user credentials", about.Type)
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: transport, Timeout: metadataTimeout})
	fetch := func() (*oauth2.Token, error) {
		// Credentials keep their token, so a fresh one takes fresh credentials.
		c, err := google.CredentialsFromJSONWithTypeAndParams(ctx, data, kind,
			google.CredentialsParams{Scopes: []string{drive.DriveScope}, Subject: subject})
		if err != nil {
			return nil, errors.New("the credentials can't be read; download the key file again")
		}
		return c.TokenSource.Token()
	}
	if _, err := google.CredentialsFromJSONWithTypeAndParams(ctx, data, kind,
		google.CredentialsParams{Scopes: []string{drive.DriveScope}, Subject: subject}); err != nil {
		return nil, errors.New("the credentials can't be read; download the key file again")
	}
	return &tokenSource{account: account, fetch: fetch}, nil
}

// Token returns a token that is good as far as we know.
func (s *tokenSource) Token() (*oauth2.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tok.Valid() {
		return s.tok, nil
	}
	tok, err := s.fetch()
	if err != nil {
		return nil, err
	}
	s.tok = tok
	return tok, nil
}

// refused says that the server did not take the token.
func (s *tokenSource) refused(tok *oauth2.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tok == tok {
		s.tok = nil
	}
}

// authTransport signs requests, and drops a token that is answered 401; whoever made the request makes it
// again.
type authTransport struct {
	tokens *tokenSource
	base   *http.Transport
}

func (t *authTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	tok, err := t.tokens.Token()
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // RoundTrip must close it, also on errors
		}
		return nil, &tokenError{err}
	}
	req = req.Clone(req.Context())
	tok.SetAuthHeader(req)
	res, err := t.base.RoundTrip(req)
	if err == nil && res.StatusCode == http.StatusUnauthorized {
		t.tokens.refused(tok)
	}
	return res, err
}

// CloseIdleConnections lets http.Client reach the connections.
func (t *authTransport) CloseIdleConnections() { t.base.CloseIdleConnections() }

// tokenError is a failure to get a token, told apart from a failure of the request that needed it.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }
