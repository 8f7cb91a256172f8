package uploader

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"unicode/utf8"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/uploader/site"
)

// template is a file's path, split at its root.
type template struct {
	root string // NAME of {root[NAME]}; "" for a plain {root}
	rel  string // what follows the root, with the separators as found
}

// parsePath reads a path as Pype writes it, a Python format string: "{root}/..." or "{root[NAME]}/...", with
// {{ and }} for braces in names. A path without a root is accepted if one of the publisher's roots is what it begins
// with, as some hosts publish it.
func parsePath(p string, roots avalon.Roots) (template, error) {
	if !strings.HasPrefix(p, "{root") {
		for name, root := range roots {
			if rel, ok := below(p, root); ok {
				return template{root: name, rel: rel}, nil
			}
		}
		return template{}, fmt.Errorf("path %q does not begin with {root} or {root[NAME]}, nor with the root it was published under", p)
	}
	field, rest, ok := strings.Cut(p[len("{root"):], "}")
	if !ok {
		return template{}, fmt.Errorf("path %q: the brace of {root is not closed", p)
	}
	var t template
	if field != "" {
		name, ok := strings.CutPrefix(field, "[")
		name, closed := strings.CutSuffix(name, "]")
		if !ok || !closed || name == "" {
			return template{}, fmt.Errorf("path %q: {root%s} is neither {root} nor {root[NAME]}", p, field)
		}
		t.root = name
	}
	t.rel = unescape.Replace(rest)
	if t.rel == "" || !strings.ContainsRune(`/\`, rune(t.rel[0])) {
		return template{}, fmt.Errorf("path %q: a separator must follow the root", p)
	}
	return t, nil
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

// unescape undoes the doubling of braces in a format string. Publishers that know nothing of it record single
// ones as they are.
var unescape = strings.NewReplacer("{{", "{", "}}", "}")

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
}

// resolveRoots finds out which roots a file's path is below, on this machine and on the site, without asking the file
// system. The error is of class [site.Held] if the settings do not know the root, which is no file's own trouble.
func resolveRoots(f *avalon.File, documentRoots avalon.Roots, local, remote config.Roots) (t template, here, there string, err error) {
	if t, err = parsePath(f.Path, documentRoots); err != nil {
		return t, "", "", err
	}
	if local.IsZero() {
		here = documentRoots[t.root]
		if here == "" {
			return t, "", "", unknownRoot("context.root of the representation has no %s; set local_root in config.json", rootName(t.root))
		}
	} else {
		var ok bool
		if here, ok = local.Lookup(t.root); !ok {
			return t, "", "", unknownRoot("local_root in config.json has no %s", rootName(t.root))
		}
	}
	if !filepath.IsAbs(here) {
		return t, "", "", unknownRoot("root %q is not a path of this system (%s): it was published from another one; set local_root "+
			"in config.json to where the storage is mounted here", here, runtime.GOOS)
	}
	there, ok := remote.Lookup(t.root)
	if !ok {
		return t, "", "", unknownRoot("root of the site in gdrive.json has no %s", rootName(t.root))
	}
	return t, here, there, nil
}

// locate resolves a file's path on this machine and on the site. It may ask the file system. The error is that of
// resolveRoots, or the file's.
func locate(f *avalon.File, documentRoots avalon.Roots, local, remote config.Roots) (source, error) {
	t, here, target, err := resolveRoots(f, documentRoots, local, remote)
	if err != nil {
		return source{}, err
	}
	s := source{root: here}
	// A backslash is a separator to a publisher on Windows, and part of a name to one on Linux who has such a
	// file.
	rel := t.rel
	if strings.Contains(rel, `\`) && (runtime.GOOS == "windows" || !exists(filepath.Join(s.root, rel))) {
		rel = strings.ReplaceAll(rel, `\`, "/")
	}
	if s.rel, err = relative(rel); err != nil {
		return source{}, err
	}
	s.remote = path.Join(target, s.rel)
	return s, nil
}

func unknownRoot(format string, args ...any) error {
	return site.Classed(site.Held, fmt.Errorf(format, args...))
}

func rootName(name string) string {
	if name == "" {
		return "plain root, which the path begins with"
	}
	return fmt.Sprintf("root %q, which the path begins with", name)
}

func exists(p string) bool {
	_, err := os.Lstat(p)
	return err == nil
}

// open opens the source for reading if it is the file that was published. The error's class tells what is
// the matter: [site.Held] if the storage is not mounted, [site.Waiting] if the file is not there yet or not
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
		var rel string
		if rel, err = s.resolve(); err == nil {
			f, err = openBelow(s.root, rel)
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

// missed tells why the source could not be found or opened.
func (s source) missed(err error) error {
	if mountErr := mounted(s.root); mountErr != nil {
		return site.Classed(site.Held, mountErr)
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return site.Classed(site.Waiting, fmt.Errorf("the source %s is not there", s))
	case leased(err):
		return site.Classed(site.Waiting, fmt.Errorf("the source %s is still held by who wrote it: %w", s, err))
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
		return site.Classed(site.Waiting, fmt.Errorf("the source %s has %d bytes, %d were published", s, info.Size(), size))
	}
	return nil
}

// changed tells whether the source is still what it was when it was opened: the open file, and the one that now
// has its name. Inodes are not compared, as some network storages give a file a new one each time.
func (s source) changed(f *os.File, before os.FileInfo) error {
	for _, stat := range []func() (os.FileInfo, error){f.Stat, func() (os.FileInfo, error) { return os.Stat(s.String()) }} {
		if now, err := stat(); err != nil || now.Size() != before.Size() || !now.ModTime().Equal(before.ModTime()) {
			return site.Classed(site.Waiting, fmt.Errorf("the source %s changed while it was read", s))
		}
	}
	return nil
}

// resolve returns the path below the root where symbolic links lead to.
func (s source) resolve() (string, error) {
	root, err := filepath.EvalSymlinks(s.root)
	if err != nil {
		return "", err
	}
	target, err := filepath.EvalSymlinks(s.String())
	if err != nil {
		return "", err
	}
	rel, err := filepath.Rel(root, target)
	if err != nil || !filepath.IsLocal(rel) {
		return "", errors.New("a symbolic link leads out of the root")
	}
	return rel, nil
}

// String is the path on this machine.
func (s source) String() string { return filepath.Join(s.root, filepath.FromSlash(s.rel)) }

// mounted tells an empty mount point, and a missing one, from a storage that is there.
func mounted(root string) error {
	d, err := os.Open(root)
	if err == nil {
		defer d.Close()
		var names []string
		if names, err = d.Readdirnames(1); len(names) > 0 {
			return nil
		}
	}
	return fmt.Errorf("the storage is not mounted: %s is empty or can't be read (%v)", root, err)
}

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

// Source returns the path that a file is read from on this machine. The error says what is the matter with the
// settings or the storage, not with the file.
func Source(f *avalon.File, documentRoots avalon.Roots, local, remote config.Roots) (string, error) {
	src, err := locate(f, documentRoots, local, remote)
	if err != nil {
		return "", err
	}
	return src.String(), mounted(src.root)
}
