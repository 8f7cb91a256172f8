package gdrive

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"

	"sitesync/site"
)

// rule is the meaning of an answer of Drive. The first rule that matches counts.
type rule struct {
	status int    // HTTP status; 0 fits all from 500 up, anyStatus all
	reason string // Google's reason; "" fits any, noReason an answer without one, notDrives one that Drive did not make
	class  site.Class
	remedy string // what a person should do, if anything
}

// rules is the one place that says what Google's reasons mean. An answer that no rule matches is a file error, unless
// the request is about no file (asSiteError). Sources:
// https://developers.google.com/workspace/drive/api/guides/handle-errors and, for reasons of all of Google's APIs,
// https://developers.google.com/doubleclick-advertisers/core_errors
var rules = []rule{
	{408, "", site.Transient, ""},
	{429, "", site.Transient, ""},
	{0, "", site.Transient, ""},
	{anyStatus, notDrives, site.FileError, ""}, // tried several times; see isUnusualRefusal
	{401, "", site.Unavailable, "the credentials are not accepted; give the site a valid key file"},
	{403, "userRateLimitExceeded", site.Transient, ""},
	{403, "rateLimitExceeded", site.Transient, ""},
	{403, "sharingRateLimitExceeded", site.Transient, ""},
	{403, "concurrentLimitExceeded", site.Transient, ""},
	{403, "servingLimitExceeded", site.Transient, ""},
	{403, noReason, site.FileError, "it names no reason, so something on the way to Google may refuse it"}, // as above
	{403, "dailyLimitExceeded", site.Unavailable,
		"the daily limit of the Google Cloud project is used up; raise it, or wait"},
	{403, "quotaExceeded", site.Unavailable,
		"a quota of the account or of the Google Cloud project is used up; raise it, or wait"},
	{403, "accessNotConfigured", site.Unavailable,
		"enable the Google Drive API in the credentials' Google Cloud project"},
	{403, "insufficientPermissions", site.Unavailable,
		"the credentials lack the scope https://www.googleapis.com/auth/drive; grant it"},
	{403, "domainPolicy", site.Unavailable, "allow Drive for apps in the Google Workspace admin console"},
	{403, "accountDeleted", site.Unavailable, noAccount},
	{403, "accountDisabled", site.Unavailable, noAccount},
	{403, "accountUnverified", site.Unavailable, noAccount},
	{403, "storageQuotaExceeded", site.Unavailable, noStorage},
	{403, "activeItemCreationLimitExceeded", site.Unavailable,
		"the account has created all the items it may; delete some, or use another"},
	{403, "teamDriveFileLimitExceeded", site.Unavailable,
		"the shared drive is full (500,000 items, trash included); empty its trash, or use another"},
	{403, folderIsFull, site.Unavailable, "the folder holds as many items as a folder can; move some elsewhere"},
	{403, "teamDriveHierarchyTooDeep", site.FileError,
		"folders can be 100 levels deep on a shared drive; move the root up, or publish less deep"},
	{403, "teamDriveMembershipRequired", site.Unavailable, "make the account a member of the shared drive"},
	{403, "cannotDownloadAbusiveFile", site.FileError, "Google takes the file for malware or spam, and gives it to " +
		"nobody but its owner; publish it in an archive"},
	{403, "cannotDownloadFile", site.FileError, "people who may only read the file must not download it; allow that " +
		"in its sharing settings"},
	{403, "downloadQuotaExceeded", site.FileError, "the file was downloaded too often lately; Google gives it again " +
		"within a day"},
	{403, "fileNotDownloadable", site.FileError, "it has no content, as a Google document has none; export it, and " +
		"put that on Drive in its place"},
	{416, "", site.NotReady, "the file has become shorter while it was read"},
	{409, "", site.Transient, ""}, // a create looks at what is there; see retry.again
	{412, "", site.Transient, ""}, // we set no conditions, so others are changing it
}

const (
	anyStatus = -1

	// noReason stands for an answer of Google's without a reason. Drive's always have one.
	noReason = "none"

	// notDrives stands for an answer that was not made by Drive's API, such as a page of a proxy or filter. It says
	// nothing about the rate, the credentials, or what is on Drive.
	notDrives = "foreign"
)

const noAccount = "the account can't be used any more; have it enabled again, or give the site another"

const noStorage = "there is no storage left; service accounts own none: use a shared drive, or set \"subject\" to " +
	"act as a user"

