package drive

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// errBroken says that the request's body did not arrive whole: the client went
// away, a newer request took the upload session over, or a fault cut the
// connection. The client has gone.
var errBroken = errors.New("request body broke off")

// apiError is an error as Drive answers it.
type apiError struct {
	Code         int
	Reason       string
	Message      string
	Domain       string // "global" if empty
	LocationType string // "parameter", "header", "other" or empty
	Location     string
	retryAfter   string // the header's value, empty for none
	violation    bool   // the API description forbids the request
}

// Error implements error.
func (e *apiError) Error() string {
	return fmt.Sprintf("%d %s: %s", e.Code, e.Reason, e.Message)
}

// body is the JSON document that Google sends with the error.
func (e *apiError) body() map[string]any {
	domain := e.Domain
	if domain == "" {
		domain = "global"
	}
	detail := map[string]any{"domain": domain, "reason": e.Reason, "message": e.Message}
	if e.Location != "" {
		detail["locationType"] = e.LocationType
		detail["location"] = e.Location
	}
	doc := map[string]any{"code": e.Code, "message": e.Message, "errors": []any{detail}}
	if e.Reason == NoReason {
		delete(doc, "errors")
	}
	return map[string]any{"error": doc}
}

// write sends the error.
func (e *apiError) write(w http.ResponseWriter) error {
	if e.retryAfter != "" {
		w.Header().Set("Retry-After", e.retryAfter)
	}
	if e.Code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://accounts.google.com/", error="invalid_token"`)
	}
	return writeJSON(w, e.Code, e.body())
}

// retryAfter gives whole seconds, rounded up, as the header wants them; nothing
// for no time.
func retryAfter(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// oauthError is an error as Google's token endpoint answers it.
type oauthError struct {
	Code        int
	Err         string
	Description string
}

// Error implements error.
func (e *oauthError) Error() string {
	return fmt.Sprintf("%d %s: %s", e.Code, e.Err, e.Description)
}

func errNotFound(id string) *apiError {
	return &apiError{Code: 404, Reason: "notFound", Message: "File not found: " + id + ".", LocationType: "parameter",
		Location: "fileId"}
}

func errDriveNotFound(id string) *apiError {
	return &apiError{Code: 404, Reason: "notFound", Message: "Shared drive not found: " + id, LocationType: "parameter",
		Location: "driveId"}
}

func errAuth() *apiError {
	return &apiError{Code: 401, Reason: "authError", Message: "Invalid Credentials", LocationType: "header",
		Location: "Authorization"}
}

func errScope() *apiError {
	return &apiError{Code: 403, Reason: "insufficientPermissions",
		Message: "Request had insufficient authentication scopes."}
}

func errFilePermission(id string) *apiError {
	return &apiError{Code: 403, Reason: "insufficientFilePermissions",
		Message: "The user does not have sufficient permissions for file " + id + "."}
}

func errParentPermission() *apiError {
	return &apiError{Code: 403, Reason: "insufficientParentPermissions",
		Message: "Insufficient permissions for the specified parent."}
}

func errInvalid(location, message string) *apiError {
	return &apiError{Code: 400, Reason: "invalid", Message: message, LocationType: "parameter", Location: location}
}

func errBadRequest(message string) *apiError {
	return &apiError{Code: 400, Reason: "badRequest", Message: message}
}

func errNotWritable() *apiError {
	return &apiError{Code: 403, Reason: "fieldNotWritable",
		Message: "The resource body includes fields which are not directly writable."}
}

func errIDInUse() *apiError {
	return &apiError{Code: 409, Reason: "fileIdInUse", Message: "A file already exists with the provided ID.",
		LocationType: "other", Location: "file.id"}
}

func errIDNotUsable() *apiError {
	return &apiError{Code: 400, Reason: "invalid", Message: "The provided file ID is not usable.",
		LocationType: "other", Location: "file.id"}
}

func errInvalidShortcut(message string) *apiError {
	return &apiError{Code: 400, Reason: "invalid", Message: message, LocationType: "other",
		Location: "file.shortcutDetails"}
}

func errBackend(err error) *apiError {
	return &apiError{Code: 500, Reason: "backendError", Message: "Backend Error: " + err.Error()}
}

// knownReasons gives a fault that only names a reason the domain and the
// message that Google's documentation shows for it.
var knownReasons = map[string]struct{ domain, message string }{
	"authError": {"global", "Invalid Credentials"},
	"accessNotConfigured": {"usageLimits", "Access Not Configured. The API (Google Drive API) is not enabled " +
		"for your project. Please use the Google Developers Console to update your configuration."},
	"backendError": {"global", "Backend Error"},
	"cannotDownloadAbusiveFile": {"global",
		"This file has been identified as malware or spam and cannot be downloaded."},
	"cannotDownloadFile":          {"global", "This file cannot be downloaded by the user."},
	"dailyLimitExceeded":          {"usageLimits", "Daily Limit Exceeded"},
	"domainPolicy":                {"global", "The domain administrators have disabled Drive apps."},
	"downloadQuotaExceeded":       {"usageLimits", "The download quota for this file has been exceeded."},
	"fileIdInUse":                 {"global", "A file already exists with the provided ID."},
	"insufficientFilePermissions": {"global", "The user does not have sufficient permissions for this file."},
	"fileNotDownloadable": {"global",
		"Only files with binary content can be downloaded. Use Export with Docs Editors files."},
	"internalError": {"global", "Internal Error"},
	"notFound":      {"global", "File not found: ."},
	"numChildrenInNonRootLimitExceeded": {"global",
		"The limit for this folder's number of children (files and folders) has been exceeded."},
	"rateLimitExceeded":           {"usageLimits", "Rate Limit Exceeded"},
	"sharingRateLimitExceeded":    {"global", "Rate Limit Exceeded"},
	"storageQuotaExceeded":        {"global", "The user's Drive storage quota has been exceeded."},
	"teamDriveFileLimitExceeded":  {"global", "The file limit for this shared drive has been exceeded."},
	"teamDriveHierarchyTooDeep":   {"global", "The shared drive hierarchy depth will exceed the limit."},
	"teamDriveMembershipRequired": {"global", "The attempted action requires shared drive membership."},
	"transientError":              {"global", "Transient Error"},
	"userRateLimitExceeded":       {"usageLimits", "User Rate Limit Exceeded"},
}

// reasonError makes the error of a known or unknown reason.
func reasonError(code int, reason, message string, wait time.Duration) *apiError {
	e := &apiError{Code: code, Reason: reason, Message: message, retryAfter: retryAfter(wait)}
	if e.Reason == "" {
		e.Reason = defaultReason(code)
	}
	known := knownReasons[e.Reason]
	e.Domain = known.domain
	if e.Message == "" {
		e.Message = known.message
	}
	if e.Message == "" {
		e.Message = http.StatusText(code)
	}
	return e
}

func defaultReason(code int) string {
	switch {
	case code == 401:
		return "authError"
	case code == 403:
		return "userRateLimitExceeded"
	case code == 404:
		return "notFound"
	case code == 409:
		return "fileIdInUse"
	case code == 429:
		return "rateLimitExceeded"
	case code >= 500:
		return "backendError"
	}
	return "badRequest"
}
