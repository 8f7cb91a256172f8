package gdrive

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"

	"sitesync/integration/drive"
	"sitesync/site"
)

func TestClassify(t *testing.T) {
	for _, test := range []struct {
		status int
		reason string
		class  site.Class
		mend   string // part of it; "" for none
	}{
		{302, "", site.FileError, ""},
		{400, "badRequest", site.FileError, ""},
		{400, "", site.FileError, ""},
		{401, "authError", site.Unavailable, "valid key file"},
		{401, "", site.Unavailable, "valid key file"},
		{403, "userRateLimitExceeded", site.Transient, ""},
		{403, "rateLimitExceeded", site.Transient, ""},
		{403, "sharingRateLimitExceeded", site.Transient, ""},
		{403, "concurrentLimitExceeded", site.Transient, ""},
		{403, "servingLimitExceeded", site.Transient, ""},
		{403, "dailyLimitExceeded", site.Unavailable, "raise it"},
		{403, "quotaExceeded", site.Unavailable, "raise it"},
		{403, "accessNotConfigured", site.Unavailable, "enable the Google Drive API"},
		{403, "insufficientPermissions", site.Unavailable, "scope"},
		{403, "domainPolicy", site.Unavailable, "admin console"},
		{403, "accountDeleted", site.Unavailable, "enabled again"},
		{403, "accountDisabled", site.Unavailable, "enabled again"},
		{403, "accountUnverified", site.Unavailable, "enabled again"},
		{403, "storageQuotaExceeded", site.Unavailable, "use a shared drive"},
		{403, "activeItemCreationLimitExceeded", site.Unavailable, "delete some"},
		{403, "teamDriveFileLimitExceeded", site.Unavailable, "empty its trash"},
		{403, "teamDriveMembershipRequired", site.Unavailable, "member"},
		{403, "insufficientFilePermissions", site.FileError, ""},
		{403, "insufficientParentPermissions", site.FileError, ""},
		{403, "numChildrenInNonRootLimitExceeded", site.Unavailable, "move some elsewhere"},
		{403, "teamDriveHierarchyTooDeep", site.FileError, "100 levels deep"},
		{403, "cannotDownloadAbusiveFile", site.FileError, "malware"},
		{403, "cannotDownloadFile", site.FileError, "sharing settings"},
		{403, "downloadQuotaExceeded", site.FileError, "within a day"},
		{403, "fileNotDownloadable", site.FileError, "no content"},
		{416, "requestedRangeNotSatisfiable", site.NotReady, "shorter"},
		{403, "aReasonOfTomorrow", site.FileError, ""},
		{403, "", site.FileError, "something on the way"},
		{404, "notFound", site.FileError, ""},
		{408, "", site.Transient, ""},
		{409, "fileIdInUse", site.Transient, ""},
		{410, "", site.FileError, ""},
		{412, "conditionNotMet", site.Transient, ""},
		{413, "uploadTooLarge", site.FileError, ""},
		{429, "rateLimitExceeded", site.Transient, ""},
		{429, "", site.Transient, ""},
		{500, "backendError", site.Transient, ""},
		{502, "", site.Transient, ""},
		{503, "", site.Transient, ""},
		{504, "", site.Transient, ""},
		{599, "storageQuotaExceeded", site.Transient, ""},
	} {
		t.Run(fmt.Sprint(test.status, test.reason), func(t *testing.T) {
			ge := &googleapi.Error{Code: test.status, Message: "words"}
			if test.reason != "" {
				ge.Errors = []googleapi.ErrorItem{{Reason: test.reason}}
			}
			err := classify(fmt.Errorf("wrapped: %w", ge))
			wantClass(t, err, test.class, test.mend)
			want := strings.TrimSpace(fmt.Sprint("google drive answered ", test.status, " ", test.reason)) + ": words"
			if test.mend == "" && err.Error() != want {
				t.Errorf("error %q, want %q", err, want)
			}
			if again := classify(err); again != err {
				t.Errorf("classed twice: %v", again)
			}
		})
	}
}

func TestClassifyOthers(t *testing.T) {
	secret := "https://www.googleapis.com/upload?upload_id=S3cr3t"
	broken := errors.New("the disk is broken")
	retrieve := func(status int, body string) error {
		return &url.Error{Op: "Post", URL: secret, Err: &tokenError{&oauth2.RetrieveError{
			Response: &http.Response{StatusCode: status}, Body: []byte(body), ErrorDescription: "S3cr3t"}}}
	}
	for _, test := range []struct {
		name  string
		err   error
		class site.Class
		want  string
	}{
		{"network", &url.Error{Op: "Put", URL: secret, Err: io.ErrUnexpectedEOF}, site.Transient,
			"google drive can't be reached: unexpected EOF"},
		{"bare", io.EOF, site.Transient, "google drive can't be reached: EOF"},
		{"source", &url.Error{Op: "Put", URL: secret, Err: &sourceError{broken}}, site.FileError,
			"read the source: the disk is broken"},
		{"token network", &url.Error{Op: "Post", URL: secret, Err: &tokenError{&unreachableError{io.EOF}}},
			site.Transient,
			"google's token service can't be reached: EOF"},
		{"token answer", &url.Error{Op: "Post", URL: secret, Err: &tokenError{errors.New("S3cr3t")}}, site.Transient,
			"google's token service sent no token"},
		{"token outage", retrieve(503, "S3cr3t"), site.Transient, "google's token service answered 503"},
		{"token limit", retrieve(429, "S3cr3t"), site.Transient, "google's token service answered 429"},
		{"token refused", retrieve(400,
			`{"error": "invalid_grant", "error_description": "Bad", "access_token": "S3cr3t"}`), site.Unavailable,
			"google's token service answered 400 (invalid_grant: Bad): check the key file, \"subject\" and, for a " +
				"subject, the domain-wide delegation, and the clock of this machine"},
		{"classed", site.Classed(site.NotReady, broken), site.NotReady, "the disk is broken"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := classify(test.err)
			wantClass(t, err, test.class)
			if err.Error() != test.want {
				t.Errorf("error %q, want %q", err, test.want)
			}
		})
	}
	if err := classify(nil); err != nil {
		t.Error(err)
	}
}

