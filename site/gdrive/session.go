package gdrive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"google.golang.org/api/drive/v3"

	"sitesync/site"
	"sitesync/site/pacer"
	"sitesync/site/transport"
)

// errSessionGone says that a resumable session has expired or is otherwise over. There is no use in repeating
// the request.
var errSessionGone = site.Classed(site.FileError, errors.New("the upload session has expired"))

// Answers of a session that make no sense. It is asked again, as after any other transient error.
var (
	errOddRange   = site.Classed(site.Transient, errors.New("google drive says that it has an impossible range"))
	errIncomplete = site.Classed(site.Transient, errors.New("google drive did not take all that was sent"))
)

// errUnfinished says that a session has all bytes, and there is no file yet. The session stays as it is.
var errUnfinished = site.Classed(site.Transient,
	fmt.Errorf("google drive has got all of the file, and is not done with it after %s", finishFor))

// Drive may need minutes to make a file of what it has got. It is asked how far it is, first after finishFirst, then
// ever more slowly up to finishLast, for finishFor. Questions that fail finishFailures times in a row end it.
const (
	finishFirst    = time.Second
	finishLast     = 30 * time.Second
	finishFor      = 30 * time.Minute
	finishFailures = 3
)

// resumable sends a large file as one streamed PUT, or in pieces if need be, and where that breaks, goes on from what
// the server has got, also if it was another process that has begun. It gives up when several attempts in a row get no
// byte further.
func (s *Site) resumable(ctx context.Context, t target, u site.Incoming, body *content) (*drive.File, error) {
	if t.create {
		if err := t.lengthen(ctx); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	answer, session, offset, err := s.resumeSession(ctx, t, u, body)
	if err == nil && answer == nil {
		answer, offset, err = s.stream(ctx, t, u, body, session, offset)
	}
	switch {
	case ctx.Err() != nil:
		return nil, err
	case err == nil:
		s.pieces.done(t.key(), u.Size > s.maxMultipart)
	case mustDiscard(err, offset):
		s.pieces.lose(t.key(), offset, u.Size)
	case isServerError(err) && s.pacer.SucceededSince(began) && s.pieces.stuck(t.key()):
		s.pieces.lose(t.key(), u.Size, u.Size)
	default:
		return nil, err
	}
	_ = s.journal.DropSession(ctx, s.sessionKey(t)) // one that is over is found out later
	return answer, err
}

// mustDiscard reports whether an upload should begin with a new session after an error that outlasted several
// attempts: the session, which has got so many bytes, may be the reason. What has arrived is not discarded for an
// outage, a limit, or a refusal that is not Drive's.
func mustDiscard(err error, got int64) bool {
	if isServerError(err) || errors.Is(err, errIncomplete) {
		return got == 0
	}
	return errors.Is(err, errOddRange) ||
		site.ClassOf(err) == site.FileError && !errors.As(err, new(*sourceError)) && !isForeign(err) && !isTooLarge(err)
}

// unknown stands for the progress of a session that has not answered.
const unknown = -1

// resumeSession finds the session that another process has left behind, if there is one that is still good, and how
// much the server has got of it. If that is everything, and the source is unchanged, the answer is the file.
func (s *Site) resumeSession(ctx context.Context, t target, u site.Incoming,
	body *content) (answer *drive.File, session string, offset int64, err error) {
	session, err = s.journal.Session(ctx, s.sessionKey(t), u.Size, u.ModTime)
	if err != nil {
		return nil, "", 0, asJournalError(err)
	}
	if session == "" || !s.isOurs(session) {
		return nil, "", 0, nil
	}
	answer, offset, err = s.sessionStatus(ctx, session, u.Size)
	if err == nil && answer == nil && offset == u.Size {
		answer, offset, err = s.awaitFile(ctx, session, u.Size)
	}
	switch {
	case err != nil && (site.ClassOf(err) == site.FileError && !isForeign(err) || errors.Is(err, errOddRange)):
		return nil, "", 0, nil // it has expired, or is unusable for another reason
	case err != nil:
		return nil, "", unknown, err
	case answer == nil:
		return nil, session, offset, body.skip(ctx, offset)
	}
	if err := body.skip(ctx, u.Size); err != nil {
		return nil, "", u.Size, err
	}
	// The session answers with the file as it was when the upload ended.
	if answer, err = s.get(ctx, answer.Id, uploadFields); err != nil || answer.Md5Checksum == body.sum() {
		return answer, "", u.Size, err
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

// stream sends the content, from the offset on if a session is given. It returns how much of it the session has got in
// the end, as far as is known.
func (s *Site) stream(ctx context.Context, t target, u site.Incoming, body *content, session string,
	offset int64) (*drive.File, int64, error) {
	r := s.newRetry()
	key := t.key()
	for {
		if session == "" {
			if err := s.pieces.may(key, u.Size); err != nil {
				return nil, 0, err
			}
			var err error
			if session, err = s.startSession(ctx, t, u); err != nil {
				return nil, 0, err
			}
			if err = s.journal.SaveSession(ctx, s.sessionKey(t), u.Size, u.ModTime, session); err != nil {
				return nil, 0, asJournalError(err)
			}
			offset = 0
		}
		n := s.pieces.fit(key, u.Size-offset)
		answer, got, err := s.sendFrom(ctx, session, offset, n, u, body)
		if answer != nil {
			return answer, u.Size, nil
		}
		if errors.Is(err, transport.ErrSlowSource) {
			return nil, offset, err
		}
		if err != nil {
			smaller, limited := false, isPace(err)
			switch {
			case errors.Is(err, errSessionGone):
				s.pieces.lose(key, body.at, u.Size)
				session, err = "", site.Classed(site.Transient, err)
			case isTooLarge(err):
				if smaller = s.pieces.tooLarge(n); !smaller {
					return nil, offset, errEvenSmallest(err, n)
				}
			case isForeign(err):
				smaller = s.pieces.broke(key, n, 0, u.Size, true)
			}
			if !smaller {
				if err := r.again(ctx, err); err != nil {
					return nil, offset, err
				}
			}
			if session == "" {
				continue
			}
			if answer, got, err = s.sessionStatus(ctx, session, u.Size); answer == nil && err == nil &&
				!smaller && !limited && (got <= offset || body.at-got > muchLost) {
				s.pieces.broke(key, n, body.at-offset, u.Size, false) // or a little less: it is read ahead
			}
		}
		if err == nil && answer == nil && got == u.Size {
			answer, got, err = s.awaitFile(ctx, session, u.Size)
		}
		switch {
		case errors.Is(err, errSessionGone):
			s.pieces.lose(key, body.at, u.Size)
			session = ""
		case err != nil:
			return nil, offset, err
		case answer != nil:
			return answer, u.Size, nil // it was finished, and the answer lost
		case got > body.hashed:
			s.pieces.lose(key, body.at, u.Size)
			session = "" // it has got what we have not sent
		case got > offset:
			r.progressed()
			s.pieces.kept(key)
			offset = got
		default:
			offset = got
		}
	}
}

// awaitFile waits until Drive has made a file of a session that has got all bytes. Without an answer and an error, it
// turns out to have got less.
func (s *Site) awaitFile(ctx context.Context, session string, size int64) (answer *drive.File, got int64, err error) {
	began, failures := time.Now(), 0
	for wait := s.finishFirst; ; wait = min(2*wait, finishLast) {
		if err := pacer.Sleep(ctx, wait); err != nil {
			return nil, size, err
		}
		answer, got, err = s.sessionStatus(ctx, session, size)
		switch {
		case ctx.Err() != nil:
			return nil, size, ctx.Err()
		case err != nil && site.ClassOf(err) == site.Transient:
			if failures++; failures == finishFailures {
				return nil, size, err
			}
			continue
		case err != nil, answer != nil, got < size:
			return answer, got, err
		case time.Since(began) > finishFor:
			return nil, size, errUnfinished
		}
		failures = 0
	}
}

// startSession opens a resumable session and returns its URI.
func (s *Site) startSession(ctx context.Context, t target, u site.Incoming) (session string, err error) {
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
			return site.Classed(site.Transient, errors.New("google drive opened no upload session"))
		}
		return nil
	})
	return session, err
}

