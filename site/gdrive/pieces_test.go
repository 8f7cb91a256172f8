package gdrive

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sitesync/integration/drive"
	"sitesync/site"
	"sitesync/site/transport"
)

// puts lists the bodies that arrived at sessions, status queries not counted.
func (s *studio) puts() (bodies []int64) {
	for _, e := range s.Log() {
		if e.Kind == "upload.put" {
			bodies = append(bodies, e.Received)
		}
	}
	return bodies
}

// Drive may need long to finish what it has got, silent or saying that it has all. Nothing is sent again, also by the
// next process.
func TestDriveFinishesLate(t *testing.T) {
	content := large(8 * mib)
	for _, answers := range []drive.Answers{drive.AnswerNone, drive.AnswerStatus, drive.AnswerAll} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(answers, restart), func(t *testing.T) {
				t.Parallel()
				s, j := newLagging(t)
				s.UpdateSettings(
					func(set *drive.Settings) { set.Finishing = drive.Finishing{Time: time.Hour, Answers: answers} },
				)
				open := func() *Site {
					d := s.next(t, j)
					d.stall.Timeout, d.finishFirst = 300*time.Millisecond, 5*time.Millisecond
					return d
				}
				d := open()
				ctx, cancel := newCancel(t)
				done := make(chan error, 1)
				go func() {
					_, err := d.Put(ctx, upload("/SHOW/pub/a", []byte(content)))
					done <- err
				}()
				eventually(
					t,
					"it asks how far Drive is",
					func() bool { return s.Finishing() == 1 && s.Calls()["upload.status"] > 0 },
				)
				if restart {
					cancel()
					<-done
					d = open()
					go func() {
						_, err := d.Put(t.Context(), upload("/SHOW/pub/a", []byte(content)))
						done <- err
					}()
					asked := s.Calls()["upload.status"]
					eventually(t, "the next one asks", func() bool { return s.Calls()["upload.status"] > asked })
				}
				s.FinishUploads()
				if err := <-done; err != nil && !restart && answers == drive.AnswerNone {
					put(t, d, "/SHOW/pub/a", content) // an answer was given up
				} else if err != nil {
					t.Fatal(err)
				}
				s.wantOne(t, s.show, "pub/a", content)
				s.wantCalls(t, "files.create.resumable", 1)
				if got := s.puts(); len(got) != 1 {
					t.Errorf("sent %v", got)
				}
			})
		}
	}
}

// 5xx after the last byte, and Drive finishing then.
func TestErrorWhileDriveFinishes(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	d := s.open(t)
	d.finishFirst = 5 * time.Millisecond
	s.UpdateSettings(func(set *drive.Settings) {
		set.Finishing = drive.Finishing{Time: 300 * time.Millisecond, Answers: drive.AnswerAll}
	})
	s.AddFault(drive.Fault{Kind: "upload.put", Count: 1, Effect: drive.EffectStatus, Status: 503, When: drive.After})
	put(t, d, "/SHOW/pub/a", large(8*mib))
	s.wantCalls(t, "files.create.resumable", 1)
	s.wantCalls(t, "upload.put", 1)
}

// A proxy that refuses large bodies gets smaller ones. Their size is found once.
func TestBodyLimit(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		limit int64
		size  int
	}{
		{10 * mib, 40 * mib}, {mib, 8 * mib}, {granule, 6 * mib}, {mib, testLimit},
	} {
		for _, read := range []bool{false, true} {
			t.Run(fmt.Sprint(test.limit, test.size, read), func(t *testing.T) {
				s := newStudio(t)
				d := s.open(t)
				s.UpdateSettings(func(set *drive.Settings) {
					set.Gateway = drive.Gateway{MaxBody: test.limit, MaxBodyRead: read}
				})
				content := large(test.size)
				put(t, d, "/SHOW/pub/a", content)
				s.wantOne(t, s.show, "pub/a", content)
				s.ResetCalls()
				put(t, d, "/SHOW/pub/b", content)
				for _, e := range s.Log() {
					if e.Status == 413 {
						t.Errorf("tried again with too much: %+v", e)
					}
				}
				if s.received() > int64(len(content)) {
					t.Errorf("%d bytes were sent of %d", s.received(), len(content))
				}
			})
		}
	}
}

