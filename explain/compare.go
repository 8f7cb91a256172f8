package explain

import (
	"errors"
	"fmt"

	"github.com/dustin/go-humanize"

	"sitesync/avalon"
	"sitesync/site"
	"sitesync/uploader"
)

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

var (
	errLookups = fmt.Errorf("like %d others it is not listed at its path, and was not looked up by its id", maxLookups)

	errNoProber = errors.New("this kind of site cannot look up files")
)

// probe looks a file up on the site. After an error that is no file's own, the site is not asked any more.
func (x *explanation) probe(path, id string) (site.Found, error) {
	s, err := x.open()
	if err != nil {
		return site.Found{}, err
	}
	prober, ok := s.(site.Prober)
	if !ok {
		return site.Found{}, errNoProber
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
