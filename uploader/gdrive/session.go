package gdrive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"

	"google.golang.org/api/drive/v3"

	"sitesync/uploader/site"
)

// errSessionGone says that a resumable session has expired or is otherwise over. There is no use in repeating
// the request.
var errSessionGone = site.Classed(site.File, errors.New("the upload session has expired"))

// What a session may answer that makes no sense. It is asked again, as with any other trouble of the service.
var (
	errOddRange   = site.Classed(site.Throttled, errors.New("google drive says that it has an impossible range"))
	errIncomplete = site.Classed(site.Throttled, errors.New("google drive did not take all that was sent"))
)

// resumable sends a large file as one streamed PUT and, where that breaks, goes on from what the server has
// got, also if it was another process that has begun. It gives up when several attempts in a row get no byte further.
func (s *Site) resumable(ctx context.Context, t target, u site.Upload, body *content) (*drive.File, error) {
	answer, session, offset, err := s.takeUp(ctx, t, u, body)
	if err == nil && answer == nil {
		answer, err = s.stream(ctx, t, u, body, session, offset)
	}
	if err == nil || spoiled(err) {
		_ = s.journal.DropSession(ctx, t.key()) // one that is over is found out later
	}
	return answer, err
}

// spoiled reports whether an upload should begin with a new session, after an error that was not mended by several
// attempts: the session may be the reason. An outage or a rate limit is none to throw away what has arrived.
func spoiled(err error) bool {
	var source *sourceError
	var answer *answerError
	return errors.Is(err, errOddRange) || errors.Is(err, errIncomplete) || errors.As(err, &answer) && answer.status >= 500 ||
		site.ClassOf(err) == site.File && !errors.As(err, &source)
}

// takeUp finds the session that another process has left behind, if there is one that is still good, and how much
// the server has got of it. If that is everything, and the source is still the same, the answer is the file.
func (s *Site) takeUp(ctx context.Context, t target, u site.Upload, body *content) (answer *drive.File, session string, offset int64, err error) {
	session, err = s.journal.Session(ctx, t.key(), u.Size, u.ModTime)
	if err != nil {
		return nil, "", 0, journalError(err)
	}
	if session == "" || !s.isOurs(session) {
		return nil, "", 0, nil
	}
	answer, offset, err = s.sessionStatus(ctx, session, u.Size)
	switch {
	case err != nil && (site.ClassOf(err) == site.File || errors.Is(err, errOddRange)):
		return nil, "", 0, nil // it has expired, or is of no use for another reason
	case err != nil:
		return nil, "", 0, err
	case answer == nil:
		return nil, session, offset, body.skip(ctx, offset)
	}
	if err := body.skip(ctx, u.Size); err != nil {
		return nil, "", 0, err
	}
	// The session tells how the file was when it ended.
	if answer, err = s.get(ctx, answer.Id, uploadFields); err != nil || answer.Md5Checksum == body.sum() {
		return answer, "", 0, err
	}
	return nil, "", 0, nil
}

// isOurs reports whether a session is at the API's own address. Whoever can write to the journal's database must not be
// able to have our token sent elsewhere.
func (s *Site) isOurs(session string) bool {
	at, err := url.Parse(session)
	api, apiErr := url.Parse(s.endpoint)
	return err == nil && apiErr == nil && at.Scheme == api.Scheme && at.Host == api.Host
}

