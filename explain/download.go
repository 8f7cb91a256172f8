package explain

import (
	"fmt"
	"os"

	"github.com/dustin/go-humanize"

	"sitesync/avalon"
	"sitesync/site"
	"sitesync/uploader"
)

// download looks at what is to be downloaded and where it goes, and reports whether it is ready.
func (w *way) download(f *avalon.File, _ avalon.SiteRecord, out *File) (ready bool) {
	if len(w.Config.LocalRoot) == 0 {
		if w.holder != "" { // else it is said of the process
			out.Findings.add("destination", Unknown,
				Remedy{Text: "ask on the machine that downloads, or give this one " +
					"the same --local-root"}, "this machine has no local_root, so it cannot be seen where it goes; %s "+
					"does the work", w.holder)
		}
		return false
	}
	here, hereErr := w.lookHere(f)
	if hereErr != nil { // it may be the folder of the project, which leads out of the root
		_, err := w.up.inspector.CheckSource(w.ctx, f, w.rep.Roots)
		if scope, _ := site.ScopeOf(err); site.ClassOf(err) == site.Unavailable && scope == site.Settings {
			hereErr = err
		}
	}
	out.Source, out.Remote = here.Local, here.Remote
	w.addHolds(here, f.Size, out)
	if here.Remote == "" { // nor has an upload a path
		severity, _ := w.fromHere()
		out.Findings.add("path", severity, Remedy{Text: "fix the file or the settings: " + hereErr.Error()}, "%v",
			hereErr).Cause = hereErr.Error()
		return false
	}
	there, ok := w.remoteSource(f, out)
	return w.destination(f, here, there, hereErr, out) && ok
}

// remoteSource looks at what is to be downloaded, and reports whether that is ready.
func (w *way) remoteSource(f *avalon.File, out *File) (seen uploader.Inspection, ready bool) {
	s, err := w.open()
	if err != nil {
		out.Findings.add("source", Unknown, Remedy{Text: "fix the site: " + err.Error()}, "cannot look it up: %v", err)
		return seen, false
	}
	if w.lookups >= maxLookups {
		out.Findings.add("source", OK, Remedy{}, "like %d others it was not looked up on the site", maxLookups).Cause =
			"not looked up"
		return seen, true
	}
	w.lookups++
	w.inspector.Source = s
	if seen, err = w.inspector.Inspect(w.ctx, f, w.rep.Roots); err == nil {
		out.Remote = seen.Remote
		out.Findings.add("source", OK, Remedy{}, "it is there, %s", humanize.IBytes(uint64(seen.Size)))
		return seen, true
	}
	severity, remedy := Wrong, Remedy{Text: "fix the file: " + err.Error()}
	switch site.ClassOf(err) {
	case site.Transient:
		severity, remedy = Waiting, tryAgain
		w.siteErr = err
	case site.Unavailable:
		remedy.Text = "fix the site: " + err.Error()
	case site.NotReady, site.FileError:
		remedy.Text = fmt.Sprintf("restore it on site %s; or, where another site has it, delete created_dt from its "+
			"record of site %[1]s, which uploads it again", w.remote.Name)
	}
	out.Findings.add("source", severity, remedy, "%v", err).Cause = err.Error()
	return seen, false
}

// destination looks at where a file goes: here is what there is now, if hereErr is nil, and there what comes, as far as
// that is known. It reports whether the file can be written.
func (w *way) destination(f *avalon.File, here, there uploader.Inspection, hereErr error, out *File) bool {
	wrong, seenFrom := w.fromHere()
	bad := func(remedy string, format string, args ...any) bool {
		text := fmt.Sprintf(format, args...)
		out.Findings.add("destination", wrong, Remedy{Text: remedy}, "%s%s", text, seenFrom).Cause = text
		return false
	}
	if err := w.checkRoot(here.Root); err != nil {
		return bad("fix the storage: "+err.Error(), "%v", err)
	}
	size := max(f.Size, there.Size)
	if left, known, err := w.local.Left(w.ctx, here.Root); err == nil && known && left < size {
		return bad("free some space on "+here.Root, "there is room for %s only below %s", humanize.IBytes(uint64(left)),
			here.Root)
	}
	if scope, _ := site.ScopeOf(hereErr); site.ClassOf(hereErr) == site.Unavailable && scope == site.Settings {
		return bad("fix the settings: "+hereErr.Error(), "%v", hereErr)
	}
	now := ""
	info, err := os.Lstat(here.Local)
	switch {
	case err == nil && info.IsDir():
		return bad("rename the folder "+here.Local, "a folder of its name is in its place")
	case hereErr == nil:
		now = w.inPlace(f, here, there)
	case err == nil:
		return bad("move away what is in its place, "+here.Local, "what is in its place cannot be read: %v", hereErr)
	}
	out.Findings.add("destination", OK, Remedy{}, "%s can be written to%s%s", here.Root, now, seenFrom).Cause = now
	return true
}

// checkRoot is that of the storage of this machine, once for each root.
func (w *way) checkRoot(root string) error {
	err, known := w.roots[root]
	if !known {
		err = w.local.CheckRoot(w.ctx, root)
		w.roots[root] = err
	}
	return err
}

// inPlace says what becomes of a file that is in the place of one that is downloaded.
func (w *way) inPlace(f *avalon.File, here, there uploader.Inspection) string {
	const replaced = "; other content is there, which is replaced"
	if there.Remote == "" { // it was not looked up
		return "; a file of its name is there, which is compared first"
	}
	if here.Size != there.Size {
		return replaced
	}
	if here.Size > w.unread {
		return "; a file of its size is there, which is compared first"
	}
	w.unread -= here.Size
	mine, err := w.up.inspector.MD5(w.ctx, f, w.rep.Roots)
	if err != nil {
		return "; a file of its size is there, which cannot be read: " + err.Error()
	}
	if theirs, err := w.inspector.MD5(w.ctx, f, w.rep.Roots); err != nil || mine != theirs {
		return replaced
	}
	return "; the same content is there, so it is marked without a download"
}