// sendFrom sends so many bytes of the content from an offset on. It returns the finished file, or how much the server
// has got, which is more than before.
func (s *Site) sendFrom(ctx context.Context, session string, offset, n int64, u site.Incoming,
	body *content) (answer *drive.File, got int64, err error) {
	err = s.onceData(ctx, func() error {
		body.seek(offset)
		header := http.Header{"Content-Type": {contentType}}
		if n < u.Size {
			header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", offset, offset+n-1, u.Size))
		}
		res, err := s.send(ctx, http.MethodPut, session, n, io.LimitReader(body, n), header)
		if err != nil {
			return sessionError(body.blame(err))
		}
		if answer, got, err = sessionAnswer(res, u.Size); err == nil && answer == nil && got <= offset {
			err = errIncomplete
		}
		return err
	})
	return answer, got, err
}

// sessionAnswer reads an answer of a session: the file, or how many bytes of so many have arrived.
func sessionAnswer(res *http.Response, size int64) (answer *drive.File, got int64, err error) {
	defer res.Body.Close()
	if res.StatusCode != http.StatusPermanentRedirect {
		answer, err = decodeFile(res)
		return answer, 0, err
	}
	have := res.Header.Get("Range")
	if got, err = parseRange(have); err != nil || got > size {
		return nil, 0, fmt.Errorf("%w: %q of %d bytes", errOddRange, have, size)
	}
	return nil, got, nil
}

// sessionStatus asks how much of the content has arrived. The answer is the file, if there is one already.
func (s *Site) sessionStatus(ctx context.Context, session string,
	size int64) (answer *drive.File, got int64, err error) {
	err = s.attempt(ctx, func() error {
		res, err := s.send(ctx, http.MethodPut, session, 0, nil,
			http.Header{"Content-Range": {fmt.Sprintf("bytes */%d", size)}})
		if err != nil {
			return sessionError(err)
		}
		answer, got, err = sessionAnswer(res, size)
		return err
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

// sessionError recognizes the end of a session: that is what 404 and 410 mean here, not that a file is missing.
func sessionError(err error) error {
	err = classify(err)
	if status := answerOf(err).status; status == http.StatusNotFound || status == http.StatusGone {
		return errSessionGone
	}
	return err
}
