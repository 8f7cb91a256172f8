package drive

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const jwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// maxAssertionLife is how far exp may be after iat.
const maxAssertionLife = time.Hour

// clockSkew is what the clocks of client and server may differ.
const clockSkew = 5 * time.Minute

// tokens are the access tokens that were given out.
type tokens struct {
	mu    sync.Mutex
	known map[string]accessToken
}

type accessToken struct {
	account *Account // for whom requests are made
	issued  *Account // whose credentials got it; another one with delegation
	scopes  []string
	expires time.Time
}

func (t *tokens) issue(token accessToken) string {
	text := "ya29." + randomText(96)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known[text] = token
	return text
}

// RevokeTokens makes every access token worthless that was given out for the
// account or with its credentials. New ones can be had.
func (s *Server) RevokeTokens(a *Account) {
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	for text, token := range s.tokens.known {
		if token.account == a || token.issued == a {
			delete(s.tokens.known, text)
		}
	}
}

// authorize finds the account of a request and checks that its token is good
// for the method.
func (s *Server) authorize(r *http.Request, m *method) (*Account, *apiError) {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return nil, errAuth()
	}
	s.tokens.mu.Lock()
	token, ok := s.tokens.known[text]
	s.tokens.mu.Unlock()
	if !ok || !s.now().Before(token.expires) {
		return nil, errAuth()
	}
	if !slices.ContainsFunc(token.scopes, func(scope string) bool { return slices.Contains(m.Scopes, scope) }) {
		return token.account, errScope()
	}
	return token.account, nil
}

// handleToken answers the OAuth token endpoint.
func (c *call) handleToken() error {
	if c.r.Method != http.MethodPost {
		return &oauthError{405, "invalid_request", "The token endpoint takes POST."}
	}
	c.r.Body = http.MaxBytesReader(c.w, c.r.Body, 1<<20)
	if err := c.r.ParseForm(); interrupted(err) != nil {
		return interrupted(err)
	} else if err != nil {
		return &oauthError{400, "invalid_request", "Could not parse the form."}
	}
	form := c.r.PostForm
	var token accessToken
	var err *oauthError
	switch grant := form.Get("grant_type"); grant {
	case jwtBearer:
		c.s.secrets.add(form.Get("assertion"))
		token, err = c.s.fromAssertion(form.Get("assertion"), c.audiences())
	case "refresh_token":
		token, err = c.s.fromRefresh(form.Get("client_id"), form.Get("client_secret"), form.Get("refresh_token"))
	case "":
		err = &oauthError{400, "invalid_request", "Required parameter is missing: grant_type"}
	default:
		err = &oauthError{400, "unsupported_grant_type", "Invalid grant_type: " + grant}
	}
	if err != nil {
		return err
	}
	c.account = token.account
	life := or(c.s.Settings().TokenLifetime, googleTokenLifetime)
	token.expires = c.s.now().Add(life)
	access := c.s.tokens.issue(token)
	c.s.secrets.add(access)
	answer := map[string]any{
		"access_token": access,
		"expires_in":   int64(life / time.Second),
		"token_type":   "Bearer",
	}
	if form.Get("grant_type") == "refresh_token" {
		answer["scope"] = strings.Join(token.scopes, " ")
	}
	return writeJSON(c.w, http.StatusOK, answer)
}

// audiences are the values of aud that are right for this request. Google's own
// is so whatever token_uri the client has: Google's documentation wants it
// always, and its client for Python sends it always.
func (c *call) audiences() []string {
	google := []string{googleTokenURL, "https://www.googleapis.com/oauth2/v4/token",
		"https://accounts.google.com/o/oauth2/token"}
	if c.viaGoogleName() {
		return google
	}
	return append([]string{c.s.URL + "/token"}, google...)
}

// claims are what a service account asserts.
type claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Scope    string `json:"scope"`
	Audience string `json:"aud"`
	Issued   int64  `json:"iat"`
	Expires  int64  `json:"exp"`
}

// fromAssertion checks a service account's signed assertion.
func (s *Server) fromAssertion(assertion string, audiences []string) (accessToken, *oauthError) {
	invalid := func(description string) (accessToken, *oauthError) {
		return accessToken{}, &oauthError{400, "invalid_grant", description}
	}
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return invalid("Bad Request")
	}
	var header struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
	}
	var c claims
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !decodePart(parts[0], &header) || !decodePart(parts[1], &c) {
		return invalid("Invalid JWT: Failed to parse.")
	}
	s.tree.mu.RLock()
	account := s.tree.accounts[c.Issuer]
	user := s.tree.accounts[c.Subject]
	delegated := account != nil && account.delegates[user]
	s.tree.mu.RUnlock()
	if account == nil || !account.Service {
		return invalid("Invalid grant: account not found")
	}
	key, err := processKey()
	if err != nil {
		return accessToken{}, &oauthError{500, "internal_failure", err.Error()}
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if header.Algorithm != "RS256" || header.KeyID != "" && header.KeyID != account.keyID ||
		rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest[:], signature) != nil {
		return invalid("Invalid JWT Signature.")
	}
	now := s.now()
	issued, expires := time.Unix(c.Issued, 0), time.Unix(c.Expires, 0)
	if c.Issued == 0 || c.Expires == 0 || expires.Sub(issued) > maxAssertionLife || !expires.After(issued) ||
		issued.After(now.Add(clockSkew)) || now.After(expires.Add(clockSkew)) {
		return invalid("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. " +
			"Check your iat and exp values in the JWT claim.")
	}
	if !slices.Contains(audiences, c.Audience) {
		return invalid("Invalid JWT: Failed audience check. The right audience is " + audiences[0])
	}
	scopes := strings.Fields(c.Scope)
	if len(scopes) == 0 {
		return accessToken{}, &oauthError{400, "invalid_scope", "Invalid OAuth scope or ID token audience provided."}
	}
	token := accessToken{account: account, issued: account, scopes: scopes}
	if c.Subject != "" && c.Subject != account.Email {
		if user == nil || user.Service {
			return invalid("Invalid email or User ID")
		}
		if !delegated {
			return accessToken{}, &oauthError{401, "unauthorized_client",
				"Client is unauthorized to retrieve access tokens using this method, or client not authorized for " +
					"any of the scopes requested."}
		}
		token.account = user
	}
	return token, nil
}

func decodePart(part string, into any) bool {
	data, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(data, into) == nil
}

// fromRefresh checks a user's refresh token.
func (s *Server) fromRefresh(clientID, secret, refresh string) (accessToken, *oauthError) {
	s.tree.mu.RLock()
	defer s.tree.mu.RUnlock()
	for _, a := range s.tree.accounts {
		if a.Service || a.clientID != clientID {
			continue
		}
		if a.clientSecret != secret {
			return accessToken{}, &oauthError{401, "invalid_client", "Unauthorized"}
		}
		if a.refreshToken != refresh {
			return accessToken{}, &oauthError{400, "invalid_grant", "Token has been expired or revoked."}
		}
		return accessToken{account: a, issued: a, scopes: []string{"https://www.googleapis.com/auth/drive"}}, nil
	}
	return accessToken{}, &oauthError{401, "invalid_client", "The OAuth client was not found."}
}