// What is about no file can't be its trouble, and a 404 to it says nothing of a file that is gone.
func TestOfSite(t *testing.T) {
	for _, test := range []struct {
		err  error
		want site.Class
	}{
		{classify(&googleapi.Error{Code: 400}), site.Unavailable},
		{classify(&googleapi.Error{Code: 404}), site.Unavailable},
		{classify(&googleapi.Error{Code: 503}), site.Transient},
		{fmt.Errorf("wrapped: %w", errCacheInvalid), site.Transient},
		{errors.New("not an answer"), site.FileError},
	} {
		err := asSiteError(test.err)
		wantClass(t, err, test.want, test.err.Error())
		if isNotFound(err) {
			t.Errorf("taken for what is gone: %v", err)
		}
	}
	if err := asSiteError(nil); err != nil {
		t.Error(err)
	}
}

func TestRetryAfter(t *testing.T) {
	for _, test := range []struct {
		header   string
		min, max time.Duration
	}{
		{"", 0, 0},
		{"0", 0, 0},
		{"7", 7 * time.Second, 7 * time.Second},
		{"-7", 0, 0},
		{"3600", time.Hour, time.Hour},
		{"99999999999", time.Hour, time.Hour},
		{"soon", 0, 0},
		{time.Now().Add(30 * time.Minute).UTC().Format(http.TimeFormat), 29 * time.Minute, 30 * time.Minute},
		{time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat), 0, 0},
		{time.Now().Add(30 * time.Hour).UTC().Format(http.TimeFormat), time.Hour, time.Hour},
	} {
		if got := retryAfter(http.Header{"Retry-After": {test.header}}); got < test.min || got > test.max {
			t.Errorf("Retry-After %q is %v, want %v to %v", test.header, got, test.min, test.max)
		}
	}
	err := classify(&googleapi.Error{Code: 503, Header: http.Header{"Retry-After": {"7"}}})
	var e *site.Error
	if !errors.As(err, &e) || e.RetryAfter != 7*time.Second {
		t.Errorf("the error lost it: %+v", e)
	}
}

// What Drive answers for long is told with its class.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status int
		reason string
		class  site.Class
		tries  int
	}{
		{403, "storageQuotaExceeded", site.Unavailable, 1},
		{403, "teamDriveFileLimitExceeded", site.Unavailable, 1},
		{403, "numChildrenInNonRootLimitExceeded", site.Unavailable, 1},
		{403, "userRateLimitExceeded", site.Transient, maxAttempts},
		{503, "backendError", site.Transient, maxAttempts},
	} {
		for _, size := range []int{1, testLimit + 1} {
			t.Run(fmt.Sprint(test.reason, size), func(t *testing.T) {
				s := newStudio(t)
				d := s.open(t)
				fault := s.AddFault(
					drive.Fault{
						Kind:   "files.create.*",
						Effect: drive.EffectStatus,
						Status: test.status,
						Reason: test.reason,
					},
				)
				_, err := d.Put(t.Context(), upload("/SHOW/pub/a", []byte(large(size))))
				wantClass(t, err, test.class, "upload /SHOW/pub/a: ", test.reason)
				if fault.Hits() != test.tries {
					t.Errorf("tried %d times, want %d", fault.Hits(), test.tries)
				}
			})
		}
	}
}

// No error says what must not be known: neither the token, nor the key, nor the URI of a session.
func TestNoSecretInErrors(t *testing.T) {
	content := []byte(large(testLimit + 1))
	for _, kind := range []string{"token", "drives.list", "files.list", "files.generateIds", "files.create",
		"files.create.resumable",
		"files.create.multipart", "upload.put", "upload.status"} {
		for name, fault := range map[string]drive.Fault{
			"reset":        {Effect: drive.EffectReset},
			"reset after":  {Effect: drive.EffectReset, When: drive.After},
			"hang":         {Effect: drive.EffectHang},
			"status":       {Effect: drive.EffectStatus, Status: 400, Reason: "invalid"},
			"truncated":    {Effect: drive.EffectTruncate},
			"invalid JSON": {Effect: drive.EffectInvalidJSON},
		} {
			if name == "hang" && !strings.HasPrefix(kind, "upload.") && !strings.HasPrefix(kind, "files.create.") {
				continue // these wait for metadataTimeout, not for the watchdog
			}
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				s := newStudio(t)
				d := s.open(t)
				d.stall.Timeout = 50 * time.Millisecond
				fault.Kind = kind
				s.AddFault(fault)
				if kind == "upload.status" {
					s.AddFault(
						drive.Fault{Kind: "upload.put", Effect: drive.EffectReset, When: drive.InBody, AfterBytes: mib},
					)
				}
				for _, c := range [][]byte{content, content[:1]} {
					_, err := d.Put(t.Context(), upload("/SHOW/pub/new/a", c))
					for _, secret := range []string{"http://", "upload_id", "Bearer", "ya29.", "assertion",
						"PRIVATE KEY"} {
						if err != nil && strings.Contains(err.Error(), secret) {
							t.Errorf("error %q has %q in it", err, secret)
						}
					}
				}
			})
		}
	}
}