// scopes say what Google's reasons of class [site.Unavailable] concern, where that is not the whole site.
var scopes = map[string]site.Scope{
	"storageQuotaExceeded":            site.LargeOnes,
	"teamDriveFileLimitExceeded":      site.OneRoot, // or Creations, see asCreationError
	"activeItemCreationLimitExceeded": site.OneRoot, // so too
	folderIsFull:                      site.OneRoot, // so too
	"teamDriveMembershipRequired":     site.OneRoot,
}

// folderIsFull is the reason for a folder that takes no more.
const folderIsFull = "numChildrenInNonRootLimitExceeded"

// rootError is an error of class [site.Unavailable] of one root.
func rootError(format string, args ...any) error {
	return site.UnavailableIn(site.OneRoot, fmt.Errorf(format, args...))
}

// asRootError is asSiteError for requests that are about a root, or what is above it.
func asRootError(err error) error {
	if isRefused(err) {
		return site.UnavailableIn(site.OneRoot, errors.New(err.Error()))
	}
	return err
}

// asCreationError says that an error came of creating something in a folder: what is there already can be updated.
func asCreationError(err error, folder string) error {
	classed, ok := errors.AsType[*site.Error](err)
	if !ok {
		return err
	}
	switch answerOf(err).reason {
	case folderIsFull:
		return &site.Error{Class: site.Unavailable, Err: fmt.Errorf("folder %s: %w", folder, classed.Err),
			Scope: site.Creations, Folder: folder}
	case "teamDriveFileLimitExceeded", "activeItemCreationLimitExceeded":
		return site.UnavailableIn(site.Creations, classed.Err)
	}
	return err
}

// classify gives an error of a request its class and takes everything secret out of it: the session URIs
// that Go's HTTP client puts into its errors, and token answers.
func classify(err error) error {
	if request, ok := errors.AsType[*url.Error](err); ok {
		err = request.Err // without the address
	}
	var (
		source *sourceError
		token  *tokenError
		answer *googleapi.Error
	)
	switch {
	case err == nil, errors.As(err, new(*site.Error)):
		return err
	case errors.As(err, &source):
		return site.Classed(site.FileError, source)
	case errors.As(err, &token):
		return classifyToken(token)
	case errors.As(err, &answer):
		return classifyAnswer(answer)
	}
	return site.Classed(site.Transient, fmt.Errorf("google drive can't be reached: %w", err))
}

func classifyAnswer(ge *googleapi.Error) error {
	e := &answerError{status: ge.Code, message: strings.TrimRight(ge.Message, ". ")}
	if len(ge.Errors) > 0 {
		e.reason = ge.Errors[0].Reason
	}
	kind := cmp.Or(e.reason, noReason)
	if e.foreign = foreign(ge); e.foreign {
		e.message, kind = foreignAnswer(ge), notDrives
	}
	if e.message == "" {
		e.message = http.StatusText(ge.Code)
	}
	classed := &site.Error{Class: site.FileError, Err: e, RetryAfter: retryAfter(ge.Header), Scope: scopes[e.reason]}
	for _, r := range rules {
		if (r.status == e.status || r.status == 0 && e.status >= 500 || r.status == anyStatus) &&
			(r.reason == "" || r.reason == kind) {
			classed.Class = r.class
			if r.remedy != "" {
				classed.Err = fmt.Errorf("%w: %s", e, r.remedy)
			}
			break
		}
	}
	classed.Shared = isPace(classed)
	return classed
}

// answerError is an error that Drive answered with.
type answerError struct {
	status  int
	reason  string // may be empty
	message string
	foreign bool // it was not made by Drive's API
}

func (e *answerError) Error() string {
	switch {
	case e.foreign:
		return fmt.Sprintf("the request to google drive was answered %d: %s", e.status, e.message)
	case e.reason == "":
		return fmt.Sprintf("google drive answered %d: %s", e.status, e.message)
	}
	return fmt.Sprintf("google drive answered %d %s: %s", e.status, e.reason, e.message)
}

