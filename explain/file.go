package explain

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"

	"sitesync/avalon"
	"sitesync/duration"
	"sitesync/site"
	"sitesync/uploader"
)

// file evaluates the rules for one file, in the order in which the uploader does.
func (x *explanation) file(f *avalon.File) (File, avalon.Status) {
	decision := x.Rules.Evaluate(f, x.now)
	rec, _ := f.RecordFor(x.remote.Name)
	out := File{ID: f.ID.String(), Path: f.Path, Size: f.Size, State: states[decision.Status], RemoteID: rec.RemoteID,
		SyncedAt: date(rec.CreatedAt), Tries: rec.Tries, Error: rec.Error, LastFailed: date(rec.LastFailed)}
	switch decision.Status {
	case avalon.Invalid:
		out.Findings.add("entry", Wrong, Remedy{Text: "fix the document, or publish again"}, "its entry is invalid: %s",
			decision.Problem).Cause = decision.Problem
	case avalon.Untracked:
		out.Findings.add("record", Wrong, Remedy{"add the site; with --dry-run it shows what else would be synced",
			"sitesync add-site " + ShellQuote(x.rep.Key.Project)},
			"it has no record of site %s, so it is not meant to be synced", x.remote.Name)
	case avalon.Synced:
		since := "an unknown time"
		if !rec.CreatedAt.IsZero() {
			since = clock(rec.CreatedAt)
		}
		out.Findings.add("record", OK, Remedy{}, "it has been on site %s since %s", x.remote.Name, since)
		x.compare(f, rec, &out)
	case avalon.Paused:
		out.Findings.add("record", OK, Remedy{}, "site %s waits for it", x.remote.Name)
		out.Findings.add("paused", Wrong, Remedy{Text: "remove paused from its record of site " + x.remote.Name +
			"; its upload begins at once"}, "its record has paused, so it is left alone")
	default:
		out.Findings.add("record", OK, Remedy{}, "site %s waits for it", x.remote.Name)
		x.pending(f, rec, decision, &out)
	}
	out.Severity = out.Findings.worst()
	return out, decision.Status
}

// retryCommand has a file that has failed tried again.
func (x *explanation) retryCommand() string {
	return fmt.Sprintf("sitesync retry %s --representation %s", ShellQuote(x.rep.Key.Project),
		ShellQuote(x.rep.Key.ID.String()))
}

