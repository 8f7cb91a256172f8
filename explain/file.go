package explain

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/duration"
	"sitesync/site"
	"sitesync/state"
	"sitesync/uploader"
)

// wayOf is the way whose rules decide about a file: down if the active site waits for it, lacks what the remote site
// has, or has got it from there, and else up.
func (x *explanation) wayOf(f *avalon.File) *way {
	here, tracked := f.RecordFor(x.up.rules.From)
	there, _ := f.RecordFor(x.up.rules.To)
	switch {
	case tracked && !here.Created, !tracked && there.Created,
		here.Created && there.Created && here.RemoteID != "": // publishing writes no id
		return x.down
	}
	return x.up
}

// file evaluates the rules for one file, in the order in which the uploader does.
func (x *explanation) file(f *avalon.File) File {
	w := x.wayOf(f)
	to, from := w.rules.To, w.rules.From
	decision := w.rules.Evaluate(f, x.now)
	rec, _ := f.RecordFor(to)
	onRemote, _ := f.RecordFor(x.remote.Name)
	out := File{ID: f.ID.String(), Path: f.Path, Direction: w.Direction, Size: f.Size, State: states[decision.Status],
		RemoteID: onRemote.RemoteID, SyncedAt: date(rec.CreatedAt), Tries: rec.Tries, Error: rec.Error,
		LastFailed: date(rec.LastFailed)}
	switch decision.Status {
	case avalon.Invalid:
		out.Findings.add("entry", Wrong, Remedy{Text: "fix the document, or publish again"}, "its entry is invalid: %s",
			decision.Problem).Cause = decision.Problem
	case avalon.Untracked:
		w.untracked(f, &out)
	case avalon.Synced:
		detail := fmt.Sprintf("it has been on site %s since %s", x.remote.Name, since(onRemote))
		if w.Direction == config.Down {
			detail += fmt.Sprintf(", and was downloaded to site %s at %s", to, since(rec))
		}
		out.Findings.add("record", OK, Remedy{}, "%s", detail)
		x.compare(f, onRemote, &out)
	case avalon.Paused:
		out.Findings.add("record", OK, Remedy{}, "site %s waits for it", to)
		out.Findings.add("paused", Wrong, Remedy{Text: "remove paused from its record of site " + to +
			"; its " + w.Noun() + " begins at once"}, "its record has paused, so it is left alone")
	default:
		w.wanted = w.wanted || decision.Status == avalon.Pending || decision.Status == avalon.BackingOff
		out.Findings.add("record", OK, Remedy{}, "site %s waits for it", to)
		w.tries(rec, decision, &out)
		if source, ok := f.RecordFor(from); !ok || !source.Created {
			w.missing(f, &out)
		} else {
			w.pending(f, rec, decision, &out)
		}
	}
	out.Severity = out.Findings.worst()
	return out
}

// since is when a file came to the site of a record, for people.
func since(rec avalon.SiteRecord) string {
	if rec.CreatedAt.IsZero() {
		return "an unknown time"
	}
	return clock(rec.CreatedAt)
}

// untracked goes on with a file that has no record of the site that it would be transferred to.
func (w *way) untracked(f *avalon.File, out *File) {
	to := w.rules.To
	if slices.Contains(w.Config.AlwaysAccessibleOn, to) {
		out.Findings.add("record", Waiting, Remedy{"nothing if sitesync runs; it adds the record by itself. See",
			"sitesync status"}, "it has no record of site %s yet, which is in always_accessible_on", to)
		return
	}
	if w.Direction == config.Down {
		out.Findings.add("record", Wrong, Remedy{"bring it here", fmt.Sprintf("sitesync fetch %s %s",
			ShellQuote(w.rep.Key.Project), ShellQuote(w.rep.Key.ID.String()))},
			"it is on site %s, but has no record of site %s, so it is not meant to be brought here", w.rules.From, to)
		return
	}
	remedy := Remedy{"add the site; with --dry-run it shows what else would be synced", "sitesync add-site " +
		ShellQuote(w.rep.Key.Project)}
	text := ""
	if here, _ := f.RecordFor(w.rules.From); !here.Created { // add-site adds nothing to it
		remedy = Remedy{Text: "add the site where it is, by sitesync add-site on a machine of that site"}
		text = ", and it is not on site " + w.rules.From + " either"
		if others := w.others(f); len(others) > 0 {
			text += ", only on " + sites(others)
		}
	}
	out.Findings.add("record", Wrong, remedy, "it has no record of site %s, so it is not meant to be synced%s", to,
		text)
}

// others are the sites that have the file, except for the two of the routes.
func (x *explanation) others(f *avalon.File) (names []string) {
	for _, rec := range f.Sites {
		if rec.Created && rec.Name != x.up.rules.From && rec.Name != x.up.rules.To &&
			!slices.Contains(names, rec.Name) {
			names = append(names, rec.Name)
		}
	}
	return names
}

