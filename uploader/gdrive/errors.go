package gdrive

import (
	"context"
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
	reason string // Google's reason; "" fits any
	class  site.Class
	mend   string // what a person should do about it, if anything
}

// rules is the one place that reads Google's reasons. Source:
// https://developers.google.com/workspace/drive/api/guides/handle-errors
var rules = []rule{
	{401, "", site.Held, "Google refuses the credentials; give the site a valid key file"},
	{403, "userRateLimitExceeded", site.Throttled, ""},
	{403, "rateLimitExceeded", site.Throttled, ""},
	{403, "sharingRateLimitExceeded", site.Throttled, ""},
	{403, "dailyLimitExceeded", site.Held, "the daily limit of the Google Cloud project is used up; raise it, or wait"},
	{403, "accessNotConfigured", site.Held, "enable the Google Drive API in the credentials' Google Cloud project"},
	{403, "storageQuotaExceeded", site.Held, "there is no storage left; service accounts own none: use a shared drive, or " +
		"set \"subject\" to act as a user"},
	{403, "teamDriveFileLimitExceeded", site.Held, "the shared drive is full (500,000 items, trash included); empty its trash or use another"},
	{403, "teamDriveMembershipRequired", site.Held, "make the account a member of the shared drive"},
	{403, "", site.File, ""},
	{408, "", site.Throttled, ""},
	{429, "", site.Throttled, ""},
	{0, "", site.Throttled, ""},
}

// classify gives an error of a request its class and takes everything secret out of it: the session URIs
// that Go's HTTP client puts into its errors, and token answers.
func classify(err error) error {
	var done *site.Error
	if err == nil || errors.As(err, &done) {
		return err
	}
	var te *tokenError
	if errors.As(err, &te) {
		return classifyToken(te)
	}
	var ge *googleapi.Error
	if errors.As(err, &ge) {
		return classifyAnswer(ge)
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = fmt.Errorf("google drive can't be reached: %w", ue.Err)
	}
	var se *sourceError
	if errors.As(err, &se) {
		return se.err
	}
	return site.Classed(site.Throttled, err) // the network's trouble
}

func classifyAnswer(ge *googleapi.Error) error {
	reason := ""
	if len(ge.Errors) > 0 {
		reason = ge.Errors[0].Reason
	}
	message := ge.Message
	if message == "" {
		message = http.StatusText(ge.Code)
	}
	e := &site.Error{Class: site.File, Err: &answerError{status: ge.Code, reason: reason, message: message},
		RetryAfter: retryAfter(ge.Header)}
	for _, r := range rules {
		if (r.status == ge.Code || r.status == 0 && ge.Code >= 500) && (r.reason == "" || r.reason == reason) {
			e.Class = r.class
			if r.mend != "" {
				e.Err = fmt.Errorf("%w: %s", e.Err, r.mend)
			}
			break
		}
	}
	return e
}

// answerError is an error that Drive answered with.
type answerError struct {
	status  int
	reason  string
	message string
}

func (e *answerError) Error() string {
	if e.reason == "" {
		return fmt.Sprintf("google drive answered %d: %s", e.status, e.message)
	}
	return fmt.Sprintf("google drive answered %d %s: %s", e.status, e.reason, e.message)
}

func classifyToken(te *tokenError) error {
	var re *oauth2.RetrieveError
	if !errors.As(te, &re) {
		return site.Classed(site.Throttled, errors.New("google's token service can't be reached"))
	}
	if re.Response != nil && (re.Response.StatusCode >= 500 || re.Response.StatusCode == http.StatusTooManyRequests) {
		return site.Classed(site.Throttled, fmt.Errorf("google's token service answered %d", re.Response.StatusCode))
	}
	return site.Classed(site.Held, fmt.Errorf("google refuses the credentials (%s: %s); check the key file, \"subject\" and, "+
		"for a subject, the domain-wide delegation", re.ErrorCode, re.ErrorDescription))
}

// sourceError is a failure to read the source, not of the request that was sending it.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

func hasStatus(err error, status int) bool {
	var ae *answerError
	return errors.As(err, &ae) && ae.status == status
}

func isNotFound(err error) bool     { return hasStatus(err, http.StatusNotFound) }
func isConflict(err error) bool     { return hasStatus(err, http.StatusConflict) }
func isUnauthorized(err error) bool { return hasStatus(err, http.StatusUnauthorized) }

// retryAfter reads the header in both of its forms; 0 if there is none.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if v == "" {
		return 0
	}
	if n, err := strconv.Atoi(v); err == nil {
		return time.Duration(max(n, 0)) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(time.Until(t), 0)
	}
	return 0
}

// ended reports whether the context, and not the service, ended the request.
func ended(ctx context.Context) bool { return ctx.Err() != nil }