// ShellQuote is a word as it is typed in a shell, without what could control a terminal.
func ShellQuote(word string) string {
	word = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, word)
	if word == "" || strings.ContainsFunc(word, func(r rune) bool {
		return !(unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_-.", r))
	}) {
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return word
}

// pending goes on with a file that the site waits for.
func (x *explanation) pending(f *avalon.File, rec avalon.SiteRecord, decision avalon.Decision, out *File) {
	lastErr := cmp.Or(rec.Error, "no error is recorded")
	if !rec.LastFailed.IsZero() {
		lastErr = fmt.Sprintf("the last at %s: %s", clock(rec.LastFailed), lastErr)
	}
	switch n, limit := rec.Tries, x.Rules.RetryCount; {
	case decision.Status == avalon.Failed:
		out.Findings.add("tries", Wrong, Remedy{"fix the cause, then retry", x.retryCommand()},
			"%d tries failed and retry_cnt is %d, so it is not tried again; %s", n, limit, lastErr).Cause = rec.Error
	case n == 0:
		out.Findings.add("tries", OK, Remedy{}, "none of %d tries has failed", limit)
	default:
		out.Findings.add("tries", Waiting, Remedy{}, "%d of %d tries failed, %s", n, limit, lastErr).Cause = rec.Error
	}
	if from, ok := f.RecordFor(x.Rules.From); !ok || !from.Created {
		out.Findings.add("active site", Wrong,
			Remedy{Text: fmt.Sprintf("bring it to site %s, which then sets created_dt in its record", x.Rules.From)},
			"it is not on site %s, so there is nothing to upload", x.Rules.From)
		return
	}
	out.Findings.add("active site", OK, Remedy{}, "it is on site %s", x.Rules.From)
	if decision.Status == avalon.BackingOff {
		next := x.now.Add(decision.Wait)
		out.NextTry = date(next)
		now := fmt.Sprintf("nothing; it is tried again at %s. To try it now", clock(next))
		out.Findings.add("wait", Waiting, Remedy{now, x.retryCommand() + " --waiting"},
			"the next try is at %s, in %s", clock(next),
			duration.Exact(max(decision.Wait.Round(time.Second), time.Second)))
	}
	ready := x.source(f, rec, out)
	if decision.Status == avalon.Failed {
		return
	}
	if writable := x.writable(); writable && ready && decision.Status == avalon.Pending && x.findings.worst() == OK &&
		out.Findings.worst() != Wrong {
		out.Findings.add("upload", Waiting,
			Remedy{"nothing; it is uploaded now or next. If it is not, read the log, and", "sitesync status"},
			"nothing holds it up: it is uploaded now or next")
	}
}

// heldUploads say what is held, if that is not a root.
var heldUploads = map[uploader.TargetKind]string{
	uploader.ProjectFolder: "uploads of this folder are held",
	uploader.LargeFiles:    "uploads of this size are held",
	uploader.NewFiles:      "new files are held, and this one if the site has none of its name",
}

// source looks at what is to be uploaded, and reports whether it is ready.
func (x *explanation) source(f *avalon.File, rec avalon.SiteRecord, out *File) (ready bool) {
	seen, err := x.inspector.Inspect(x.ctx, f, x.rep.Roots)
	out.Source, out.Remote = seen.Local, seen.Remote
	for _, h := range x.holds {
		if h.Kind != uploader.SiteTarget && h.Concerns(seen, f.Size) {
			out.Findings.addHold(cmp.Or(heldUploads[h.Kind], "uploads of this root are held"), h)
		}
	}
	wrong, here := Wrong, ""
	if x.holder != "" { // the storage may be all right on that machine
		wrong, here = Unknown, fmt.Sprintf(" (seen from this machine; %s does the work)", x.holder)
	}
	if err == nil {
		if seen.Stale && rec.Tries == 0 {
			out.Findings.add("source", Waiting,
				Remedy{Text: "nothing; a newer file is waited for, and the present one is uploaded if none comes"},
				"the file there is of %s, but a newer one was published%s", clock(seen.Modified), here).Cause = "stale"
			return false
		}
		out.Findings.add("source", OK, Remedy{}, "it is there, %s%s", humanize.IBytes(uint64(seen.Size)), here)
		return true
	}
	temporary := ""
	remedy, severity := Remedy{Text: "fix the file: " + err.Error()}, wrong
	switch site.ClassOf(err) {
	case site.NotReady:
		remedy.Text = "put the file there as it was published, or publish it again"
		if _, err := os.Lstat(seen.Local + ".tmp"); seen.Local != "" && err == nil {
			temporary = "; it is there as *.tmp, which publishing renames in the end"
			remedy.Text = "rename the *.tmp if it is complete, or publish it again"
		}
		if rec.Tries == 0 {
			severity = Waiting
			remedy.Text = fmt.Sprintf("nothing if it is still being published; otherwise put the file there. "+
				"After %s of waiting each check costs a try", duration.Exact(x.Config.SourceGracePeriod))
		}
	case site.Unavailable:
		remedy.Text = "fix the storage or the settings: " + err.Error()
	}
	cause := err.Error()
	if errors.Is(err, fs.ErrNotExist) {
		cause = "not there"
	}
	out.Findings.add("source", severity, remedy, "%v%s%s", err, temporary, here).Cause = cause + temporary
	return false
}

func date(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// compare checks whether a synced file is still where it was put, with the content of its source.
func (x *explanation) compare(f *avalon.File, rec avalon.SiteRecord, out *File) {
	asItIs := *f
	asItIs.Size = avalon.UnknownSize
	seen, srcErr := x.inspector.Inspect(x.ctx, &asItIs, x.rep.Roots)
	out.Source, out.Remote = seen.Local, seen.Remote
	unknown := func(remedy, format string, args ...any) {
		out.Findings.add("remote", Unknown, Remedy{Text: remedy}, format, args...).Cause = remedy
	}
	wrong := func(remedy, format string, args ...any) {
		const again = "delete created_dt from its record, which uploads it again"
		out.Findings.add("remote", Wrong, Remedy{Text: remedy + again}, format, args...).Cause = remedy
	}
	if seen.Remote == "" {
		unknown("fix the settings: "+srcErr.Error(), "its path on site %s is unknown: %v", x.remote.Name, srcErr)
		return
	}
	got, err := x.probe(seen.Remote, rec.RemoteID)
	switch {
	case errors.Is(err, errLookups):
		unknown("look at the others first", "%v", err)
	case err != nil:
		unknown("fix the site: "+err.Error(), "cannot look it up: %v", err)
	case got.State == site.Trashed:
		wrong("restore it from the trash of the site, or ", "it, or a folder above it, is in the trash of the site")
	case got.State == site.Moved:
		folder := ""
		if got.CurrentFolder != "" {
			folder = fmt.Sprintf(" in folder %q", got.CurrentFolder)
		}
		wrong("move it back, or ", "it was moved or renamed: it is now %q%s", got.Name, folder)
	case got.State == site.NotFound:
		wrong("", "it no longer exists: it was deleted")
	case got.Folder:
		wrong("rename the folder, then ", "a folder of its name is in its place")
	default:
		another := ""
		if rec.RemoteID != "" && got.ID != rec.RemoteID {
			another = ", as another file than the one that was uploaded"
		}
		out.Findings.add("remote", OK, Remedy{}, "it is there, %s%s", humanize.IBytes(uint64(got.Size)), another).
			Cause = another
		x.compareContent(f, seen, srcErr, got, out)
	}
}

// maxLookups bounds how many files that are not listed at their paths are looked up one by one, so that a folder of
// 4,000 frames that was moved does not use up the requests that the uploader may make.
const maxLookups = 50

var errLookups = fmt.Errorf("like %d others it is not listed at its path, and was not looked up by its id", maxLookups)

// probe looks a file up on the site. After an error that is no file's own, the site is not asked any more.
func (x *explanation) probe(path, id string) (site.Found, error) {
	s, err := x.open()
	if err != nil {
		return site.Found{}, err
	}
	prober, ok := s.(site.Prober)
	if !ok {
		return site.Found{}, errors.New("this kind of site cannot look up files")
	}
	enough := x.lookups >= maxLookups
	if enough {
		id = "" // only what is listed at the path, which takes no request of its own
	}
	found, err := prober.Probe(x.ctx, path, id)
	if enough && err == nil && found.State == site.NotFound {
		return found, errLookups
	}
	if found.ByID {
		x.lookups++
	}
	if err != nil && site.ClassOf(err) != site.FileError {
		x.siteErr = err
	}
	return found, err
}

// compareContent compares a source with what the site has of it.
func (x *explanation) compareContent(f *avalon.File, seen uploader.Inspection, srcErr error, got site.Found, out *File,
) {
	wrong := func(format string, args ...any) {
		out.Findings.add("content", Wrong, Remedy{Text: "if the source is right, delete created_dt from its record, " +
			"which uploads it again; otherwise restore the source"}, format, args...).Cause = format
	}
	ok := func(format string, args ...any) {
		out.Findings.add("content", OK, Remedy{}, format, args...).Cause = format
	}
	switch {
	case f.Size != avalon.UnknownSize && got.Size != f.Size:
		wrong("the site has %d bytes, %d were published", got.Size, f.Size)
		return
	case srcErr != nil:
		ok("cannot be compared with its source: %v", srcErr)
		return
	case seen.Size != got.Size:
		wrong("the site has %d bytes, the source has %d", got.Size, seen.Size)
		return
	case got.MD5 == "" || seen.Size > x.unread:
		ok("it has the size of its source; the content was not compared")
		return
	}
	x.unread -= seen.Size
	switch sum, err := x.inspector.MD5(x.ctx, f, x.rep.Roots); {
	case err != nil:
		ok("cannot be compared with its source: %v", err)
	case sum != got.MD5:
		wrong("the site has MD5 %s, the source has %s", got.MD5, sum)
	default:
		ok("it is the same as its source, MD5 %s", sum)
	}
}
