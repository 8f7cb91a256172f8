package gdrive

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"sitesync/integration/drive"
	"sitesync/site"
)

// download is how a file comes to be read in a test of faults, and which requests that takes.
type download struct {
	byPath   bool // it has no id
	siblings bool // others of its folder are about to be read
	eager    bool // its size is known, and it is read at once
	parts    bool // it is read in two parts
}

// reads are the kinds of requests that reading makes; each is the first one of a download, or comes after some.
var reads = []struct {
	request
	download
}{
	{request{name: "token", site: true, token: true, json: true}, download{}},
	{request{name: "drives.list", site: true, json: true}, download{byPath: true}},
	{request{name: "files.list, for the root", site: true, json: true}, download{byPath: true}},
	{request{name: "files.list, below the root", skip: 2, json: true}, download{byPath: true}},
	{request{name: "files.list, of a sequence", json: true}, download{siblings: true}},
	{request{name: "files.get, by id", probed: true, json: true, md5: true}, download{}},
	{request{name: "files.get, by id with the content", probed: true, json: true, md5: true}, download{eager: true}},
	{request{name: "files.get, of a sequence", probed: true, json: true, md5: true}, download{siblings: true}},
	{request{name: "files.get, by path", probed: true, json: true, md5: true}, download{byPath: true}},
	{request{name: "files.get, whether it has changed", skip: 1, probed: true, json: true, md5: true},
		download{parts: true}},
	{request{name: "files.download, of all"}, download{}},
	{request{name: "files.download, of all with the metadata"}, download{eager: true}},
	{request{name: "files.download, of a part"}, download{parts: true}},
	{request{name: "files.download, of the rest", skip: 1, before: []drive.Fault{
		{Kind: "files.download", Count: 1, Effect: drive.EffectTruncate, AfterBytes: downloadSize / 4}}}, download{}},
}

// downloadSize is such that each of two breaks halfway brings enough not to be counted together.
const downloadSize = 4 * leastProgress

const notReady verdict = "not ready"

var (
	onlyContent = unless(func(k request) bool { return strings.HasPrefix(k.name, "files.download") },
		"it is about content")
	onlyParts = unless(func(k request) bool {
		return k.name == "files.download, of a part" || k.name == "files.download, of the rest"
	}, "all is asked for")
)

// downloadFaults are those that only downloads know.
var downloadFaults = []fault{
	status(403, "cannotDownloadAbusiveFile", fileError, onlyContent),
	status(403, "downloadQuotaExceeded", fileError, onlyContent),
	status(403, "fileNotDownloadable", fileError, onlyContent),
	status(416, "requestedRangeNotSatisfiable", notReady, onlyContent),
	{name: "hang in the answer", Fault: drive.Fault{Effect: drive.EffectHang, When: drive.InAnswer, AfterBytes: 1000},
		want: transient, never: onlyContent, slow: true},
	{name: "truncated content", Fault: drive.Fault{Effect: drive.EffectTruncate, AfterBytes: 1000}, want: transient,
		never: onlyContent},
	{name: "ranges ignored", Fault: drive.Fault{Effect: drive.EffectIgnoreRange}, want: fine, never: onlyParts},
}

// likeOthers are faults that mean the same as others of their class, as those of uploads show.
var likeOthers = []string{"401 invalid_client", "403 access_denied", "404 not_found", "403 rateLimitExceeded",
	"403 sharingRateLimitExceeded", "403 concurrentLimitExceeded", "403 quotaExceeded", "403 accessNotConfigured",
	"403 insufficientPermissions", "403 domainPolicy", "403 accountDisabled", "409 conflict", "412 conditionNotMet",
	"408", "502", "503", "504", "504 after the work", "502 page"}

// readsFault is what comes of a fault where reading is unlike writing.
func readsFault(k request, f fault, lasts bool) verdict {
	gone := f.Status == 404 && f.Effect == drive.EffectStatus
	switch {
	case k.name == "files.list, of a sequence":
		return fine // each file is asked for
	case f.Effect == drive.EffectWrongMD5, gone && strings.HasPrefix(k.name, "files.download"),
		gone && k.name == "files.get, whether it has changed":
		return notReady // it was deleted or replaced
	}
	return f.expect(k, lasts)
}

// downloaded reads the file as a transfer does, and returns its content.
func (d download) read(ctx context.Context, s *Site, at site.Location, siblings []site.Location,
	size int64) (got string,
	err error) {
	o := site.OpenOptions{Size: size, WillRead: d.eager}
	if d.siblings {
		o.Siblings = func() []site.Location { return siblings }
	}
	if d.byPath {
		at.ID = ""
	}
	f, err := s.Open(ctx, at, o)
	if err != nil {
		return "", err
	}
	defer f.Close()
	parts := []int64{0, f.Size()}
	if d.parts {
		parts = []int64{0, f.Size() / 2, f.Size()}
	}
	for i, from := range parts[:len(parts)-1] {
		r, err := f.(site.Ranger).ReadRange(ctx, from, parts[i+1]-from)
		if err != nil {
			return "", err
		}
		part, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			if why := f.ReadError(ctx, err); why != nil {
				err = why
			}
			return "", err
		}
		got += string(part)
	}
	return got, f.Changed(ctx)
}