// stream sends the content, from the offset on if a session is given.
func (s *Site) stream(ctx context.Context, t target, u site.Upload, body *content, session string, offset int64) (*drive.File, error) {
	r := s.newRetry()
	for {
		if session == "" {
			var err error
			if session, err = s.startSession(ctx, t, u); err != nil {
				return nil, err
			}
			if err = s.journal.SaveSession(ctx, t.key(), u.Size, u.ModTime, session); err != nil {
				return nil, journalError(err)
			}
			offset = 0
		}
		answer, err := s.sendFrom(ctx, session, offset, u, body)
		if err == nil {
			return answer, nil
		}
		if errors.Is(err, errSessionGone) {
			session = ""
			err = site.Classed(site.Throttled, err)
		}
		if err := r.again(ctx, err); err != nil {
			return nil, err
		}
		if session == "" {
			continue
		}
		answer, got, err := s.sessionStatus(ctx, session, u.Size)
		switch {
		case errors.Is(err, errSessionGone):
			session = ""
		case err != nil:
			return nil, err
		case answer != nil:
			return answer, nil // it was finished, and the answer lost
		case got > body.hashed:
			session = "" // it has got what we have not sent
		case got > offset:
			r.progressed()
			offset = got
		default:
			offset = got
		}
	}
}

// startSession opens a resumable session and returns its URI.
func (s *Site) startSession(ctx context.Context, t target, u site.Upload) (session string, err error) {
	meta, err := t.metadata(u)
	if err != nil {
		return "", err
	}
	method, address := s.uploadURL(t, "resumable")
	err = s.attempt(ctx, func() error {
		res, err := s.send(ctx, method, address, int64(len(meta)), bytes.NewReader(meta), http.Header{
			"Content-Type":            {"application/json; charset=UTF-8"},
			"X-Upload-Content-Type":   {contentType},
			"X-Upload-Content-Length": {strconv.FormatInt(u.Size, 10)},
		})
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if session = res.Header.Get("Location"); session == "" {
			return site.Classed(site.Throttled, errors.New("google drive opened no upload session"))
		}
		return nil
	})
	return session, err
}

// sendFrom sends the content from an offset to its end, and returns the finished file.
func (s *Site) sendFrom(ctx context.Context, session string, offset int64, u site.Upload, body *content) (answer *drive.File, err error) {
	err = s.onceData(ctx, func() error {
		body.seek(offset)
		header := http.Header{"Content-Type": {contentType}}
		if offset > 0 {
			header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", offset, u.Size-1, u.Size))
		}
		content := readAhead(body)
		res, err := s.send(ctx, http.MethodPut, session, u.Size-offset, content, header)
		content.end()
		if err != nil {
			return sessionError(body.blame(err))
		}
		defer res.Body.Close()
		if res.StatusCode == http.StatusPermanentRedirect {
			return errIncomplete
		}
		answer, err = decodeFile(res)
		return err
	})
	return answer, err
}

// sessionStatus asks how much of the content has arrived. If it is all of it, the answer is the file.
func (s *Site) sessionStatus(ctx context.Context, session string, size int64) (answer *drive.File, got int64, err error) {
	err = s.attempt(ctx, func() error {
		res, err := s.send(ctx, http.MethodPut, session, 0, nil,
			http.Header{"Content-Range": {fmt.Sprintf("bytes */%d", size)}})
		if err != nil {
			return sessionError(err)
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusPermanentRedirect {
			answer, err = decodeFile(res)
			return err
		}
		have := res.Header.Get("Range")
		if got, err = parseRange(have); err != nil || got >= size {
			return fmt.Errorf("%w: %q of %d bytes", errOddRange, have, size)
		}
		return nil
	})
	return answer, got, err
}

var rangePattern = regexp.MustCompile(`^bytes=0-(\d+)$`)

// parseRange reads how many bytes have arrived from a 308's Range header, "bytes=0-N". Without a header
// nothing has.
func parseRange(h string) (int64, error) {
	if h == "" {
		return 0, nil
	}
	m := rangePattern.FindStringSubmatch(h)
	if m == nil {
		return 0, errors.New("not a range from the start")
	}
	last, err := strconv.ParseInt(m[1], 10, 62)
	return last + 1, err
}

// sessionError tells that a session is over: that is what 404 and 410 mean here, not that a file is missing.
func sessionError(err error) error {
	err = classify(err)
	if isNotFound(err) || hasStatus(err, http.StatusGone) {
		return errSessionGone
	}
	return err
}