func classifyToken(te *tokenError) error {
	busy := func(err error, wait time.Duration) error {
		return &site.Error{Class: site.Transient, Shared: true, RetryAfter: wait, Err: err}
	}
	if unreachable, ok := errors.AsType[*unreachableError](te); ok {
		return busy(unreachable, 0)
	}
	if page, ok := errors.AsType[*googleapi.Error](te); ok {
		return site.Classed(site.Unavailable, tokenPage(page))
	}
	re, ok := errors.AsType[*oauth2.RetrieveError](te)
	if !ok || re.Response == nil {
		return busy(errors.New("google's token service sent no token"), 0)
	}
	status, header := re.Response.StatusCode, re.Response.Header
	if status >= 500 || status == http.StatusRequestTimeout || status == http.StatusTooManyRequests {
		return busy(fmt.Errorf("google's token service answered %d", status), retryAfter(header))
	}
	// oauth2 reads the answer only for authorized users.
	var answer struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(re.Body, &answer) != nil || answer.Code == "" {
		page := &googleapi.Error{Code: status, Header: header, Body: string(re.Body)}
		return site.Classed(site.Unavailable, tokenPage(page))
	}
	remedy := "check the key file, \"subject\" and, for a subject, the domain-wide delegation"
	if answer.Code == "invalid_grant" { // what is signed with a key says when, by our clock
		if ahead, known := clockAhead(header); !known {
			remedy += ", and the clock of this machine"
		} else if trouble := site.ClockTrouble(ahead, "google's"); trouble != "" {
			remedy = trouble
		}
	}
	return site.Classed(site.Unavailable, fmt.Errorf("google's token service answered %d (%s: %s): %s",
		status, answer.Code, answer.Description, remedy))
}

// tokenPage is the error of a page that came instead of the token service's answer.
func tokenPage(page *googleapi.Error) error {
	return fmt.Errorf("the request to google's token service was answered %d: %s", page.Code, foreignAnswer(page))
}

// sourceError is a failure to read the source, not of the request that was sending it.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "read the source: " + e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// answerOf returns the answer of Drive that an error is; its zero value if it is none.
func answerOf(err error) answerError {
	if answer, ok := errors.AsType[*answerError](err); ok {
		return *answer
	}
	return answerError{}
}

func hasStatus(err error, status int) bool {
	answer := answerOf(err)
	return answer.status == status && !answer.foreign
}

func isNotFound(err error) bool     { return hasStatus(err, http.StatusNotFound) }
func isConflict(err error) bool     { return hasStatus(err, http.StatusConflict) }
func isUnauthorized(err error) bool { return hasStatus(err, http.StatusUnauthorized) }
func isServerError(err error) bool  { return answerOf(err).status >= 500 }

// isForeign reports whether an answer was not made by Drive's API.
func isForeign(err error) bool { return answerOf(err).foreign }

// isTooLarge reports whether a body was refused for its size.
func isTooLarge(err error) bool { return answerOf(err).status == http.StatusRequestEntityTooLarge }

// isPace reports whether an error says that all requests together come too fast.
func isPace(err error) bool {
	return site.ClassOf(err) == site.Transient &&
		slices.Contains([]int{http.StatusForbidden, http.StatusTooManyRequests}, answerOf(err).status)
}

// isUnusableID reports whether a create was refused for its id, as one that was generated for another account is.
func isUnusableID(err error) bool {
	answer := answerOf(err)
	return answer.status == http.StatusBadRequest && strings.Contains(strings.ToLower(answer.message), "file id")
}

// isRefused reports whether Drive has refused something and the file seems to be the reason.
func isRefused(err error) bool {
	return site.ClassOf(err) == site.FileError && answerOf(err).status != 0
}

// isUnusualRefusal reports whether a refusal does not look like Drive's own. It may be gone soon, so it is only
// believed after several attempts.
func isUnusualRefusal(err error) bool {
	answer := answerOf(err)
	return isRefused(err) && !isTooLarge(err) &&
		(answer.foreign || answer.status == http.StatusForbidden && answer.reason == "")
}

// asSiteError is for requests that are about no file in particular: what would be a file error is the site's. The
// error loses its status, so that a 404 is not taken for a deleted file.
func asSiteError(err error) error {
	if isRefused(err) {
		return site.Classed(site.Unavailable, errors.New(err.Error()))
	}
	if site.ClassOf(err) == site.Transient {
		return &site.Error{Class: site.Transient, Err: err, RetryAfter: site.RetryAfter(err), Shared: true}
	}
	return err
}

// maxRetryAfter bounds what is believed of a Retry-After.
const maxRetryAfter = time.Hour

// retryAfter reads the header in both of its forms; 0 if there is none.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	var d time.Duration
	if n, err := strconv.Atoi(v); err == nil {
		d = time.Duration(min(n, int(maxRetryAfter/time.Second))) * time.Second
	} else if t, err := http.ParseTime(v); err == nil {
		d = time.Until(t)
	}
	return min(max(d, 0), maxRetryAfter)
}

