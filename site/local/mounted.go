package local

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"sitesync/site"
)

// mounted returns an error if a root is missing, or is an empty mount point.
func mounted(root string) error {
	err := entered(root)
	if err == nil {
		return nil
	}
	if err == io.EOF {
		return fmt.Errorf("the storage is not mounted: %s is empty", root)
	}
	return fmt.Errorf("the storage is not mounted: %s can't be read (%v)", root, err)
}

// entered returns an error if a folder can't be read, or is empty ([io.EOF]).
func entered(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Readdirnames(1)
	if len(names) > 0 {
		return nil
	}
	if err == nil {
		err = io.EOF
	}
	return err
}

// away looks why a source could not be had: a folder on the way to it may be on a storage of its own, which is away. It
// is nil if all of them are there: then it is the file's own failure.
func (l location) away(why error) error {
	if err := mounted(l.root); err != nil {
		return site.UnavailableIn(site.OneRoot, err)
	}
	project, ok := l.projectFolder()
	if !ok || !errors.Is(why, os.ErrNotExist) && !errors.Is(why, os.ErrPermission) && !isStorages(why) {
		return nil // the path is none that could be there
	}
	if err := l.projectThere(project); err != nil {
		return &site.Error{Class: site.Unavailable, Scope: site.OneFolder, Folder: project, Err: err}
	}
	if !isStorages(why) {
		return nil
	}
	// Further down, empty and missing folders are what publishing leaves: only a storage that fails is taken for away.
	for _, folder := range l.folders()[1:] {
		if err := answers(folder); err != nil {
			return &site.Error{Class: site.Unavailable, Scope: site.OneFolder, Folder: folder, Err: err}
		}
	}
	return nil
}

// projectFolder is the first folder below the root: mostly that of a project, and often a mount of its own. There is
// none for a file in the root itself.
func (l location) projectFolder() (folder string, ok bool) {
	first, _, ok := strings.Cut(l.rel, "/")
	if !ok {
		return "", false
	}
	return filepath.Join(l.root, first), true
}

// folders are those that the source is in, without the root, the outermost first.
func (l location) folders() (all []string) {
	for i, c := range l.rel {
		if c == '/' {
			all = append(all, filepath.Join(l.root, filepath.FromSlash(l.rel[:i])))
		}
	}
	return all
}

// projectThere returns an error if a project folder is missing, or only a mount point. In a folder that may be entered
// but not listed, what is missing is unknown.
func (l location) projectThere(folder string) error {
	there := location{root: l.root, rel: filepath.Base(folder)}.spelled().String()
	err := entered(there)
	if errors.Is(err, os.ErrPermission) {
		_, err = os.Stat(there + string(filepath.Separator) + ".")
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("the folder %s can't be read (%v); let the user that sitesync runs as read it", folder, err)
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("the folder %s is not mounted: it is not there, nor is anything in it (%v)", folder, err)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("the folder %s is not mounted: it is empty", folder)
	case isStorages(err):
		return fmt.Errorf("the folder %s is not mounted, or its storage fails (%v)", folder, err)
	}
	return nil // no folder, or no name for one
}

// answers returns an error if the storage of a folder fails.
func answers(folder string) error {
	if err := entered(folder); isStorages(err) {
		return fmt.Errorf("the folder %s is not mounted, or its storage fails (%v)", folder, err)
	}
	return nil
}

// there returns an error if a folder below the root is away.
func (l location) there(folder string) error {
	if err := mounted(l.root); err != nil {
		return err
	}
	if project, _ := l.projectFolder(); folder == project {
		return l.projectThere(folder)
	}
	return answers(folder)
}
