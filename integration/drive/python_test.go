package drive_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitesync/integration/drive"
	"sitesync/integration/registry"
)

// Google's client for Python, which shares no code with the one for Go.
func TestPythonClient(t *testing.T) {
	t.Parallel() // it mostly waits
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	// it needs PySocks to use a proxy
	python, packages, err := registry.Python(ctx, "google-api-python-client==2.202.0", "PySocks==1.7.1")
	if err != nil {
		t.Fatalf("Google's client for Python cannot be installed; this test needs Python 3.10 or newer with pip, "+
			"which reaches PyPI: %v", err)
	}
	// Large uploads take a while to finish, as the client has to stand it.
	s := newStudio(t,
		drive.Options{Settings: drive.Settings{Finishing: drive.Finishing{Time: 50 * time.Millisecond, From: chunk,
			Answers: drive.AnswerAll}}})
	s.AddFault(drive.Fault{Kind: "files.create*", Name: "blocked.exr", Effect: drive.EffectHTML, Status: 403})
	p := must(s.StartProxy())(t)
	dir := t.TempDir()
	key, ca := filepath.Join(dir, "key.json"), filepath.Join(dir, "ca.pem")
	if err := errors.Join(os.WriteFile(key, s.account.GoogleCredentials(), 0o600),
		os.WriteFile(ca, p.CA, 0o600)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, python, filepath.Join("testdata", "client.py"), key, s.show.ID)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+packages, "HTTPS_PROXY="+p.URL, "https_proxy="+p.URL, "NO_PROXY=",
		"no_proxy=", "HTTPLIB2_CA_CERTS="+ca)
	out, err := cmd.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		t.Fatalf("%v\n%s", err, failed.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err, string(out))
	}
	large := strings.Repeat(string(bytesUpTo(256)), 1024*2) + "end"
	progress, _ := got["progress"].([]any)
	if n := len(progress); n < 3 || progress[0] != float64(chunk) || progress[1] != float64(2*chunk) ||
		progress[n-1] != "524291" {
		t.Errorf("progress %v", progress)
	}
	delete(got, "progress")
	want := map[string]any{
		"multipart": md5Of("abc"), "empty": "0", "large": md5Of(large), "emptyInASession": "0", "readBack": true,
		"pages":  []any{[]any{"empty.exr", "it's small.exr"}, []any{"large.exr", "none.exr"}},
		"byName": 1.0, "updated": map[string]any{"name": "renamed.exr", "md5Checksum": md5Of("new")}, "moved": true,
		"reserved": true, "again": []any{409.0, "fileIdInUse"}, "shortcut": folderType,
		"missing":   []any{404.0, "notFound"},
		"noStorage": []any{403.0, "storageQuotaExceeded"}, "blocked": []any{403.0, ""}, "drives": []any{"SHOW"},
		"user":          s.account.Email,
		"trashedWithIt": true, "deletedWithIt": []any{404.0, "notFound"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func bytesUpTo(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(i)
	}
	return out
}
