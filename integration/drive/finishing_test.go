package drive_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitesync/integration/drive"
)

// After the last byte of a large upload Drive works on it for a while.
func TestFinishing(t *testing.T) {
	data := content(2*chunk + 5)
	status := "bytes */524293"
	for _, answers := range []drive.Answers{drive.AnswerNone, drive.AnswerStatus, drive.AnswerAll} {
		t.Run("answers "+string(answers), func(t *testing.T) {
			s := newStudio(t,
				drive.Options{Settings: drive.Settings{Finishing: drive.Finishing{Time: time.Hour, From: 2 * chunk,
					Answers: answers}}})
			uri := s.begin(t, len(data))
			ctx, cancel := context.WithCancel(t.Context())
			put := make(chan int, 1) // the status, 0 for none
			go func() {
				req, err := http.NewRequestWithContext(ctx, "PUT", uri, strings.NewReader(data))
				if err != nil {
					panic(err)
				}
				resp, err := s.http.Do(req)
				if err != nil {
					put <- 0
					return
				}
				resp.Body.Close()
				put <- resp.StatusCode
			}()
			if answers == drive.AnswerAll {
				if got := <-put; got != 308 {
					t.Fatal(got)
				}
			} else {
				eventually(t, "everything has arrived", func() bool { return s.Finishing() == 1 })
			}
			if answers != drive.AnswerNone {
				if code, received, _ := s.send(t, uri, status, ""); code != 308 || received != "bytes=0-524292" {
					t.Fatal(code, received)
				}
			}
			if answers == drive.AnswerStatus {
				select {
				case got := <-put:
					t.Fatalf("the data was answered %d", got)
				default:
				}
			}
			// Who sends it again is answered alike, and it is not stored twice.
			if answers == drive.AnswerAll {
				if code, received, _ := s.send(t, uri, "", data); code != 308 || received != "bytes=0-524292" {
					t.Fatal(code, received)
				}
			}
			if found := s.Find(s.show, "big"); len(found) != 0 {
				t.Fatal(found)
			}
			cancel() // the client goes away; that changes nothing
			if answers != drive.AnswerAll {
				if got := <-put; got != 0 {
					t.Fatal(got)
				}
			}
			s.FinishUploads()
			eventually(t, "the file is finished", func() bool { return s.Finishing() == 0 })
			code, _, body := s.send(t, uri, status, "")
			s.wantFinished(t, code, body, data)
		})
	}
}

// Small uploads need no time, and a server that closes waits for no upload.
func TestFinishingOfSmallUploads(t *testing.T) {
	s := newStudio(t, drive.Options{Settings: drive.Settings{Finishing: drive.Finishing{Time: time.Hour, From: 4}}})
	data := "abc"
	code, _, body := s.send(t, s.begin(t, len(data)), "", data)
	s.wantFinished(t, code, body, data)
	ended := make(chan error, 1)
	uri := s.begin(t, 4)
	req := must(http.NewRequest("PUT", uri, strings.NewReader("abcd")))(t)
	req.GetBody = nil // sent once
	go func() {
		resp, err := s.http.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		ended <- err
	}()
	eventually(t, "the data has arrived", func() bool { return s.Finishing() == 1 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestControlFinishing(t *testing.T) {
	s := newStudio(t)
	s.control(t, "PATCH", "settings", `{"finishing":{"time":"1h","answers":"all"}}`, 200, nil)
	want := drive.Settings{Finishing: drive.Finishing{Time: time.Hour, Answers: drive.AnswerAll}}
	if diff := cmp.Diff(want, s.Settings()); diff != "" {
		t.Fatal(diff)
	}
	s.control(t, "PATCH", "settings", `{"finishing":{"answers":"some"}}`, 400, nil)
	uri := s.begin(t, 3)
	if code, received, _ := s.send(t, uri, "", "abc"); code != 308 || received != "bytes=0-2" {
		t.Fatal(code, received)
	}
	var finishing struct{ Finishing int }
	s.control(t, "GET", "finish", "", 200, &finishing)
	if finishing.Finishing != 1 {
		t.Fatal(finishing)
	}
	s.control(t, "POST", "finish", "", 200, nil)
	eventually(t, "the file is there", func() bool { return len(s.Find(s.show, "big")) == 1 })
}
