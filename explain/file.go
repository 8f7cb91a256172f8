package explain

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"

	"sitesync/avalon"
	"sitesync/site"
	"sitesync/uploader"
)

// file walks through the rules for one file, in the order in which the uploader asks.
func (x *explanation) file(f *avalon.File) File {
	decision := x.Rules.Evaluate(f, x.now)
	rec, _ := f.On(x.remote.Name)
	out := File{ID: f.ID.String(), Path: f.Path, Size: f.Size, RemoteID: rec.RemoteID, Tries: rec.Tries, Error: rec.Error,
		SyncedAt: date(rec.CreatedAt), LastFailed: date(rec.LastFailed), State: states[decision.Status]}
	add := func(rule string, v Verdict, mend, format string, args ...any) {
		out.Steps = append(out.Steps, Step{rule, v, fmt.Sprintf(format, args...), mend})
	}
	switch decision.Status {
	case avalon.Invalid:
		add("entry", Wrong, "mend the document, or publish again", "its entry can't be worked with: %s", decision.Problem)
	case avalon.Untracked:
		add("record", Wrong, fmt.Sprintf("ask for it: sitesync add-site %s; with --dry-run it tells what else would be asked for", ShellQuote(x.rep.Key.Project)),
			"it has no record of site %s, so nobody has asked for it to be synced", x.remote.Name)
	case avalon.Synced:
		when := "at an unknown time"
		if !rec.CreatedAt.IsZero() {
			when = at(rec.CreatedAt)
		}
		add("record", OK, "", "it is on site %s since %s", x.remote.Name, when)
		x.compare(f, rec, &out)
	case avalon.Paused:
		add("record", OK, "", "site %s waits for it", x.remote.Name)
		add("paused", Wrong, "take paused out of its record of site "+x.remote.Name+" when it is to be uploaded, which then begins at once",
			"its record has paused: somebody wants it to be left alone")
	default:
		add("record", OK, "", "site %s waits for it", x.remote.Name)
		x.pending(f, rec, decision, &out)
	}
	out.Verdict = worst(out.Steps)
	return out
}

var states = map[avalon.Status]State{
	avalon.Invalid: Unusable, avalon.Untracked: Unwanted, avalon.Synced: Synced, avalon.Failed: Failed, avalon.Paused: Paused,
	avalon.SourceMissing: Absent, avalon.BackingOff: Resting, avalon.Pending: Due,
}

// again says how a file that has failed for good is tried once more.
func (x *explanation) again() string {
	return fmt.Sprintf("sitesync retry %s --representation %s", ShellQuote(x.rep.Key.Project), ShellQuote(x.rep.Key.ID.String()))
}

