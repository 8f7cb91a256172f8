package drive_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"golang.org/x/oauth2/jwt"
	api "google.golang.org/api/drive/v3"
	"google.golang.org/api/option"

	"sitesync/integration/drive"
)

func jwtConfig(t *testing.T, a *drive.Account, scopes ...string) *jwt.Config {
	t.Helper()
	return must(google.JWTConfigFromJSON(a.Credentials(), scopes...))(t)
}

func TestServiceAccountTokens(t *testing.T) {
	s := newStudio(t)
	user := s.AddUser("td@studio.example")
	other := s.AddUser("other@studio.example")
	s.Delegate(s.account, user)
	foreign := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	foreignPEM := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(foreign)})
	for _, test := range []struct {
		name        string
		change      func(*jwt.Config)
		code        string // "" is a token
		description string
	}{
		{"right", func(*jwt.Config) {}, "", ""},
		{"wrong key", func(c *jwt.Config) { c.PrivateKey = foreignPEM }, "invalid_grant", "Invalid JWT Signature."},
		{"wrong key id", func(c *jwt.Config) { c.PrivateKeyID = "x" }, "invalid_grant", "Invalid JWT Signature."},
		{"unknown account", func(c *jwt.Config) { c.Email = "x@y" }, "invalid_grant", "account not found"},
		{"a user as issuer", func(c *jwt.Config) { c.Email = user.Email }, "invalid_grant", "account not found"},
		{"too long", func(c *jwt.Config) { c.Expires = 2 * time.Hour }, "invalid_grant", "short-lived"},
		{"wrong audience", func(c *jwt.Config) { c.Audience = "https://example.com/token" }, "invalid_grant",
			"audience"},
		{"no scope", func(c *jwt.Config) { c.Scopes = nil }, "invalid_scope", "scope"},
		{"delegated", func(c *jwt.Config) { c.Subject = user.Email }, "", ""},
		{"not delegated", func(c *jwt.Config) { c.Subject = other.Email }, "unauthorized_client", "unauthorized"},
		{"unknown subject", func(c *jwt.Config) { c.Subject = "x@y" }, "invalid_grant", "Invalid email or User ID"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := jwtConfig(t, s.account, api.DriveScope)
			test.change(c)
			token, err := c.TokenSource(t.Context()).Token()
			if test.code == "" {
				if err != nil || token.AccessToken == "" || time.Until(token.Expiry) < 50*time.Minute {
					t.Fatal(token, err)
				}
				return
			}
			var refused *oauth2.RetrieveError
			if !errors.As(err, &refused) {
				t.Fatalf("got %v, want %s", err, test.code)
			}
			var body struct{ Error, Error_description string }
			if err := json.Unmarshal(refused.Body, &body); err != nil || body.Error != test.code ||
				!strings.Contains(body.Error_description, test.description) {
				t.Fatalf("got %s, want %s %s", refused.Body, test.code, test.description)
			}
		})
	}
}

func TestOldAssertion(t *testing.T) {
	clk := newClock()
	s := newStudio(t, drive.Options{Now: clk.Now})
	clk.Advance(90 * time.Minute)
	if _, err := jwtConfig(t, s.account, api.DriveScope).TokenSource(t.Context()).Token(); err == nil ||
		!strings.Contains(err.Error(), "short-lived") {
		t.Fatal(err)
	}
}

func TestMalformedTokenRequests(t *testing.T) {
	s := newStudio(t)
	bearer := "grant_type=" + url.QueryEscape("urn:ietf:params:oauth:grant-type:jwt-bearer")
	for form, want := range map[string]string{
		"":                                     "invalid_request",
		"grant_type=password":                  "unsupported_grant_type",
		bearer:                                 "invalid_grant",
		bearer + "&assertion=a.b.c":            "invalid_grant",
		"grant_type=refresh_token&client_id=x": "invalid_client",
	} {
		resp, body := s.request(t, "POST", "/token", form, "Content-Type", "application/x-www-form-urlencoded")
		if resp.StatusCode < 400 || !strings.Contains(body, `"error":"`+want+`"`) {
			t.Errorf("%q: %s %s, want %s", form, resp.Status, body, want)
		}
	}
	if resp, _ := s.request(t, "GET", "/token", ""); resp.StatusCode != 405 {
		t.Error(resp.Status)
	}
}

