package uploader

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/site"
)

// template is a file's path, split at its root.
type template struct {
	root string // NAME of {root[NAME]}, A][B of {root[A][B]}; "" for a plain {root}
	rel  string // what follows the root, with separators and braces as found
}

// parsePath reads a path as Pype writes it: "{root}/..." or "{root[NAME]}/...". A path without a root is accepted if one
// of the publisher's roots is what it begins with, as some hosts publish it. What follows the root begins with a
// separator, unless one root's text begins another's: publishing then writes {root[work]}jects/..., if work is /mnt/pro.
func parsePath(p string, roots avalon.Roots) (template, error) {
	if !strings.HasPrefix(p, "{root") {
		if name, rel, ok := longestRoot(p, maps.All(roots)); ok {
			return template{root: name, rel: rel}, nil
		}
		return template{}, fmt.Errorf("path %q does not begin with {root} or {root[NAME]}, nor with the root it was published under", p)
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
func longestRoot(p string, roots iter.Seq2[string, string]) (name, rel string, ok bool) {
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

// relative is the path below the root with slashes. It refuses what would leave the root.
func relative(rel string) (string, error) {
	var parts []string
	for _, part := range strings.Split(rel, "/") {
		switch part {
		case "", ".":
		case "..":
			return "", fmt.Errorf("path %q leaves its root by \"..\"", rel)
		default:
			if strings.ContainsRune(part, 0) {
				return "", fmt.Errorf("path %q has a NUL in it", rel)
			}
			if !utf8.ValidString(part) { // two such names could become one on the site
				return "", fmt.Errorf("path %q is not UTF-8", rel)
			}
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return "", fmt.Errorf("path %q is the root itself", rel)
	}
	return strings.Join(parts, "/"), nil
}

// source is where a file comes from and where it goes.
type source struct {
	root   string // folder of this machine that the file must be in
	rel    string // path below the root, with slashes
	remote string // path on the site

	links []string // folders outside of the root that symbolic links may lead to
}

// roots are what a file's path is below, here and on the site.
type roots struct {
	here, there       string // the folder of this machine, and the one on the site
	hereRel, thereRel string // what follows, with separators and braces as found; the same but for paths that have none

	// suffix follows there directly: the file goes into a folder beside it whose name begins with its name. Mostly empty.
	suffix string
}

// resolveRoots finds out which roots a file's path is below, without asking the storage. The error is of class
// [site.Unavailable] if the settings do not know the root, which is no file's own trouble.
func resolveRoots(f *avalon.File, documentRoots avalon.Roots, local, remote config.Roots) (r roots, err error) {
	t, err := parsePath(f.Path, documentRoots)
	if err != nil {
		return r, err
	}
	var ok bool
	if local.IsZero() {
		if r.here, ok = documentRoots[t.root]; !ok {
			return r, unknownRoot("context.root of the representation has no %s; set local_root in config.json to where all roots "+
				"are mounted here, that of %s too", rootName(t.root), field(t.root))
		}
	} else if r.here, ok = local.Lookup(t.root); !ok {
		return r, unknownRoot("local_root in config.json has no %s; add where that is mounted here", rootName(t.root))
	}
	if r.there, ok = remote.Lookup(t.root); !ok {
		return r, unknownRoot("root of the site in gdrive.json has no %s; add where that is on Drive", rootName(t.root))
	}
	r.hereRel, r.thereRel = t.rel, t.rel
	if !t.separated() {
		err = r.join(t, documentRoots, local, remote)
	}
	if err == nil && isForeign(r.here) {
		err = unknownRoot("root %q is not a path of this system (%s): it was published from another one; set local_root "+
			"in config.json to where the storage is mounted here", r.here, runtime.GOOS)
	}
	return r, err
}

// join finds out which roots a path is below that has no separator after its root: {root[work]}jects/a is
// /mnt/projects/a if work is /mnt/pro. A path beside all roots would be outside of the storage.
func (r *roots) join(t template, documentRoots avalon.Roots, local, remote config.Roots) error {
	here, there := r.here+t.rel, r.there+t.rel
	known := maps.All(documentRoots)
	if !local.IsZero() {
		known = local.All()
	}
	name, rel, ok := longestRoot(here, known)
	if !ok {
		// What is mounted here under other names the publisher's roots tell apart.
		if name, rel, ok = publishedRoot(t, documentRoots); ok && !local.IsZero() {
			_, ok = local.Lookup(name)
		}
	}
	if !ok {
		return unknownRoot("the path begins with %s and goes on without a separator, which makes it %s on this machine, beside all "+
			"roots; make the folder in which that is a root too, in local_root of config.json and in gdrive.json", field(t.root), firstFolder(r.here, t.rel))
	}
	if local.IsZero() {
		r.here = documentRoots[name]
	} else {
		r.here, _ = local.Lookup(name)
	}
	r.hereRel = rel
	// On the site the text is put together in the same way, as the readers of the documents do. Beside a shared drive,
	// or My Drive, there is nothing, so there the root that it is below here has to do.
	if within, rel, ok := longestRoot(there, remote.All()); ok {
		r.there, _ = remote.Lookup(within)
		r.thereRel = rel
		return nil
	}
	if end := strings.IndexAny(t.rel, `/\`); end > 0 && path.Dir(r.there) != "/" {
		r.suffix, r.thereRel = t.rel[:end], t.rel[end:]
		return nil
	}
	if r.there, ok = remote.Lookup(name); !ok {
		return unknownRoot("root of the site in gdrive.json has no %s; add where that is on Drive", rootName(name))
	}
	r.thereRel = r.hereRel
	return nil
}

// publishedRoot returns which of the publisher's roots a path is below that has no separator after its root, and what
// follows there. The path's own root is mostly not among them: then it is the only one that ends with the folder.
func publishedRoot(t template, documentRoots avalon.Roots) (name, rel string, ok bool) {
	if own, known := documentRoots[t.root]; known {
		return longestRoot(own+t.rel, maps.All(documentRoots))
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
			return "", "", false // it can't be told which
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

// locate resolves a file's path on this machine and on the site. It asks the file system if the path can be read in
// several ways. The error is that of resolveRoots, or the file's.
func locate(f *avalon.File, documentRoots avalon.Roots, local, remote config.Roots) (source, error) {
	r, err := resolveRoots(f, documentRoots, local, remote)
	if err != nil {
		return source{}, err
	}
	s := source{root: r.here, links: local.Links()}
	read := reading(r.here, r.hereRel)
	if s.rel, err = relative(read(r.hereRel)); err != nil {
		return source{}, err
	}
	rel, err := relative(read(r.thereRel))
	if err != nil {
		return source{}, err
	}
	s.remote = path.Join(r.there+r.suffix, rel)
	return s, nil
}

// find is locate, and finds what the storage has under the name in another form.
func find(f *avalon.File, documentRoots avalon.Roots, local, remote config.Roots) (source, error) {
	s, err := locate(f, documentRoots, local, remote)
	if err != nil {
		return s, err
	}
	return s.spelled(), nil
}

// reading returns how a path below the root is to be read: in the way by which something is found, first the literal
// one. A backslash is a separator to a publisher on Windows, and part of a name to one on Linux who has such a file. A
// path is a Python format string, in which {{ stands for {, but Pype writes names as they are.
func reading(root, rel string) func(string) string {
	slashed := func(p string) string { return strings.ReplaceAll(p, `\`, "/") }
	ways := []func(string) string{
		func(p string) string { return p },
		slashed,
		unescape.Replace,
		func(p string) string { return slashed(unescape.Replace(p)) },
	}
	if !strings.Contains(rel, `\`) && unescape.Replace(rel) == rel {
		return ways[0]
	}
	for i, way := range ways {
		if p := way(rel); (runtime.GOOS != "windows" || i%2 == 1) && (i == 0 || p != ways[i-1](rel)) && exists(filepath.Join(root, p)) {
			return way
		}
	}
	return slashed
}

// unescape undoes the doubling of braces in a format string.
var unescape = strings.NewReplacer("{{", "{", "}}", "}")

func unknownRoot(format string, args ...any) error {
	return site.Classed(site.Unavailable, fmt.Errorf(format, args...))
}

func rootName(name string) string {
	if name == "" {
		return "plain root, which the path begins with"
	}
	return fmt.Sprintf("root %q, as in %s, which the path begins with", strings.ReplaceAll(name, "][", "."), field(name))
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

// open opens the source for reading if it is the file that was published. The error's class tells what is
// the matter: [site.Unavailable] if the storage is not mounted, [site.NotReady] if the file is not there yet or not
// of the recorded size.
func (s source) open(size int64) (*os.File, os.FileInfo, error) {
	// Stat first: opening a device may do something to it.
	info, err := os.Stat(s.String())
	if err != nil {
		return nil, nil, s.missed(err)
	}
	if err := s.regular(info); err != nil {
		return nil, nil, err
	}
	f, err := openBelow(s.root, filepath.FromSlash(s.rel))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		// A Root takes no absolute symbolic link, not even one that stays inside of it.
		var root, rel string
		if root, rel, err = s.resolve(); err == nil {
			f, err = openBelow(root, rel)
		}
	}
	if err != nil {
		return nil, nil, s.missed(err)
	}
	if info, err = f.Stat(); err != nil {
		err = s.missed(err)
	} else {
		err = s.fits(info, size)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// openInRoot opens a file below a root for reading. What is opened stays inside of it, symbolic links included. It does
// not wait: the file may be a FIFO, which nobody may ever write to.
func openInRoot(root, rel string) (*os.File, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.OpenFile(rel, os.O_RDONLY|nonblock, 0)
}

// missed tells why the source could not be found, opened or read.
func (s source) missed(err error) error {
	if away := s.away(err); away != nil {
		return site.Classed(site.Unavailable, away)
	}
	switch {
	case site.ClassOf(err) == site.Unavailable: // the settings do not fit
		return err
	case errors.Is(err, os.ErrNotExist):
		return site.Classed(site.NotReady, fmt.Errorf("the source %s is not there", s))
	case leased(err):
		return site.Classed(site.NotReady, fmt.Errorf("the source %s is still held by who wrote it: %w", s, err))
	case isStale(err): // the folder is well, so it was replaced on the server
		return site.Classed(site.NotReady, fmt.Errorf("the source %s was replaced while it was read: %w", s, err))
	}
	return fmt.Errorf("the source %s: %w", s, err)
}

// regular tells whether what was found is a file.
func (s source) regular(info os.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("the source %s is not a regular file but %s", s, kind(info.Mode()))
	}
	return nil
}

// fits tells whether what was found is the file that was published.
func (s source) fits(info os.FileInfo, size int64) error {
	if err := s.regular(info); err != nil {
		return err
	}
	if size != avalon.UnknownSize && info.Size() != size {
		return site.Classed(site.NotReady, fmt.Errorf("the source %s has %d bytes, %d were published", s, info.Size(), size))
	}
	return nil
}

// changed tells whether the source is still what it was when it was opened: the open file, and the one that now
// has its name. Inodes are not compared, as some network storages give a file a new one each time.
func (s source) changed(f *os.File, before os.FileInfo) error {
	for _, stat := range []func() (os.FileInfo, error){f.Stat, func() (os.FileInfo, error) { return os.Stat(s.String()) }} {
		if now, err := stat(); err != nil || now.Size() != before.Size() || !now.ModTime().Equal(before.ModTime()) {
			return site.Classed(site.NotReady, fmt.Errorf("the source %s changed while it was read", s))
		}
	}
	return nil
}

// resolve returns where symbolic links lead to: a folder that they may lead to, which is the root or one of the settings,
// and the path below it. Opening that follows no link out of it any more.
func (s source) resolve() (folder, rel string, err error) {
	target, err := filepath.EvalSymlinks(s.String())
	if err != nil {
		return "", "", err
	}
	for i, folder := range append([]string{s.root}, s.links...) {
		if folder, err = filepath.EvalSymlinks(folder); err != nil {
			if i == 0 {
				return "", "", err
			}
			continue // a folder that is not there is none that the link leads to
		}
		if rel, err := filepath.Rel(folder, target); err == nil && filepath.IsLocal(rel) {
			return folder, rel, nil
		}
	}
	const fix = "add its target, or a folder above that, to local_root_links of config.json"
	if folder, ok := s.projectFolder(); ok {
		if to, err := filepath.EvalSymlinks(folder); err == nil && !within(to, s.root) && within(target, to) {
			return "", "", site.Classed(site.Unavailable, fmt.Errorf("the folder %s is a symbolic link out of the root, to %s; %s", folder, to, fix))
		}
	}
	return "", "", fmt.Errorf("a symbolic link leads out of the root; %s", fix)
}

// projectAllowed tells whether the project folder is a link to where the settings allow none.
func (s source) projectAllowed() error {
	first, _, _ := strings.Cut(s.rel, "/")
	s.rel = first + "/." // the folder itself, as what is in the project
	if _, _, err := s.resolve(); site.ClassOf(err) == site.Unavailable {
		return err
	}
	return nil
}

// within reports whether a path without symbolic links is in a folder.
func within(target, folder string) bool {
	folder, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return false
	}
	rel, err := filepath.Rel(folder, target)
	return err == nil && filepath.IsLocal(rel)
}

// String is the path on this machine.
func (s source) String() string { return filepath.Join(s.root, filepath.FromSlash(s.rel)) }

func kind(m os.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&os.ModeNamedPipe != 0:
		return "a FIFO"
	case m&os.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}
