package local

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/text/unicode/norm"

	"sitesync/site"
)

// forWriting is the location under the names that the storage has: folders, and the file, that are there in another
// normal form are written to, so that no second one of the same name is made.
func (l location) forWriting() location {
	if norm.NFC.String(l.rel) == l.rel && norm.NFD.String(l.rel) == l.rel {
		return l
	}
	for i := len(l.rel); i > 0; i = strings.LastIndexByte(l.rel[:i], '/') {
		part := location{l.root, l.rel[:i], l.links}.spelled()
		if exists(part.String()) {
			l.rel = part.rel + l.rel[i:]
			return l
		}
	}
	return l
}

// folder is the folder that the file is in.
func (l location) folder() location {
	dir := path.Dir(l.rel)
	return location{l.root, dir, l.links}
}

// openDeepest opens the folder of the file, or the deepest one on the way to it that is there. missing are the names of
// those that are not. What is opened is in the root, or in a folder that symbolic links may lead to.
func (l location) openDeepest() (at location, found *os.Root, missing []string, err error) {
	at = l.folder()
	for {
		found, err = at.openFolder()
		if !errors.Is(err, os.ErrNotExist) || at.rel == "." {
			break
		}
		missing = append([]string{path.Base(at.rel)}, missing...)
		at = at.folder()
	}
	if at.rel == "." || err != nil { // nothing of the path is there: the root may be a mount point without its mount
		if away := mountedForWriting(l.root); away != nil {
			if err == nil {
				found.Close()
			}
			return at, nil, nil, site.UnavailableIn(site.OneRoot, away)
		}
	}
	return at, found, missing, err
}

// openFolder opens a folder that is in the root, or in a folder that symbolic links may lead to.
func (l location) openFolder() (*os.Root, error) {
	found, err := openRootBelow(l.root, filepath.FromSlash(l.rel))
	if err == nil || errors.Is(err, os.ErrNotExist) || l.rel == "." {
		return found, err
	}
	if blocked := l.notAFolder(); blocked != nil {
		return nil, blocked
	}
	// A Root takes no absolute symbolic link, not even one that stays inside of it.
	root, rel, err := location{l.root, l.rel + "/.", l.links}.resolve() // what is in the folder
	if err != nil {
		return nil, err
	}
	return openRootBelow(root, rel)
}

// notAFolder returns an error if something on the way to a folder, or the folder itself, is there and is none.
func (l location) notAFolder() error {
	for i := 0; i <= len(l.rel); i++ {
		if i < len(l.rel) && l.rel[i] != '/' {
			continue
		}
		at := filepath.Join(l.root, filepath.FromSlash(l.rel[:i]))
		if info, err := os.Stat(at); err == nil && !info.IsDir() {
			return fmt.Errorf("%s is %s, and a folder has to be there; move it away", at, kind(info.Mode()))
		}
	}
	return nil
}

// openRootStepwise opens a folder below a root, one step after the other. Symbolic links do not lead out of it.
func openRootStepwise(root, rel string) (*os.Root, error) {
	r, err := os.OpenRoot(root)
	if err != nil || rel == "." {
		return r, err
	}
	defer r.Close()
	return r.OpenRoot(rel)
}

// makeFolder makes a folder in another one, unless it is there, and opens it.
func (s *Site) makeFolder(in *os.Root, name string) (*os.Root, error) {
	err := in.Mkdir(name, 0o777)
	if err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if err == nil {
		if err := s.syncFolder(in); err != nil {
			return nil, err
		}
	}
	made, err := in.OpenRoot(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil,
			fmt.Errorf("%s is a symbolic link that leads nowhere, and a folder has to be there; remove it", name)
	}
	return made, err
}

// mountedForWriting is mounted for a root that is written to. A new storage is as empty as a mount point.
func mountedForWriting(root string) error {
	info, err := os.Stat(root)
	if err == nil && !info.IsDir() {
		return fmt.Errorf("the root %s is %s and no folder; correct local_root", root, kind(info.Mode()))
	}
	if err := mounted(root); err != nil {
		return fmt.Errorf("%w; mount it, or, if it is a new storage, make a folder in it; nothing is written into an "+
			"empty root", err)
	}
	return nil
}
