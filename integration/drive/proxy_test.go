package drive_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	api "google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"sitesync/integration/drive"
)

// through is an HTTP transport that uses the proxy.
func through(t testing.TB, p *drive.Proxy) *http.Transport {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(p.CA) {
		t.Fatal("the CA is no PEM")
	}
	transport := &http.Transport{Proxy: http.ProxyURL(must(url.Parse(p.URL))(t)),
		TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// Google's client with its own endpoint and Google's token_uri.
func TestProxy(t *testing.T) {
	s := newStudio(t)
	p := must(s.StartProxy())(t)
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: through(t, p)})
	credentials := must(google.CredentialsFromJSONWithType(ctx, s.account.GoogleCredentials(), google.ServiceAccount,
		api.DriveScope))(t)
	svc := must(api.NewService(ctx, option.WithHTTPClient(oauth2.NewClient(ctx, credentials.TokenSource))))(t)
	for _, size := range []int{10, 3*chunk + 1} {
		data := content(size)
		f := must(svc.Files.Create(&api.File{Name: "x", Parents: []string{s.show.ID}}).SupportsAllDrives(true).
			Media(strings.NewReader(data), googleapi.ChunkSize(chunk)).Fields("md5Checksum").Do())(t)
		if f.Md5Checksum != md5Of(data) {
			t.Fatalf("%+v", f)
		}
	}
	s.AddFault(drive.Fault{Kind: "files.create", Count: 1, Effect: drive.EffectReset, When: drive.After})
	if _, err := svc.Files.Create(&api.File{Name: "dir", MimeType: folderType, Parents: []string{s.show.ID}}).
		SupportsAllDrives(true).Do(); err == nil {
		t.Fatal("no reset")
	}
	if len(s.Find(s.show, "dir")) != 1 {
		t.Fatal(s.Files())
	}
}

func TestProxyRefusesOtherHosts(t *testing.T) {
	s := newStudio(t)
	p := must(s.StartProxy())(t)
	client := &http.Client{Transport: through(t, p)}
	for _, target := range []string{"https://example.com/", "https://www.googleapis.com:8443/",
		"https://storage.googleapis.com/"} {
		if resp, err := client.Get(target); err == nil {
			resp.Body.Close()
			t.Errorf("%s: %s", target, resp.Status)
		}
	}
	resp := must(client.Get("http://example.com/"))(t)
	defer resp.Body.Close()
	if resp.StatusCode != 403 {
		t.Error(resp.Status)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.StartProxy(); err == nil {
		t.Fatal("a closed server started a proxy")
	}
}