// sites names some sites, for people.
func sites(names []string) string {
	if len(names) == 1 {
		return "site " + names[0]
	}
	return "sites " + strings.Join(names, ", ")
}

// missing goes on with a file that the site which it comes from does not have: it is on neither of the two sites, and
// comes once some other site has uploaded it.
func (w *way) missing(f *avalon.File, out *File) {
	rule, text := "active site", fmt.Sprintf("it is not on site %s, so there is nothing to upload", w.rules.From)
	if w.Direction == config.Down {
		rule, text = "remote site", fmt.Sprintf("it is not on site %s yet, so there is nothing to download",
			w.rules.From)
	}
	add := func(s Severity, remedy Remedy, more string) { out.Findings.add(rule, s, remedy, "%s%s", text, more) }
	others := w.others(f)
	if len(others) == 0 {
		add(Wrong, Remedy{Text: fmt.Sprintf("bring it to site %s, which then sets created_dt in its record",
			w.up.rules.From)}, "; no other site has it either")
		return
	}
	where := "; it is on " + sites(others)
	if _, tracked := f.RecordFor(w.remote.Name); !tracked {
		add(Wrong, Remedy{"on a machine of " + sites(others), "sitesync add-site " +
			ShellQuote(w.rep.Key.Project)}, fmt.Sprintf("%s, but has no record of site %s, so nothing uploads it",
			where, w.remote.Name))
		return
	}
	for _, other := range others {
		switch u := w.uploading(other); {
		case u.err != nil:
			add(Unknown, Remedy{}, fmt.Sprintf("%s; cannot read whether sitesync uploads it there: %v", where, u.err))
			return
		case u.by != "":
			w.wanted = w.wanted || w.Direction == config.Down
			add(Waiting, Remedy{Text: fmt.Sprintf("nothing; if it does not come, ask for it where site %s is: "+
				"sitesync explain", other)}, fmt.Sprintf("%s, and %s uploads from there", where, u.by))
			return
		}
	}
	add(Wrong, Remedy{Text: "start sitesync on a machine of " + sites(others)},
		where+", but no sitesync uploads from there")
}

// uploading is which process uploads from a site; by is empty if none does.
type uploading struct {
	by  string
	err error
}

// uploading looks which process uploads from another site to the remote one.
func (x *explanation) uploading(from string) uploading {
	u, known := x.uploaders[from]
	if !known {
		route := avalon.Route{From: from, To: x.remote.Name}
		info, err := x.State.LeaseInfo(x.ctx, state.LeaseName(x.Config.Mongo.Database, route))
		if u.err = err; info != nil && info.Active() {
			u.by = info.Holder.String()
		}
		x.uploaders[from] = u
	}
	return u
}

// retryCommand has a file that has failed tried again.
func (x *explanation) retryCommand() string {
	return fmt.Sprintf("sitesync retry %s --representation %s", ShellQuote(x.rep.Key.Project),
		ShellQuote(x.rep.Key.ID.String()))
}

