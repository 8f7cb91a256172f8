package gdrive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/api/drive/v3"

	"sitesync/uploader/site"
)

// errSessionGone says that a resumable session has expired or is otherwise over.
var errSessionGone = errors.New("the upload session has expired")

// resumable sends a large file as one streamed PUT and, where that breaks, goes on from what the server has
// got. It gives up when several attempts in a row get no byte further.
func (s *Site) resumable(ctx context.Context, t target, u site.Upload, body *content) (*drive.File, error) {
	var session string // a bearer secret: it stays in here
	var offset int64
	wait := newBackoff()
	for failures := 0; ; {
		var answer *drive.File
		err := error(nil)
		if session == "" {
			session, err = s.startSession(ctx, t, u)
			offset = 0
			if err != nil {
				return nil, err
			}
		}
		before := offset
		if answer, offset, err = s.sendFrom(ctx, session, offset, u, body); err == nil && answer != nil {
			return answer, nil
		}
		if errors.Is(err, errSessionGone) {
			session = ""
		} else if err != nil && site.ClassOf(err) != site.Throttled || ended(ctx) {
			return nil, err
		}
		if failures++; offset > before {
			failures = 0
			wait.Reset()
		}
		if failures >= maxAttempts {
			return nil, site.Classed(site.Throttled, err)
		}
		select {
		case <-time.After(wait.NextBackOff()):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if session != "" {
			answer, offset, err = s.sessionStatus(ctx, session, u.Size)
			switch {
			case errors.Is(err, errSessionGone):
				session = ""
			case err != nil:
				return nil, err
			case answer != nil:
				// It was finished, and the answer lost. The source was read to its end, so the sum is right.
				if err := body.rewind(u.Size); err != nil {
					return nil, classify(err)
				}
				return answer, nil
			}
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

// sendFrom sends the content from an offset on. It returns the file if that completed it, and otherwise
// how much the server has got as far as we know.
func (s *Site) sendFrom(ctx context.Context, session string, offset int64, u site.Upload, body *content) (*drive.File, int64, error) {
	if err := s.pacer.wait(ctx); err != nil {
		return nil, offset, err
	}
	if err := body.rewind(offset); err != nil {
		return nil, offset, classify(err)
	}
	header := http.Header{"Content-Type": {contentType}}
	if offset > 0 {
		header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", offset, u.Size-1, u.Size))
	}
	res, err := s.send(ctx, http.MethodPut, session, u.Size-offset, body, header)
	if err != nil {
		return nil, offset, sessionError(body.blame(err))
	}
	defer res.Body.Close()
	return readSession(res, offset)
}

// sessionStatus asks how much of the content has arrived.
func (s *Site) sessionStatus(ctx context.Context, session string, size int64) (answer *drive.File, offset int64, err error) {
	err = s.attempt(ctx, func() error {
		res, err := s.send(ctx, http.MethodPut, session, 0, nil,
			http.Header{"Content-Range": {fmt.Sprintf("bytes */%d", size)}})
		if err != nil {
			return sessionError(err)
		}
		defer res.Body.Close()
		answer, offset, err = readSession(res, 0)
		return err
	})
	return answer, offset, err
}

// readSession reads the answer of a session: the finished file, or how much has arrived.
func readSession(res *http.Response, offset int64) (*drive.File, int64, error) {
	if res.StatusCode != http.StatusPermanentRedirect {
		f, err := decodeFile(res)
		return f, offset, err
	}
	got, err := parseRange(res.Header.Get("Range"))
	if err != nil {
		return nil, offset, site.Classed(site.Throttled, err)
	}
	return nil, got, nil
}

// parseRange reads how many bytes have arrived from a 308's Range header, "bytes=0-N". Without a header
// nothing has.
func parseRange(h string) (int64, error) {
	if h == "" {
		return 0, nil
	}
	rest, ok := strings.CutPrefix(h, "bytes=0-")
	if !ok {
		rest, ok = strings.CutPrefix(h, "0-")
	}
	last, err := strconv.ParseInt(rest, 10, 62)
	if !ok || err != nil || last < 0 {
		return 0, fmt.Errorf("google drive answered with the range %q", h)
	}
	return last + 1, nil
}

// sessionError classes an error of a session. 404 and 410 mean that it is over, not that a file is missing.
func sessionError(err error) error {
	err = classify(err)
	if hasStatus(err, http.StatusNotFound) || hasStatus(err, http.StatusGone) {
		return fmt.Errorf("%w: %w", errSessionGone, site.Classed(site.Throttled, errors.New("it must be started anew")))
	}
	return err
}