func TestDelegationActsAsTheUser(t *testing.T) {
	s := newStudio(t)
	user := s.AddUser("td@studio.example")
	s.Delegate(s.account, user)
	c := jwtConfig(t, s.account, api.DriveScope)
	c.Subject = user.Email
	f := must(service(t, s.Server, c.Client(t.Context())).Files.Create(&api.File{Name: "x"}).
		Media(strings.NewReader("1")).Do())(t)
	if got, _ := s.Get(f.Id); got.Owner != user.Email || got.Parent != user.RootID() {
		t.Fatalf("%+v", got)
	}
}

func TestUserTokens(t *testing.T) {
	s := newStudio(t)
	user := s.AddUser("td@studio.example")
	f := must(s.as(t, user).Files.Create(&api.File{Name: "x"}).Media(strings.NewReader("1")).Fields("*").Do())(t)
	if len(f.Owners) != 1 || f.Owners[0].EmailAddress != user.Email || !f.OwnedByMe {
		t.Fatalf("%+v", f)
	}
	for _, change := range []struct{ key, want string }{{"refresh_token", "invalid_grant"},
		{"client_secret", "invalid_client"}, {"client_id", "invalid_client"}} {
		var doc map[string]string
		if err := json.Unmarshal(user.Credentials(), &doc); err != nil {
			t.Fatal(err)
		}
		doc[change.key] = "wrong"
		creds := must(google.CredentialsFromJSONWithType(t.Context(), must(json.Marshal(doc))(t),
			google.AuthorizedUser))(t)
		if _, err := creds.TokenSource.Token(); err == nil || !strings.Contains(err.Error(), change.want) {
			t.Errorf("wrong %s: %v, want %s", change.key, err, change.want)
		}
	}
}

func TestTokensExpire(t *testing.T) {
	clk := newClock()
	s := newStudio(t, drive.Options{Now: clk.Now, Settings: drive.Settings{TokenLifetime: 10 * time.Minute}})
	get := func() error {
		_, err := s.api.Files.Get("root").Do()
		return err
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	clk.Advance(10 * time.Minute)
	wantError(t, get(), 401, "authError")
}

func TestRevokedAndUnknownTokens(t *testing.T) {
	s := newStudio(t)
	must(s.api.Files.Get("root").Do())(t)
	s.RevokeTokens(s.account)
	_, err := s.api.Files.Get("root").Do()
	wantError(t, err, 401, "authError")
	for _, opt := range []option.ClientOption{
		option.WithoutAuthentication(),
		option.WithTokenSource(oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "x"})),
	} {
		svc := must(api.NewService(context.Background(), option.WithEndpoint(s.URL+"/drive/v3/"), opt))(t)
		_, err := svc.Files.Get("root").Do()
		wantError(t, err, 401, "authError")
	}
	if _, err := s.as(t, s.account).Files.Get("root").Do(); err != nil {
		t.Fatal(err) // a new token is good
	}
}

func TestScopes(t *testing.T) {
	s := newStudio(t)
	svc := service(t, s.Server, jwtConfig(t, s.account, api.DriveReadonlyScope).Client(t.Context()))
	if _, err := svc.Files.Get("root").Do(); err != nil {
		t.Fatal(err)
	}
	_, err := svc.Files.Create(&api.File{Name: "x", MimeType: folderType}).Do()
	wantError(t, err, 403, "insufficientPermissions")
}

// Google's client with nothing but the key file and the endpoint.
func TestPlainCredentials(t *testing.T) {
	s := newStudio(t)
	svc := must(api.NewService(context.Background(), option.WithEndpoint(s.URL+"/drive/v3/"),
		option.WithAuthCredentialsJSON(option.ServiceAccount, s.account.Credentials())))(t)
	must(svc.Files.Create(&api.File{Name: "x", Parents: []string{s.show.ID}}).SupportsAllDrives(true).
		Media(strings.NewReader("1")).Do())(t)
	if s.Calls()["token"] != 1 {
		t.Fatal(s.Calls())
	}
}

func TestCredentialsHoldNoOtherServer(t *testing.T) {
	s := newStudio(t)
	if !bytes.Contains(s.account.Credentials(), []byte(s.URL+"/token")) ||
		!bytes.Contains(s.account.GoogleCredentials(), []byte(`"https://oauth2.googleapis.com/token"`)) {
		t.Fatal("the key files name the wrong token endpoint")
	}
}