// Plural is a number of things: 1 try, 2 tries, 1,234 files.
func Plural[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, ok := strings.CutSuffix(noun, "y"); ok {
		noun = stem + "ie"
	}
	return humanize.Comma(int64(n)) + " " + noun + "s"
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

// tries says how often the transfer of a file has failed.
func (w *way) tries(rec avalon.SiteRecord, decision avalon.Decision, out *File) {
	lastErr := cmp.Or(rec.Error, "no error is recorded")
	if !rec.LastFailed.IsZero() {
		lastErr = fmt.Sprintf("the last at %s: %s", clock(rec.LastFailed), lastErr)
	}
	switch n, limit := rec.Tries, w.rules.RetryCount; {
	case decision.Status == avalon.Failed:
		out.Findings.add("tries", Wrong, Remedy{"fix the cause, then retry", w.retryCommand()},
			"%s failed and retry_cnt is %d, so it is not tried again; %s", Plural(n, "try"), limit,
			lastErr).Cause = rec.Error
	case n == 0:
		out.Findings.add("tries", OK, Remedy{}, "none of %s has failed", Plural(limit, "try"))
	default:
		out.Findings.add("tries", Waiting, Remedy{}, "%d of %d tries failed, %s", n, limit, lastErr).Cause = rec.Error
	}
}

// pending goes on with a file that is on the site which it comes from.
func (w *way) pending(f *avalon.File, rec avalon.SiteRecord, decision avalon.Decision, out *File) {
	rule, ready := "active site", w.source
	if w.Direction == config.Down {
		rule, ready = "remote site", w.download
	}
	out.Findings.add(rule, OK, Remedy{}, "it is on site %s", w.rules.From)
	if decision.Status == avalon.BackingOff {
		next := w.now.Add(decision.Wait)
		out.NextTry = date(next)
		now := fmt.Sprintf("nothing; it is tried again at %s. To try it now", clock(next))
		out.Findings.add("wait", Waiting, Remedy{now, w.retryCommand() + " --waiting"},
			"the next try is at %s, in %s", clock(next),
			duration.Exact(max(decision.Wait.Round(time.Second), time.Second)))
	}
	isReady := ready(f, rec, out)
	if decision.Status == avalon.Failed {
		return
	}
	if usable := w.usable(); usable && isReady && decision.Status == avalon.Pending && w.findings.worst() == OK &&
		out.Findings.worst() != Wrong {
		does := w.Noun() + "ed now or next"
		out.Findings.add(w.Noun(), Waiting,
			Remedy{"nothing; it is " + does + ". If it is not, read the log, and", "sitesync status"},
			"nothing holds it up: it is %s", does)
	}
}

// addHolds adds what holds up a file.
func (w *way) addHolds(seen uploader.Inspection, size int64, out *File) {
	for _, h := range w.holds {
		if h.Kind == uploader.SiteTarget || !h.Concerns(seen, size) {
			continue
		}
		what := w.Noun() + "s of this root are held"
		switch h.Kind {
		case uploader.ProjectFolder:
			what = w.Noun() + "s of this folder are held"
		case uploader.LargeFiles:
			what = w.Noun() + "s of this size are held"
		case uploader.NewFiles:
			what = "new files are held, and this one if the site has none of its name"
		}
		out.Findings.addHold(w.Direction, what, h)
	}
}

// fromHere returns how bad it is that this machine finds something wrong with its storage, and what to add to that: it
// may be all right on the machine that does the work.
func (w *way) fromHere() (Severity, string) {
	if w.holder == "" {
		return Wrong, ""
	}
	return Unknown, fmt.Sprintf(" (seen from this machine; %s does the work)", w.holder)
}

// source looks at what is to be uploaded, and reports whether it is ready.
func (w *way) source(f *avalon.File, rec avalon.SiteRecord, out *File) (ready bool) {
	seen, err := w.inspector.Inspect(w.ctx, f, w.rep.Roots)
	out.Source, out.Remote = seen.Local, seen.Remote
	w.addHolds(seen, f.Size, out)
	wrong, here := w.fromHere()
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
				"After %s of waiting each check costs a try", duration.Exact(w.Config.SourceGracePeriod))
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

// lookHere looks at what this machine has of a file, whatever its size. The error is that of an upload.
func (x *explanation) lookHere(f *avalon.File) (uploader.Inspection, error) {
	asItIs := *f
	asItIs.Size = avalon.UnknownSize
	return x.up.inspector.Inspect(x.ctx, &asItIs, x.rep.Roots)
}

// compare checks whether a synced file is still where it was put, with the content of its source.
func (x *explanation) compare(f *avalon.File, rec avalon.SiteRecord, out *File) {
	seen, srcErr := x.lookHere(f)
	out.Source, out.Remote = seen.Local, seen.Remote
	unknown := func(remedy, format string, args ...any) {
		out.Findings.add("remote", Unknown, Remedy{Text: remedy}, format, args...).Cause = remedy
	}
	wrong := func(remedy, format string, args ...any) {
		again := fmt.Sprintf("delete created_dt from its record of site %s, which uploads it again", x.remote.Name)
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
		instead := "restore the source"
		if x.Config.WhyOff(config.Down) == "" {
			instead = fmt.Sprintf("delete it from that of site %s, which downloads it again", x.up.rules.From)
		}
		out.Findings.add("content", Wrong, Remedy{Text: fmt.Sprintf("if the file on this machine is right, delete "+
			"created_dt from its record of site %s, which uploads it again; otherwise %s", x.remote.Name, instead)},
			format, args...).Cause = format
	}
	ok := func(format string, args ...any) {
		out.Findings.add("content", OK, Remedy{}, format, args...).Cause = format
	}
	switch {
	case f.Size != avalon.UnknownSize && got.Size != f.Size:
		wrong("the site has %d bytes, %d were published", got.Size, f.Size)
		return
	case srcErr != nil:
		again := ""
		if site.ClassOf(srcErr) == site.NotReady && x.Config.WhyOff(config.Down) == "" {
			again = fmt.Sprintf("; deleting created_dt from its record of site %s downloads it again", x.up.rules.From)
		}
		ok("cannot be compared with its source: %v%s", srcErr, again)
		return
	case seen.Size != got.Size:
		wrong("the site has %d bytes, the source has %d", got.Size, seen.Size)
		return
	case got.MD5 == "" || seen.Size > x.unread:
		ok("it has the size of its source; the content was not compared")
		return
	}
	x.unread -= seen.Size
	switch sum, err := x.up.inspector.MD5(x.ctx, f, x.rep.Roots); {
	case err != nil:
		ok("cannot be compared with its source: %v", err)
	case sum != got.MD5:
		wrong("the site has MD5 %s, the source has %s", got.MD5, sum)
	default:
		ok("it is the same as its source, MD5 %s", sum)
	}
}
