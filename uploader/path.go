package uploader

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/site"
)

// template is a file's path, split at its root.
type template struct {
	root string // NAME of {root[NAME]}, A][B of {root[A][B]}; "" for a plain {root}
	rel  string // what follows the root, with separators and braces as found
}

// parsePath reads a path as Pype writes it: "{root}/..." or "{root[NAME]}/...". A path without a root is accepted if
// one of the publisher's roots is what it begins with, as some hosts publish it. What follows the root begins with a
// separator, unless one root's text begins another's: publishing then writes {root[work]}jects/..., if work is
// /mnt/pro.
func parsePath(p string, roots avalon.Roots) (template, error) {
	if !strings.HasPrefix(p, "{root") {
		if name, rel, ok := longestRoot(p, roots); ok {
			return template{root: name, rel: rel}, nil
		}
		return template{}, fmt.Errorf("path %q does not begin with {root} or {root[NAME]}, nor with the root it was "+
			"published under", p)
	}
	field, rest, ok := strings.Cut(p[len("{root"):], "}")
	if !ok {
		return template{}, fmt.Errorf("path %q: the brace of {root is not closed", p)
	}
	t := template{rel: rest}
	if field != "" {
		name, ok := strings.CutPrefix(field, "[")
		name, closed := strings.CutSuffix(name, "]")
		if !ok || !closed || slices.ContainsFunc(strings.Split(name, "]["), func(key string) bool {
			return key == "" || strings.ContainsAny(key, "[]")
		}) {
			return template{}, fmt.Errorf("path %q: {root%s} is neither {root} nor {root[NAME]}", p, field)
		}
		t.root = name
	}
	if strings.Trim(rest, `/\`) == "" {
		return template{}, fmt.Errorf("path %q is the root itself", p)
	}
	if root := roots[t.root]; !t.separated() && root != "" && isSeparator(root[len(root)-1]) {
		t.rel = "/" + rest
	}
	return t, nil
}

// separated reports whether a separator follows the root.
func (t template) separated() bool { return isSeparator(t.rel[0]) }

func isSeparator(c byte) bool { return c == '/' || c == '\\' }

// longestRoot returns which of the roots the path is below, and what follows there: of nested ones the innermost, of
// equal ones the first by name.
func longestRoot(p string, roots map[string]string) (name, rel string, ok bool) {
	for n, root := range roots {
		r, is := below(p, root)
		if is && (!ok || len(r) < len(rel) || len(r) == len(rel) && n < name) {
			name, rel, ok = n, r, true
		}
	}
	return name, rel, ok
}

// below cuts the root from a path, both in any system's spelling.
func below(p, root string) (string, bool) {
	slashed, root := strings.ReplaceAll(p, `\`, "/"), strings.TrimRight(strings.ReplaceAll(root, `\`, "/"), "/")
	if root == "" || len(slashed) <= len(root) || slashed[len(root)] != '/' {
		return "", false
	}
	head := slashed[:len(root)]
	windows := strings.Contains(root, ":") || strings.HasPrefix(root, "//")
	if head == root || windows && strings.EqualFold(head, root) {
		return p[len(root):], true
	}
	return "", false
}

// roots are what a file's path is below, here and on the site.
type roots struct {
	here, there       string // the folder of this machine, and the one on the site
	hereRel, thereRel string // what follows, with separators and braces as found; the same but for paths that have none

	// suffix follows there directly: the file goes into a folder beside it whose name begins with its name. Mostly
	// empty.
	suffix string
}

// end is where a file is, or goes, on one of the two sites.
type end struct {
	root string // of the settings
	at   site.Location
	held Target // what the root is held as; see Uploader.widened
}

// ends are where a file comes from, with the id that the site has for it, and where it goes.
func (r roots) ends(d config.Direction, f *avalon.File, route avalon.Route) (from, to end) {
	from = end{r.here, site.Location{Root: r.here, Rel: r.hereRel}, Target{LocalRoot, r.here}}
	to = end{r.there, site.Location{Root: r.there + r.suffix, Rel: r.thereRel}, Target{RemoteRoot, r.there}}
	if d == config.Down {
		from, to = to, from
	}
	rec, _ := f.RecordFor(route.From)
	from.at.ID = rec.RemoteID
	return from, to
}

// path is the path on the site.
func (e end) path(read site.Reading) (string, error) {
	rel, err := read(e.at.Rel)
	return path.Join(e.at.Root, rel), err
}

// resolveRoots finds out which roots a file's path is below, without asking the storage. The error is of class
// [site.Unavailable] and scope [site.Settings] if the settings do not know the root, which is not the file's fault.
func resolveRoots(f *avalon.File, documentRoots avalon.Roots, local, remote config.Roots) (r roots, err error) {
	t, err := parsePath(f.Path, documentRoots)
	if err != nil {
		return r, err
	}
	var ok bool
	if len(local) == 0 {
		if r.here, ok = documentRoots[t.root]; !ok {
			return r, unknownRoot("context.root of the representation has no %s; set local_root in config.json to "+
				"where all roots "+
				"are mounted here, that of %s too", rootName(t.root), field(t.root))
		}
	} else if r.here, ok = local[t.root]; !ok {
		return r, unknownRoot("local_root in config.json has no %s; add where that is mounted here", rootName(t.root))
	}
	if r.there, ok = remote[t.root]; !ok {
		return r, unknownRoot("root of the site in gdrive.json has no %s; add where that is on Drive", rootName(t.root))
	}
	r.hereRel, r.thereRel = t.rel, t.rel
	if !t.separated() {
		err = r.join(t, documentRoots, local, remote)
	}
	if err == nil && isForeign(r.here) {
		err = unknownRoot("root %q is not a path of this system (%s): it was published from another one; set "+
			"local_root "+
			"in config.json to where the storage is mounted here", r.here, runtime.GOOS)
	}
	return r, err
}

// join finds out which roots a path is below that has no separator after its root: {root[work]}jects/a is
// /mnt/projects/a if work is /mnt/pro. A path beside all roots would be outside of the storage.
func (r *roots) join(t template, documentRoots avalon.Roots, local, remote config.Roots) error {
	here, there := r.here+t.rel, r.there+t.rel
	known := map[string]string(local)
	if len(known) == 0 {
		known = documentRoots
	}
	name, rel, ok := longestRoot(here, known)
	if !ok {
		// Where roots are mounted here under other names, the publisher's roots decide.
		if name, rel, ok = publishedRoot(t, documentRoots); ok {
			_, ok = known[name]
		}
	}
	if !ok {
		return unknownRoot("the path begins with %s and goes on without a separator, which makes it %s on this "+
			"machine, beside all "+
			"roots; make the folder in which that is a root too, in local_root of config.json and in gdrive.json",
			field(t.root), firstFolder(r.here, t.rel))
	}
	r.here, r.hereRel = known[name], rel
	// On the site the text is put together in the same way, as the readers of the documents do. Beside a shared drive,
	// or My Drive, there is nothing, so there the root that it is below here has to do.
	if within, rel, ok := longestRoot(there, remote); ok {
		r.there, r.thereRel = remote[within], rel
		return nil
	}
	if end := strings.IndexAny(t.rel, `/\`); end > 0 && path.Dir(r.there) != "/" {
		r.suffix, r.thereRel = t.rel[:end], t.rel[end:]
		return nil
	}
	if r.there, ok = remote[name]; !ok {
		return unknownRoot("root of the site in gdrive.json has no %s; add where that is on Drive", rootName(name))
	}
	r.thereRel = r.hereRel
	return nil
}

// publishedRoot returns which of the publisher's roots a path is below that has no separator after its root, and what
// follows there. The path's own root is mostly not among them: then it is the only one that ends with the folder.
func publishedRoot(t template, documentRoots avalon.Roots) (name, rel string, ok bool) {
	if own, known := documentRoots[t.root]; known {
		return longestRoot(own+t.rel, documentRoots)
	}
	end := strings.IndexAny(t.rel, `/\`)
	if end < 0 {
		return "", "", false
	}
	for n, root := range documentRoots {
		if !strings.HasSuffix(strings.TrimRight(root, `/\`), t.rel[:end]) {
			continue
		}
		if ok {
			return "", "", false // ambiguous
		}
		name, rel, ok = n, t.rel[end:], true
	}
	return name, rel, ok
}

// firstFolder is the root's text with what follows up to the first separator.
func firstFolder(root, rel string) string {
	if end := strings.IndexAny(rel, `/\`); end >= 0 {
		rel = rel[:end]
	}
	return root + rel
}

// isForeign reports whether a root is no path of this system. Elsewhere than on Windows, //server/share is a folder
// only if there is one.
func isForeign(root string) bool {
	return !filepath.IsAbs(root) || runtime.GOOS != "windows" && strings.HasPrefix(root, "//") && !exists(root)
}

func unknownRoot(format string, args ...any) error {
	return site.UnavailableIn(site.Settings, fmt.Errorf(format, args...))
}

func rootName(name string) string {
	if name == "" {
		return "plain root, which the path begins with"
	}
	return fmt.Sprintf("root %q, as in %s, which the path begins with", strings.ReplaceAll(name, "][", "."),
		field(name))
}

// field is the root as paths begin with it.
func field(name string) string {
	if name == "" {
		return "{root}"
	}
	return "{root[" + name + "]}"
}

func exists(p string) bool {
	_, err := os.Lstat(p)
	return err == nil
}
