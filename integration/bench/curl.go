package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	api "google.golang.org/api/drive/v3"
)

// runCurl has curl send the one file of a batch into an upload session: what the machine can do, without what makes an
// upload safe.
func (b *bench) runCurl(ctx context.Context, j job) (out outcome, err error) {
	name := j.batch.files[0]
	session, err := b.openSession(ctx, b.env.Drive.Mkdir(b.env.Show, j.root+"/"+path.Dir(name)), path.Base(name))
	if err != nil {
		return out, fmt.Errorf("open an upload session: %w", err)
	}
	cmd := exec.CommandContext(ctx, "curl", "--silent", "--show-error", "--fail", "--http1.1", "--proxy", b.proxy.URL,
		"--cacert", filepath.Join(b.dir, "ca.pem"), "--output", os.DevNull, "-T",
		filepath.Join(b.storage, filepath.FromSlash(name)), session)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	b.env.Drive.ResetCalls()
	if err := cmd.Run(); err != nil {
		return out, fmt.Errorf("%w: %s", err, &stderr)
	}
	first, last, calls := b.seen()
	out = outcome{files: 1, calls: calls, seconds: last.Sub(first).Seconds(),
		cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	out.bytes, err = b.check(j)
	return out, err
}

// openSession opens an upload session and returns its URI at Google's name, as the proxy knows it.
func (b *bench) openSession(ctx context.Context, folder, name string) (string, error) {
	credentials, err := google.CredentialsFromJSONWithType(ctx, b.env.Account.Credentials(), google.ServiceAccount,
		api.DriveScope)
	if err != nil {
		return "", err
	}
	meta, err := json.Marshal(&api.File{Name: name, Parents: []string{folder}})
	if err != nil {
		return "", err
	}
	address := b.env.Drive.URL + "/upload/drive/v3/files?uploadType=resumable&supportsAllDrives=true"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(meta))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json; charset=UTF-8")
	res, err := oauth2.NewClient(ctx, credentials.TokenSource).Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	session, err := url.Parse(res.Header.Get("Location"))
	if err != nil || session.Host == "" {
		return "", fmt.Errorf("unexpected response: %s", res.Status)
	}
	session.Scheme, session.Host = "https", "www.googleapis.com"
	return session.String(), nil
}