const (
	// maxPage is how much is read of an answer that is not one of Drive's API, bytes.
	maxPage = 64 << 10

	// maxExcerpt bounds the excerpt of such an answer in an error, characters.
	maxExcerpt = 160
)

// isPage reports whether an answer that is no error by its status is a page for people instead: a login page, or one
// that says that something is blocked. Drive's own answers may name HTML as their type too, but have no body then.
func isPage(res *http.Response) bool {
	switch {
	case res.StatusCode == http.StatusPermanentRedirect && res.Header.Get("Location") != "":
		return true // Drive's "resume incomplete" leads nowhere
	case res.StatusCode >= 300 && res.StatusCode != http.StatusPermanentRedirect:
		return false
	}
	return strings.Contains(strings.ToLower(res.Header.Get("Content-Type")), "html") && res.ContentLength != 0
}

// pageError reads a page and returns it as Google's client returns errors.
func pageError(res *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxPage)) // what there is of it
	return &googleapi.Error{Code: res.StatusCode, Header: res.Header, Body: string(body)}
}

// foreign reports whether an answer was not made by Drive's API, whose errors are JSON. One that was broken off may
// have been.
func foreign(ge *googleapi.Error) bool {
	broken := strings.Contains(ge.Header.Get("Content-Type"), "json") && !json.Valid([]byte(ge.Body))
	return ge.Message == "" && len(ge.Errors) == 0 && !broken
}

// foreignAnswer describes an answer that Drive's API did not make: its text, and where it may come from.
func foreignAnswer(ge *googleapi.Error) string {
	text := excerpt(ge.Body)
	switch {
	case text != "":
		text = fmt.Sprintf("%q", text)
	case http.StatusText(ge.Code) != "":
		text = http.StatusText(ge.Code)
	default:
		text = "without words"
	}
	if fromGoogle(ge) {
		return text + ", a page of Google's servers and not of Drive"
	}
	text += ", not an answer of Drive: it may come from a proxy or filter between this machine and Google"
	if by := sender(ge.Header); by != "" {
		text += " (" + by + ")"
	}
	return text
}

// sender is who says to have made an answer, or handed it on.
func sender(h http.Header) string {
	var by []string
	for _, name := range []string{"Server", "Via"} {
		if v := shorten(printable(h.Get(name)), 80); v != "" {
			by = append(by, name+": "+v)
		}
	}
	return strings.Join(by, ", ")
}

// fromGoogle reports whether a page looks like one of Google's front ends. It only affects messages.
func fromGoogle(ge *googleapi.Error) bool {
	switch ge.Header.Get("Server") {
	case "ESF", "GSE", "gws", "sffe", "UploadServer", "Google Frontend":
		return ge.Header.Get("Via") == ""
	}
	return strings.Contains(ge.Body, "<title>Error ") && strings.Contains(ge.Body, "That’s an error.")
}

var (
	titleTag  = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title`)
	unseenTag = regexp.MustCompile(`(?is)<(script|style|title|noscript)\b.*?</(script|style|title|noscript)\s*>` +
		`|<!--.*?-->`)
	anyTag = regexp.MustCompile(`(?s)<[^>]*>?`)

	// secretLike is what may be a token, a key or a session's id: a page may repeat the request.
	secretLike = regexp.MustCompile(`(?i)(https?://|ya29\.|bearer\s|upload_id)\S*|[A-Za-z0-9_\-+/=]{32,}`)
)

// excerpt is what a page says to people: its title and the beginning of its text.
func excerpt(page string) string {
	page = strings.ToValidUTF8(page[:min(len(page), maxPage)], "")
	var title string
	if m := titleTag.FindStringSubmatch(page); m != nil {
		title = plain(m[1])
	}
	text := plain(unseenTag.ReplaceAllString(page, " "))
	switch {
	case title == "" || strings.HasPrefix(text, title):
	case text == "":
		text = title
	default:
		text = title + ": " + text
	}
	return shorten(text, maxExcerpt)
}

// plain is text without tags, secrets and what can't be printed.
func plain(text string) string {
	text = printable(html.UnescapeString(anyTag.ReplaceAllString(text, " ")))
	return secretLike.ReplaceAllString(text, "...")
}

// printable is text in one line.
func printable(text string) string {
	unseen := func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }
	return strings.Join(strings.FieldsFunc(text, unseen), " ")
}

func shorten(text string, limit int) string {
	if r := []rune(text); len(r) > limit {
		return strings.TrimSpace(string(r[:limit])) + "..."
	}
	return text
}
