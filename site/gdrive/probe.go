package gdrive

import (
	"context"
	"encoding/hex"
	"path"

	"sitesync/site"
)

// Probe is part of [site.Prober]. Nothing is created, and a missing root is the site's fault. The first probe in a
// folder lists it, which answers all later ones.
func (s *Site) Probe(ctx context.Context, p, id string) (site.Found, error) {
	var found items
	folder, err := s.folders.findExisting(ctx, path.Dir(p))
	if err == nil && folder != nil {
		found, err = s.folders.lookup(ctx, folder, path.Base(p), fileItem, nil)
	}
	if err != nil {
		return site.Found{}, err
	}
	at := found[fileItem]
	if at.id == "" {
		at = found[folderItem] // nothing is put there, but people may have
	}
	there := at.id != ""
	f := site.Found{State: site.Present, Object: site.Object{ID: at.id}, Name: path.Base(p), Size: at.size,
		Folder: at.kind == folderItem}
	if at.md5 != (digest{}) {
		f.MD5 = hex.EncodeToString(at.md5[:])
	}
	if there && (id == "" || id == at.id) {
		return f, nil
	}
	if id == "" {
		return site.Found{}, nil
	}
	// Listings lag, and people move files.
	f.ByID = true
	got, err := s.get(ctx, id, uploadFields)
	switch {
	case isNotFound(err):
		got = nil
	case err != nil:
		return site.Found{}, err
	}
	if there && (got == nil || !isAt(got, folder.id, path.Base(p))) {
		return f, nil // another one is in its place
	}
	if got == nil {
		return site.Found{ByID: true}, nil
	}
	f = site.Found{
		ByID:   true,
		State:  site.Moved,
		Object: site.Object{ID: got.Id, MD5: got.Md5Checksum},
		Name:   got.Name,
		Size:   got.Size,
		Folder: got.MimeType == folderType,
	}
	switch parent := parentOf(got); {
	case got.Trashed:
		f.State = site.Trashed
	case folder != nil && isAt(got, folder.id, path.Base(p)):
		f.State = site.Present
	case parent != "":
		// Only for people, so it may fail: the folder can be hidden from us.
		if in, err := s.get(ctx, parent, "name"); err == nil {
			f.CurrentFolder = in.Name
		}
	}
	return f, nil
}