// ShellQuote is a word as it is typed in a shell.
func ShellQuote(word string) string {
	if word == "" || strings.ContainsFunc(word, func(r rune) bool {
		return !(unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_-.", r))
	}) {
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return word
}

// pending walks on, for a file that the site waits for.
func (x *explanation) pending(f *avalon.File, rec avalon.Site, decision avalon.Decision, out *File) {
	add := func(rule string, v Verdict, mend, format string, args ...any) {
		out.Steps = append(out.Steps, Step{rule, v, fmt.Sprintf(format, args...), mend})
	}
	failed := cmp.Or(rec.Error, "no error is recorded")
	if !rec.LastFailed.IsZero() {
		failed = fmt.Sprintf("the last at %s: %s", at(rec.LastFailed), failed)
	}
	switch n, most := rec.Tries, x.Rules.RetryCount; {
	case decision.Status == avalon.Failed:
		add("tries", Wrong, "repair the cause, then: "+x.again(), "%d tries failed, and retry_cnt is %d, so it is left alone; %s", n, most, failed)
	case n == 0:
		add("tries", OK, "", "none of %d tries has failed", most)
	default:
		add("tries", Waiting, "", "%d of %d tries failed, %s", n, most, failed)
	}
	if active, ok := f.On(x.Rules.From); !ok || !active.Created {
		add("active site", Wrong, fmt.Sprintf("get it to site %s, which then writes created_dt into its record", x.Rules.From),
			"it is not on site %s, so there is nothing to upload", x.Rules.From)
		return
	}
	add("active site", OK, "", "it is on site %s", x.Rules.From)
	if decision.Status == avalon.BackingOff {
		next := x.now.Add(decision.Wait)
		out.NextTry = date(next)
		add("wait", Waiting, fmt.Sprintf("nothing; it is tried again at %s. To try it at once: %s --waiting", at(next), x.again()),
			"the next try is at %s, in %s", at(next), short(decision.Wait))
	}
	there := x.source(f, rec, out)
	if decision.Status == avalon.Failed {
		return
	}
	if usable := x.usable(); decision.Status == avalon.Pending && there && usable && worst(x.steps) == OK && worst(out.Steps) != Wrong {
		add("upload", Waiting, "nothing; it is uploaded now or next. If that does not change: sitesync status, and the log of sitesync",
			"nothing is in its way: it is uploaded now or next")
	}
}

// source looks at what is to be uploaded, and reports whether it is there.
func (x *explanation) source(f *avalon.File, rec avalon.Site, out *File) (there bool) {
	add := func(v Verdict, mend, format string, args ...any) {
		out.Steps = append(out.Steps, Step{"source", v, fmt.Sprintf(format, args...), mend})
	}
	seen, err := x.inspector.Inspect(x.ctx, f, x.rep.Roots)
	out.Source, out.Remote = seen.Local, seen.Remote
	for _, h := range x.held {
		if h.Kind == uploader.SiteTarget || !h.Concerns(seen, f.Size) {
			continue
		}
		what := "uploads of this root are held"
		switch h.Kind {
		case uploader.ProjectFolder:
			what = "uploads of this folder are held"
		case uploader.LargeFiles:
			what = "uploads of this size are held"
		case uploader.NewFiles:
			what = "new files are held, and this one if there is none of its name on the site"
		}
		out.Steps = append(out.Steps, heldStep(what, h))
	}
	wrong, here := Wrong, ""
	if x.holder != "" {
		// It may be well where the work is done.
		wrong, here = Unknown, fmt.Sprintf(" (seen from this machine; %s does the work)", x.holder)
	}
	switch class := site.ClassOf(err); {
	case err == nil && seen.Stale && rec.Tries == 0:
		add(Waiting, "nothing; the newer one is waited for, and what is there is uploaded if none comes", "what is there is of %s, a newer one was published%s", at(seen.Modified), here)
	case err == nil:
		add(OK, "", "it is there, %s%s", humanize.IBytes(uint64(seen.Size)), here)
		there = true
	case class == site.NotReady && rec.Tries == 0:
		add(Waiting, fmt.Sprintf("nothing, if it is still being published; else put it there: it is waited for, up to %s, then each look costs a try", short(x.Config.Settle)),
			"%v%s%s", err, temporary(seen.Local), here)
	case class == site.NotReady:
		mend := "put the file there as it was published, or publish it again"
		if temporary(seen.Local) != "" {
			mend = "rename the *.tmp if it is complete, or publish it again"
		}
		add(wrong, mend, "%v%s%s", err, temporary(seen.Local), here)
	case class == site.Unavailable:
		add(wrong, "mend the storage or the settings: "+err.Error(), "%v%s", err, here)
	default:
		add(wrong, "mend the file: "+err.Error(), "%v%s", err, here)
	}
	return there
}

// temporary tells of a file that was not renamed.
func temporary(source string) string {
	if _, err := os.Lstat(source + ".tmp"); source != "" && err == nil {
		return "; it is there as *.tmp, which publishing renames in the end"
	}
	return ""
}

// compare looks whether a file that is synced still is where it was put, with the content of its source.
func (x *explanation) compare(f *avalon.File, rec avalon.Site, out *File) {
	add := func(rule string, v Verdict, mend, format string, args ...any) {
		out.Steps = append(out.Steps, Step{rule, v, fmt.Sprintf(format, args...), mend})
	}
	const again = "delete created_dt from its record, which uploads it again"
	asItIs := *f
	asItIs.Size = avalon.UnknownSize
	seen, srcErr := x.inspector.Inspect(x.ctx, &asItIs, x.rep.Roots)
	out.Source, out.Remote = seen.Local, seen.Remote
	if seen.Remote == "" {
		add("remote", Unknown, "mend the settings: "+srcErr.Error(), "where it is on site %s can't be told: %v", x.remote.Name, srcErr)
		return
	}
	got, err := x.look(seen.Remote, rec.RemoteID)
	switch {
	case errors.Is(err, errAsked):
		add("remote", Unknown, "look at the others first", "%v", err)
		return
	case err != nil:
		add("remote", Unknown, "mend the site: "+err.Error(), "it can't be looked at: %v", err)
		return
	case got.State == site.Trashed:
		add("remote", Wrong, "restore it from the trash of the site, or "+again, "it, or a folder above it, is in the trash of the site")
		return
	case got.State == site.Moved:
		where := ""
		if got.CurrentFolder != "" {
			where = fmt.Sprintf(" in folder %q", got.CurrentFolder)
		}
		add("remote", Wrong, "move it back, or "+again, "it was moved or renamed: it is %q%s now", got.Name, where)
		return
	case got.State == site.NotFound:
		add("remote", Wrong, again, "it is no longer there: somebody has deleted it")
		return
	case got.Folder:
		add("remote", Wrong, "rename the folder, then "+again, "a folder of its name is in its place")
		return
	case rec.RemoteID != "" && got.ID != rec.RemoteID:
		add("remote", OK, "", "it is there, %s, as another file than the one that was uploaded", humanize.IBytes(uint64(got.Size)))
	default:
		add("remote", OK, "", "it is there, %s", humanize.IBytes(uint64(got.Size)))
	}
	x.same(f, seen, srcErr, got, out)
}

// mostAsked is how many files that are not listed where they were put are asked for one by one, so that a folder of
// 4,000 frames which somebody has moved does not use up what whoever uploads may ask for.
const mostAsked = 50

// errAsked says that enough files were asked for.
var errAsked = fmt.Errorf("as %d others it is not listed where it was put, and it was not asked for by its id", mostAsked)

// errNoProber says that the site can't be looked at.
var errNoProber = errors.New("this kind of site does not tell where a file is")

// look asks the site for a file. It is not asked any more once it is in trouble that is no file's own.
func (x *explanation) look(path, id string) (site.Found, error) {
	s, err := x.open()
	if err != nil {
		return site.Found{}, err
	}
	enough := x.asked >= mostAsked
	if enough {
		id = "" // what is listed at the path, which takes no request of its own
	}
	prober, ok := s.(site.Prober)
	if !ok {
		return site.Found{}, errNoProber
	}
	found, err := prober.Probe(x.ctx, path, id)
	if enough && err == nil && found.State == site.NotFound {
		return found, errAsked
	}
	if found.ByID {
		x.asked++
	}
	if err != nil && site.ClassOf(err) != site.FileError {
		x.siteErr = err
	}
	return found, err
}

// same compares a source with what the site has of it.
func (x *explanation) same(f *avalon.File, seen uploader.Inspection, srcErr error, got site.Found, out *File) {
	add := func(v Verdict, mend, format string, args ...any) {
		out.Steps = append(out.Steps, Step{"content", v, fmt.Sprintf(format, args...), mend})
	}
	const publish = "if the source is right, delete created_dt from its record, which uploads it again; else restore the source"
	switch {
	case f.Size != avalon.UnknownSize && got.Size != f.Size:
		add(Wrong, publish, "the site has %d bytes, %d were published", got.Size, f.Size)
		return
	case srcErr != nil:
		add(OK, "", "it can't be compared with its source: %v", srcErr)
		return
	case seen.Size != got.Size:
		add(Wrong, publish, "the site has %d bytes, the source has %d", got.Size, seen.Size)
		return
	case got.MD5 == "" || seen.Size > x.left:
		add(OK, "", "it has the size of its source; the content was not compared")
		return
	}
	x.left -= seen.Size
	switch sum, err := x.inspector.MD5(x.ctx, f, x.rep.Roots); {
	case err != nil:
		add(OK, "", "it can't be compared with its source: %v", err)
	case sum != got.MD5:
		add(Wrong, publish, "the site has MD5 %s, the source has %s", got.MD5, sum)
	default:
		add(OK, "", "it is the same as its source, MD5 %s", sum)
	}
}

func date(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// toDo is the one thing to do about a file.
func toDo(f *File) string {
	var mends []string
	for _, v := range []Verdict{Wrong, Unknown, Waiting} {
		for _, s := range f.Steps {
			if s.Verdict == v && s.Mend != "" {
				mends = append(mends, s.Mend)
			}
		}
		if len(mends) > 0 {
			break
		}
	}
	switch {
	case len(mends) == 0:
		return ""
	case f.State == Failed && len(mends) > 1:
		_, retry, _ := strings.Cut(mends[0], "then: ")
		return mends[1] + "; then: " + retry
	}
	return mends[0]
}

// outcome is the same for files that the same was found of: what tells them apart, such as numbers and names, is left out.
func outcome(f *File) string {
	var b strings.Builder
	own := []string{}
	for _, name := range []string{f.Source, f.Remote, f.Path, path.Base(f.Remote), f.RemoteID, f.ID} {
		if name != "" && name != "." {
			own = append(own, name, "")
		}
	}
	plain := strings.NewReplacer(own...)
	for _, s := range f.Steps {
		fmt.Fprintf(&b, "%s|%s|%s|%s\n", s.Rule, s.Verdict, plain.Replace(s.Detail), plain.Replace(s.Mend))
	}
	return string(f.State) + numbers.ReplaceAllString(b.String(), "0")
}

// numbers are those of frames, sizes, times and sums.
var numbers = regexp.MustCompile(`[0-9a-f]{32}|[0-9][0-9.,:]*( [kKMGT]?i?B| bytes| s|m|h)?`)
