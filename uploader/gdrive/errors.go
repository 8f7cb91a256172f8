package gdrive

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"

	"sitesync/uploader/site"
)

// rule says what an answer of Drive means. The first rule that fits counts.
type rule struct {
	status int    // HTTP status; 0 fits all from 500 up
	reason string // Google's reason; "" fits any, noReason an answer without one
	class  site.Class
	mend   string // what a person should do about it, if anything
}

// rules is the one place that says what Google's reasons mean. An answer that no rule fits is the file's
// trouble, unless it came to a request that is about no file (ofSite). Sources:
// https://developers.google.com/workspace/drive/api/guides/handle-errors and, for reasons of all of Google's
// APIs, https://developers.google.com/doubleclick-advertisers/core_errors
var rules = []rule{
	{401, "", site.Held, "the credentials are not accepted; give the site a valid key file"},
	{403, "userRateLimitExceeded", site.Throttled, ""},
	{403, "rateLimitExceeded", site.Throttled, ""},
	{403, "sharingRateLimitExceeded", site.Throttled, ""},
	{403, "concurrentLimitExceeded", site.Throttled, ""},
	{403, "servingLimitExceeded", site.Throttled, ""},
	{403, noReason, site.Throttled, "something on the way to Google, such as a proxy, may refuse it"},
	{403, "dailyLimitExceeded", site.Held, "the daily limit of the Google Cloud project is used up; raise it, or wait"},
	{403, "quotaExceeded", site.Held, "a quota of the account or of the Google Cloud project is used up; raise it, or wait"},
	{403, "accessNotConfigured", site.Held, "enable the Google Drive API in the credentials' Google Cloud project"},
	{403, "insufficientPermissions", site.Held, "the credentials lack the scope https://www.googleapis.com/auth/drive; grant it"},
	{403, "domainPolicy", site.Held, "allow Drive for apps in the Google Workspace admin console"},
	{403, "accountDeleted", site.Held, noAccount},
	{403, "accountDisabled", site.Held, noAccount},
	{403, "accountUnverified", site.Held, noAccount},
	{403, "storageQuotaExceeded", site.Held, noStorage},
	{403, "activeItemCreationLimitExceeded", site.Held, "the account has created all the items it may; delete some, or use another"},
	{403, "teamDriveFileLimitExceeded", site.Held, "the shared drive is full (500,000 items, trash included); empty its trash, or use another"},
	{403, "teamDriveMembershipRequired", site.Held, "make the account a member of the shared drive"},
	{408, "", site.Throttled, ""},
	{409, "", site.Throttled, ""}, // a create looks at what is there; see retry.again
	{412, "", site.Throttled, ""}, // we set no conditions, so somebody else is at it
	{429, "", site.Throttled, ""},
	{0, "", site.Throttled, ""},
}

// noReason stands for an answer that tells none. Drive's always do, so it may be a proxy's.
const noReason = "none"

const noAccount = "the account can't be used any more; have it enabled again, or give the site another"

const noStorage = "there is no storage left; service accounts own none: use a shared drive, or set \"subject\" to act as a user"

// classify gives an error of a request its class and takes everything secret out of it: the session URIs
// that Go's HTTP client puts into its errors, and token answers.
func classify(err error) error {
	var (
		classed *site.Error
		source  *sourceError
		token   *tokenError
		answer  *googleapi.Error
		request *url.Error
	)
	switch {
	case err == nil, errors.As(err, &classed):
		return err
	case errors.As(err, &source):
		return site.Classed(site.File, source)
	case errors.As(err, &token):
		return classifyToken(token)
	case errors.As(err, &answer):
		return classifyAnswer(answer)
	case errors.As(err, &request):
		err = request.Err // without the address
	}
	return site.Classed(site.Throttled, fmt.Errorf("google drive can't be reached: %w", err))
}

func classifyAnswer(ge *googleapi.Error) error {
	e := &answerError{status: ge.Code, message: ge.Message}
	if len(ge.Errors) > 0 {
		e.reason = ge.Errors[0].Reason
	}
	if e.message == "" {
		e.message = http.StatusText(ge.Code)
	}
	classed := &site.Error{Class: site.File, Err: e, RetryAfter: retryAfter(ge.Header)}
	for _, r := range rules {
		if (r.status == e.status || r.status == 0 && e.status >= 500) && (r.reason == "" || r.reason == cmp.Or(e.reason, noReason)) {
			classed.Class = r.class
			if r.mend != "" {
				classed.Err = fmt.Errorf("%w: %s", e, r.mend)
			}
			break
		}
	}
	return classed
}

// answerError is an error that Drive answered with.
type answerError struct {
	status  int
	reason  string // may be empty
	message string
}

func (e *answerError) Error() string {
	if e.reason == "" {
		return fmt.Sprintf("google drive answered %d: %s", e.status, e.message)
	}
	return fmt.Sprintf("google drive answered %d %s: %s", e.status, e.reason, e.message)
}

func classifyToken(te *tokenError) error {
	var unreachable *unreachableError
	if errors.As(te, &unreachable) {
		return site.Classed(site.Throttled, unreachable)
	}
	var re *oauth2.RetrieveError
	if !errors.As(te, &re) || re.Response == nil {
		return site.Classed(site.Throttled, errors.New("google's token service sent no token"))
	}
	if status := re.Response.StatusCode; status >= 500 || status == http.StatusRequestTimeout || status == http.StatusTooManyRequests {
		return &site.Error{Class: site.Throttled, Err: fmt.Errorf("google's token service answered %d", status),
			RetryAfter: retryAfter(re.Response.Header)}
	}
	// oauth2 reads the answer only for authorized users.
	var answer struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	_ = json.Unmarshal(re.Body, &answer) // without it the status has to do
	return site.Classed(site.Held, fmt.Errorf("google's token service answered %d (%s: %s): check the key file, \"subject\" and, "+
		"for a subject, the domain-wide delegation", re.Response.StatusCode, answer.Code, answer.Description))
}

// sourceError is a failure to read the source, not of the request that was sending it.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "read the source: " + e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

func hasStatus(err error, status int) bool {
	var ae *answerError
	return errors.As(err, &ae) && ae.status == status
}

func isNotFound(err error) bool     { return hasStatus(err, http.StatusNotFound) }
func isConflict(err error) bool     { return hasStatus(err, http.StatusConflict) }
func isUnauthorized(err error) bool { return hasStatus(err, http.StatusUnauthorized) }

// isRefused reports whether Drive has refused something and the file seems to be the reason.
func isRefused(err error) bool {
	var ae *answerError
	return site.ClassOf(err) == site.File && errors.As(err, &ae)
}

// ofSite is for requests that are about no file in particular: what would be the file's trouble is the site's. The
// error does not tell its status any more, so that nobody takes a 404 for a file that is gone.
func ofSite(err error) error {
	if isRefused(err) {
		return site.Classed(site.Held, errors.New(err.Error()))
	}
	return err
}

// longestRetryAfter bounds what is believed of a Retry-After.
const longestRetryAfter = time.Hour

// retryAfter reads the header in both of its forms; 0 if there is none.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	var d time.Duration
	if n, err := strconv.Atoi(v); err == nil {
		d = time.Duration(min(n, int(longestRetryAfter/time.Second))) * time.Second
	} else if t, err := http.ParseTime(v); err == nil {
		d = time.Until(t)
	}
	return min(max(d, 0), longestRetryAfter)
}