// Every fault on every kind of request, once and for long: what it means, and that it leaves nothing wrong behind.
func TestDownloadFaults(t *testing.T) {
	t.Parallel()
	content := large(downloadSize)
	busy := make(chan struct{}, workers)
	tests := map[string]func(*testing.T){}
	for _, k := range reads {
		for _, f := range append(downloadFaults, faults...) {
			if f.never(k.request) != "" || slices.Contains(likeOthers, f.name) {
				continue
			}
			for _, lasts := range []bool{false, true} {
				want := readsFault(k.request, f, lasts)
				name := strings.Join([]string{k.name, f.name, map[bool]string{false: "once", true: "lasting"}[lasts]},
					"/")
				tests[name] = func(t *testing.T) {
					// Who waits for a timeout makes room for others.
					waits := f.slow || f.RetryAfter > 0 || f.Status == 429 || f.Status == 403 && f.want == transient
					if !waits {
						busy <- struct{}{}
						defer func() { <-busy }()
					}
					s := newStudio(t)
					d := s.open(t)
					if f.slow {
						d.stall.Timeout, d.tokens.timeout = shortTimeout, shortTimeout
					}
					folder := s.Mkdir(s.show, "pub/new")
					var all []site.Location
					for i := range listFrom {
						name := fmt.Sprint(i)
						of := content
						if i > 0 {
							of = "x"
						}
						all = append(all, at("/new/"+name, s.AddFile(folder, name, []byte(of))))
					}
					for _, f := range k.before {
						s.AddFault(f)
					}
					hit := f.Fault
					hit.Kind, _, _ = strings.Cut(k.name, ",")
					if hit.Skip = k.skip; len(k.before) > 0 {
						hit.Skip = 0 // those before hit first
					}
					if !lasts {
						hit.Count = 1
					}
					active := s.AddFault(hit)
					got, err := k.read(t.Context(), d, all[0], all, downloadSize)
					if verdictOf(err) != want {
						t.Errorf("came to %s, want %s: %v", verdictOf(err), want, err)
					}
					if err == nil && got != content {
						t.Errorf("%d bytes with MD5 %s", len(got), md5Of(got))
					}
					if active.Hits() == 0 {
						t.Error("the fault has hit nothing")
					}
					active.Remove()
					d.stall.Timeout, d.tokens.timeout = stallTimeout, stallTimeout
					if err := d.CheckReadable(t.Context(), "/SHOW/pub"); err != nil {
						t.Error(err)
					}
					got, err = k.read(t.Context(), d, all[0], all, downloadSize)
					if err != nil || got != content {
						t.Errorf("afterwards: %d bytes, %v", len(got), err)
					}
					if n := len(s.Files()); n != 2+listFrom {
						t.Errorf("%d files and folders", n)
					}
				}
			}
		}
	}
	t.Logf("%d combinations", len(tests))
	allAtOnce(t, tests)
}

// Whatever goes wrong, and how often, what is read is right, or an error says that the service is in trouble.
func TestDownloadAmidFaults(t *testing.T) {
	t.Parallel()
	content := large(12 * leastProgress)
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			s := &studio{Server: drive.StartTest(t, drive.Options{Seed: seed})}
			s.account, s.show = s.AddServiceAccount("sync@studio.iam.example"), s.AddSharedDrive("SHOW")
			s.show.AddMember(s.account, drive.Viewer)
			d := s.open(t)
			id := s.AddFile(s.Mkdir(s.show, "pub"), "a", []byte(content))
			for _, f := range []drive.Fault{
				{Effect: drive.EffectTruncate, AfterBytes: leastProgress + 1, Probability: 0.5},
				{Effect: drive.EffectTruncate, AfterBytes: 1000, Probability: 0.1},
				{Effect: drive.EffectIgnoreRange, Probability: 0.3},
				{Effect: drive.EffectReset, Probability: 0.2},
				{Effect: drive.EffectStatus, Status: 503, Probability: 0.2},
			} {
				f.Kind = "files.download"
				s.AddFault(f)
			}
			right := 0
			for i := range 40 {
				got, err := download{parts: i%2 == 0}.read(t.Context(), d, at("/a", id), nil, int64(len(content)))
				switch {
				case err != nil && site.ClassOf(err) != site.Transient:
					t.Errorf("error %v of class %s", err, site.ClassOf(err))
				case err == nil && got != content:
					t.Errorf("%d bytes with MD5 %s", len(got), md5Of(got))
				case err == nil:
					right++
				}
			}
			if right < 10 {
				t.Errorf("only %d of 40 were read", right)
			}
		})
	}
}