// Where nothing helps, the error says what has refused the file.
func TestBodyLimitTooSmall(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100_000, testLimit, 8 * mib} {
		s := newStudio(t)
		d := s.open(t)
		s.UpdateSettings(func(set *drive.Settings) { set.Gateway = drive.Gateway{MaxBody: 10_000} })
		_, err := d.Put(t.Context(), upload("/SHOW/pub/a", []byte(large(size))))
		wantClass(
			t,
			err,
			site.FileError,
			"answered 413: ",
			"proxy or filter",
			"squid",
			"bytes in one request are refused",
		)
		put(t, d, "/SHOW/pub/small", "content")
	}
}

// A proxy that breaks off large bodies, whatever it answers, gets smaller ones.
func TestBodiesBreakOff(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]drive.Fault{
		"reset": {Effect: drive.EffectReset, When: drive.InBody, AfterBytes: 6 * mib},
		"400":   {Effect: drive.EffectHTML, Status: 400, When: drive.After},
		"502":   {Effect: drive.EffectHTML, Status: 502},
		"403":   {Effect: drive.EffectHTML, Status: 403},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStudio(t)
			d := s.open(t)
			fault.Kind, fault.Count = "upload.put", 3
			if fault.When == drive.After {
				fault.Count = 1 // it is done then
			}
			s.AddFault(fault)
			content := large(12 * mib)
			var err error
			for range 5 {
				if _, err = d.Put(t.Context(), upload("/SHOW/pub/a", []byte(content))); site.ClassOf(
					err,
				) != site.Transient {
					break
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			s.wantOne(t, s.show, "pub/a", content)
			s.wantCalls(t, "files.create.resumable", 1)
		})
	}
}

// However often a large file fails, it is not sent whole again and again.
func TestBytesSentInVain(t *testing.T) {
	const size = 12 * mib
	for name, fault := range map[string]drive.Fault{
		"500":             {Kind: "upload.put", Effect: drive.EffectStatus, Status: 500},
		"reset":           {Kind: "upload.put", Effect: drive.EffectReset, When: drive.InBody, AfterBytes: size},
		"hang":            {Kind: "upload.put", Effect: drive.EffectHang},
		"session is gone": {Kind: "upload.put", Effect: drive.EffectStatus, Status: 404, Reason: "notFound"},
		"page":            {Kind: "upload.put", Effect: drive.EffectHTML, Status: 403},
		"truncated":       {Kind: "upload.put", Effect: drive.EffectStatus, Status: 500, When: drive.After},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStudio(t)
			d := s.open(t)
			d.stall.Timeout = 100 * time.Millisecond
			s.AddFault(fault)
			content := large(size)
			for range 12 {
				if _, err := d.Put(t.Context(), upload("/SHOW/pub/a", []byte(content))); err == nil {
					break
				}
			}
			if got := s.received(); got > 3*size+mib {
				t.Errorf("%d MiB were received of %d: %v", got/mib, size/mib, s.puts())
			}
		})
	}
}

// A source that delivers nothing is not taken for a Drive that stands still.
func TestSlowSource(t *testing.T) {
	const size = 8 * mib
	s := newStudio(t)
	d := s.open(t)
	d.stall.Timeout = 200 * time.Millisecond
	content := large(size)
	hang := make(chan struct{})
	u := upload("/SHOW/pub/a", nil)
	u.Size = size
	u.Content = readerAt(func(p []byte, at int64) (int, error) {
		if at > size/2 {
			<-hang
		}
		return strings.NewReader(content).ReadAt(p, at)
	})
	_, err := d.Put(t.Context(), u)
	close(hang)
	if !errors.Is(err, transport.ErrSlowSource) {
		t.Errorf("error %v", err)
	}
	wantClass(t, err, site.NotReady, "the source is slow")
	d.stall.Timeout = stallTimeout
	put(t, d, "/SHOW/pub/a", content)
}

// What is remembered of how files travel is bounded.
func TestPiecesMemory(t *testing.T) {
	var p pieces
	for i := range 3 * maxHistories {
		p.lose(fmt.Sprint(i), 1, 10)
	}
	if len(p.histories) != maxHistories {
		t.Errorf("%d", len(p.histories))
	}
}
