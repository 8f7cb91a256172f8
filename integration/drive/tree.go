package drive

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	folderType   = "application/vnd.google-apps.folder"
	shortcutType = "application/vnd.google-apps.shortcut"
	nativeTypes  = "application/vnd.google-apps."

	// DocumentType is the type of a Google Doc.
	DocumentType = "application/vnd.google-apps.document"
)

// tree holds every item of every drive. Of I/O, only a content is opened under
// its lock: it can't be removed meanwhile.
type tree struct {
	mu       sync.RWMutex
	items    map[string]*item
	gone     map[string]bool // ids of deleted items stay used
	accounts map[string]*Account
	drives   []*SharedDrive
	seq      int64
	idKey    []byte
}

// item is a file or a folder. All of it is guarded by the tree's lock; maps in
// it are replaced, never changed, once they were shown to a reader.
type item struct {
	id       string
	seq      int64
	name     string
	mime     string
	parent   *item   // nil for a root
	also     []*item // further parents, which items from before 2020 may have
	children map[*item]struct{}
	drive    *SharedDrive // nil in My Drive
	owner    *Account     // nil in a shared drive
	content  *blob        // nil for folders and Google's own document types
	created  time.Time
	modified time.Time
	born     time.Time // zero: not subject to the listing lag
	version  int64
	revision int64
	trashed  bool // explicitly
	trashAt  time.Time
	shares   map[*Account]share
	modifier *Account
	shortcut *shortcut      // nil for everything else
	extra    map[string]any // fields that are only kept and shown
	refused  string         // the reason why its content is not downloaded, empty if it is
}

// shortcut is what a shortcut knows of its target, as it was when the shortcut
// was made.
type shortcut struct {
	id, mime, resourceKey string
}

type share struct {
	role Role
	at   time.Time
}

func newTree() *tree {
	return &tree{
		items: map[string]*item{}, gone: map[string]bool{}, accounts: map[string]*Account{},
		idKey: []byte(rand.Text()),
	}
}

// randomText is unguessable text of n random bytes.
func randomText(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// newID makes an id that the account may give to a create. The id proves
// itself, so nothing needs to be remembered about ids that are never used.
func (t *tree) newID(a *Account) string {
	nonce := make([]byte, 12)
	rand.Read(nonce)
	return "1" + base64.RawURLEncoding.EncodeToString(append(nonce, t.seal(a, nonce)...))
}

func (t *tree) seal(a *Account, nonce []byte) []byte {
	mac := hmac.New(sha256.New, t.idKey)
	mac.Write(nonce)
	if a != nil {
		io.WriteString(mac, a.Email)
	}
	return mac.Sum(nil)[:12]
}

// generated reports whether the id was generated for the account.
func (t *tree) generated(a *Account, id string) bool {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(id, "1"))
	return err == nil && len(raw) == 24 && id[0] == '1' && hmac.Equal(raw[12:], t.seal(a, raw[:12]))
}

func (t *tree) addRoot(id, name string, now time.Time) *item {
	root := &item{id: id, name: name, mime: folderType, created: now, modified: now, version: 1,
		children: map[*item]struct{}{}}
	t.items[id] = root
	return root
}

// insert puts a finished item below its parent.
func (t *tree) insert(it, parent *item) {
	t.seq++
	it.seq, it.version = t.seq, t.seq
	it.drive = parent.drive
	if it.drive != nil {
		it.owner = nil
	}
	if it.isFolder() {
		it.children = map[*item]struct{}{}
	}
	t.items[it.id] = it
	t.attach(it, parent)
	t.account(it, 1)
}

func (t *tree) attach(it, parent *item) {
	it.parent = parent
	parent.children[it] = struct{}{}
}

// account adds (1) or takes away (-1) an item in the sums of its owner or drive.
func (t *tree) account(it *item, sign int) {
	if it.drive != nil {
		it.drive.items += sign
		it.drive.usage += int64(sign) * it.size()
	} else if it.owner != nil {
		it.owner.usage += int64(sign) * it.size()
	}
}

// setContent replaces a file's content and returns the old one.
func (t *tree) setContent(it *item, b *blob) *blob {
	t.account(it, -1)
	old := it.content
	it.content = b
	t.account(it, 1)
	it.revision++
	return old
}

// touch marks a change.
func (t *tree) touch(it *item, by *Account) {
	t.seq++
	it.version = t.seq
	if by != nil {
		it.modifier = by
	}
}

// remove deletes an item and what is below it, and returns the blobs to remove.
// What others own below a folder goes to the owner's My Drive, as Google does.
func (t *tree) remove(it *item) []*blob {
	var blobs []*blob
	for _, parent := range it.parents() {
		delete(parent.children, it)
	}
	var walk func(*item)
	walk = func(at *item) {
		for _, child := range slices.Collect(maps.Keys(at.children)) {
			if len(child.also) > 0 {
				child.setParents(slices.DeleteFunc(child.parents(), func(p *item) bool { return p == at }))
				continue
			}
			if child.owner != at.owner && child.owner != nil {
				delete(at.children, child)
				t.attach(child, child.owner.root)
				continue
			}
			walk(child)
		}
		t.account(at, -1)
		delete(t.items, at.id)
		t.gone[at.id] = true
		if at.content != nil {
			blobs = append(blobs, at.content)
		}
	}
	walk(it)
	return blobs
}

// move puts an item below other folders; a folder stays in its drive.
func (t *tree) move(it *item, parents []*item, by *Account) {
	to := parents[0]
	if it.drive != to.drive {
		t.account(it, -1)
		it.drive, it.owner, it.shares = to.drive, nil, nil
		if it.drive == nil {
			it.owner = by
		}
		t.account(it, 1)
	}
	it.setParents(parents)
}

// parents lists the folders in which an item is; only old ones are in several.
func (it *item) parents() []*item {
	if it.parent == nil {
		return nil
	}
	return append([]*item{it.parent}, it.also...)
}

// setParents puts the item into these folders and takes it out of all others.
func (it *item) setParents(parents []*item) {
	for _, old := range it.parents() {
		delete(old.children, it)
	}
	it.parent, it.also = parents[0], parents[1:]
	for _, parent := range parents {
		parent.children[it] = struct{}{}
	}
}

// isDocument reports whether the item is one of Google's own types that holds a
// person's work, such as a Google Doc.
func (it *item) isDocument() bool {
	return strings.HasPrefix(it.mime, nativeTypes) && !it.isFolder() && it.shortcut == nil
}

func (it *item) isFolder() bool { return it.mime == folderType }

func (it *item) size() int64 {
	if it.content == nil {
		return 0
	}
	return it.content.size
}

// inTrash reports whether the item or a folder above it is trashed.
func (it *item) inTrash() bool {
	for at := it; at != nil; at = at.parent {
		if at.trashed {
			return true
		}
	}
	return false
}

// within reports whether the item is the folder or below it.
func (it *item) within(folder *item) bool {
	for at := it; at != nil; at = at.parent {
		if at == folder {
			return true
		}
	}
	return false
}

// role is what the account may do with the item: its own, what was shared on
// the way up, what it has in the drive. The owner of a folder may change what
// others put into it.
func (it *item) role(a *Account) Role {
	best := NoRole
	for at := it; at != nil; at = at.parent {
		best = max(best, at.shares[a].role)
		if at.owner == a {
			if at == it {
				return Owner
			}
			best = max(best, Writer)
		}
		if at.parent == nil && at.drive != nil {
			best = max(best, at.drive.members[a])
		}
		for _, folder := range at.also {
			best = max(best, min(folder.role(a), Writer))
		}
	}
	return best
}

// canTrash and canDelete: in My Drive the owner, in a shared drive from content
// manager and from organizer on.
func (it *item) canTrash(r Role) bool {
	if it.parent == nil {
		return false
	}
	return r == Owner || it.drive != nil && r >= ContentManager
}

func (it *item) canDelete(r Role) bool {
	if it.parent == nil {
		return false
	}
	return r == Owner || it.drive != nil && r >= Organizer
}

// lookup finds an item that the account may see. An item of a shared drive is
// only found by a request that says it can deal with those.
func (t *tree) lookup(a *Account, id string, allDrives bool) *item {
	it := t.items[id]
	if id == "root" {
		it = a.root
	}
	if it == nil || it.drive != nil && !allDrives || it.role(a) == NoRole {
		return nil
	}
	return it
}

// File is an item as assertions want to see it.
type File struct {
	ID           string    `json:"id"`
	Name         string    `json:"name"`
	Path         string    `json:"path"` // below the drive's root, "a/b/c"
	Drive        string    `json:"drive,omitempty"`
	Owner        string    `json:"owner,omitempty"` // email; empty in a shared drive
	Parent       string    `json:"parent"`
	MimeType     string    `json:"mimeType"`
	MD5          string    `json:"md5,omitempty"`
	Size         int64     `json:"size"`
	Trashed      bool      `json:"trashed,omitempty"` // it or a folder above it
	Folder       bool      `json:"folder,omitempty"`
	Target       string    `json:"target,omitempty"` // id to which a shortcut leads
	CreatedTime  time.Time `json:"createdTime"`
	ModifiedTime time.Time `json:"modifiedTime"`
	Version      int64     `json:"version"`
	Revision     int64     `json:"revision"` // how often the content was written
}

func (it *item) file() File {
	f := File{
		ID: it.id, Name: it.name, Path: it.name, MimeType: it.mime, Size: it.size(), Trashed: it.inTrash(),
		Folder: it.isFolder(), CreatedTime: it.created, ModifiedTime: it.modified, Version: it.version,
		Revision: it.revision,
	}
	if it.content != nil {
		f.MD5 = it.content.md5
	}
	if it.drive != nil {
		f.Drive = it.drive.Name
	}
	if it.shortcut != nil {
		f.Target = it.shortcut.id
	}
	if it.owner != nil {
		f.Owner = it.owner.Email
	}
	if it.parent != nil {
		f.Parent = it.parent.id
		for at := it.parent; at.parent != nil; at = at.parent {
			f.Path = at.name + "/" + f.Path
		}
	}
	return f
}

// Files lists everything but the roots, trash included, in the order of
// creation.
func (s *Server) Files() []File {
	return s.filesWhere(func(it *item) bool { return it.parent != nil })
}

func (s *Server) filesWhere(want func(*item) bool) []File {
	s.tree.mu.RLock()
	defer s.tree.mu.RUnlock()
	var found []*item
	for _, it := range s.tree.items {
		if want(it) {
			found = append(found, it)
		}
	}
	slices.SortFunc(found, func(a, b *item) int { return cmp.Compare(a.seq, b.seq) })
	out := make([]File, len(found))
	for i, it := range found {
		out[i] = it.file()
	}
	return out
}

// Find lists what has the path, such as "a/b/c.exr", below the place's root and
// is not in the trash. Names are compared exactly and may stand there twice.
func (s *Server) Find(place Place, path string) []File {
	s.tree.mu.RLock()
	defer s.tree.mu.RUnlock()
	at := []*item{place.place()}
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		var next []*item
		for _, folder := range at {
			next = append(next, folder.named(name)...)
		}
		at = next
	}
	out := make([]File, len(at))
	for i, it := range at {
		out[i] = it.file()
	}
	return out
}

// named lists the children of that exact name which are not trashed, oldest
// first.
func (it *item) named(name string) []*item {
	var out []*item
	for child := range it.children {
		if child.name == name && !child.inTrash() {
			out = append(out, child)
		}
	}
	slices.SortFunc(out, func(a, b *item) int { return cmp.Compare(a.seq, b.seq) })
	return out
}

// Duplicates lists the paths that more than one item outside of the trash has.
func (s *Server) Duplicates() []string {
	type key struct{ parent, name string }
	seen := map[key]int{}
	var out []string
	for _, f := range s.Files() {
		if f.Trashed {
			continue
		}
		k := key{f.Parent, f.Name}
		if seen[k]++; seen[k] == 2 {
			out = append(out, or(f.Drive, f.Owner)+": "+f.Path)
		}
	}
	return out
}

// Get returns one item by its id.
func (s *Server) Get(id string) (File, bool) {
	s.tree.mu.RLock()
	defer s.tree.mu.RUnlock()
	it := s.tree.items[id]
	if it == nil {
		return File{}, false
	}
	return it.file(), true
}

// Content opens the content of a file.
func (s *Server) Content(id string) (io.ReadCloser, error) {
	s.tree.mu.RLock()
	defer s.tree.mu.RUnlock()
	it := s.tree.items[id]
	if it == nil || it.content == nil {
		return nil, fmt.Errorf("content of %s: no such file", id)
	}
	return it.content.open()
}

// must finds an item for a set-up function; a wrong id is a mistake in the test.
func (t *tree) must(id string) *item {
	it := t.items[id]
	if it == nil {
		panic(fmt.Sprintf("drive emulator: no item with id %q", id))
	}
	return it
}

// Mkdir makes the folders of a path such as "a/b/c" below a place, or finds
// them, and returns the id of the last.
func (s *Server) Mkdir(place Place, path string) string {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	at := place.place()
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if name == "" {
			continue
		}
		var next *item
		for _, child := range at.named(name) {
			if child.isFolder() {
				next = child
				break
			}
		}
		if next == nil {
			next = s.newItem(at, name, folderType)
			s.tree.insert(next, at)
		}
		at = next
	}
	return at.id
}

// AddFolder makes a folder in a folder, also if one of that name is there.
func (s *Server) AddFolder(parentID, name string) string {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	parent := s.tree.must(parentID)
	it := s.newItem(parent, name, folderType)
	s.tree.insert(it, parent)
	return it.id
}

// AddFile makes a file in a folder, owned like the folder, also if one of that
// name is there, and returns its id. It costs no call and is listed at once.
func (s *Server) AddFile(parentID, name string, content []byte) string {
	d := s.store.draft()
	if err := d.readFrom(strings.NewReader(string(content)), -1, false); err != nil {
		panic(fmt.Sprintf("drive emulator: %v", err))
	}
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	parent := s.tree.must(parentID)
	it := s.newItem(parent, name, "application/octet-stream")
	it.content, it.revision = d.finish(), 1
	s.tree.insert(it, parent)
	return it.id
}

// AddShortcut makes a shortcut to an item, which may be in another drive, and
// returns its id. With an empty name it is called like its target.
func (s *Server) AddShortcut(parentID, name, targetID string) string {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	parent, target := s.tree.must(parentID), s.tree.must(targetID)
	it := s.newItem(parent, or(name, target.name), shortcutType)
	it.shortcut = shortcutTo(target)
	s.tree.insert(it, parent)
	return it.id
}

// AddDoc makes a Google Doc, also if something of that name is there, and returns
// its id. It has no content that could be downloaded.
func (s *Server) AddDoc(parentID, name string) string {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	parent := s.tree.must(parentID)
	it := s.newItem(parent, name, DocumentType)
	it.revision = 1
	s.tree.insert(it, parent)
	return it.id
}

// AddParent puts an item into one more folder, as was possible until 2020.
func (s *Server) AddParent(id, folderID string) {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	it, folder := s.tree.must(id), s.tree.must(folderID)
	if !slices.Contains(it.parents(), folder) {
		it.setParents(append(it.parents(), folder))
		s.tree.touch(it, nil)
	}
}

func shortcutTo(target *item) *shortcut {
	return &shortcut{id: target.id, mime: target.mime, resourceKey: target.resourceKey()}
}

// resourceKey is what a link to the item holds beside its id; items of shared
// drives have none here.
func (it *item) resourceKey() string {
	if it.owner == nil || it.parent == nil {
		return ""
	}
	sum := sha256.Sum256([]byte(it.id))
	return "0-" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

func (s *Server) newItem(parent *item, name, mime string) *item {
	now := s.now()
	return &item{id: s.tree.newID(nil), name: name, mime: mime, owner: parent.owner, created: now, modified: now,
		modifier: parent.owner}
}

// Share gives an account a role on an item and what is below it, or with NoRole
// takes it away.
func (s *Server) Share(id string, with *Account, role Role) {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	it := s.tree.must(id)
	shares := maps.Clone(it.shares)
	if shares == nil {
		shares = map[*Account]share{}
	}
	delete(shares, with)
	if role != NoRole {
		shares[with] = share{role, s.now()}
	}
	it.shares = shares
	s.tree.touch(it, nil)
}

// Trash puts an item into the trash, as a person does in the browser.
func (s *Server) Trash(id string) { s.setTrashed(id, true) }

// Untrash takes an item out of the trash.
func (s *Server) Untrash(id string) { s.setTrashed(id, false) }

func (s *Server) setTrashed(id string, trashed bool) {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	it := s.tree.must(id)
	it.trashed, it.trashAt = trashed, s.now()
	s.tree.touch(it, nil)
}

// abusive is the reason that Google gives for what it takes for malware. Its owner,
// or an organizer of the shared drive, may have it all the same.
const abusive = "cannotDownloadAbusiveFile"

// RefuseDownloads has nobody download a file's content, for a reason of Google's,
// such as cannotDownloadAbusiveFile or downloadQuotaExceeded; empty lets them again.
func (s *Server) RefuseDownloads(id, reason string) {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	s.tree.must(id).refused = reason
}

// Rename gives an item another name, as a person does in the browser.
func (s *Server) Rename(id, name string) {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	it := s.tree.must(id)
	it.name = name
	s.tree.touch(it, nil)
}

// Move puts an item into another folder, as a person does in the browser.
func (s *Server) Move(id, folderID string) {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	it, to := s.tree.must(id), s.tree.must(folderID)
	s.tree.move(it, []*item{to}, it.modifier)
	s.tree.touch(it, nil)
}

// Write gives a file other content, as a person does who uploads a new version.
func (s *Server) Write(id string, content []byte) {
	d := s.store.draft()
	if err := d.readFrom(bytes.NewReader(content), -1, false); err != nil {
		panic(fmt.Sprintf("drive emulator: %v", err))
	}
	s.tree.mu.Lock()
	it := s.tree.must(id)
	old := s.tree.setContent(it, d.finish())
	it.modified = s.now()
	s.tree.touch(it, nil)
	s.tree.mu.Unlock()
	old.remove()
}

// Delete deletes an item and what is below it for ever.
func (s *Server) Delete(id string) {
	s.tree.mu.Lock()
	blobs := s.tree.remove(s.tree.must(id))
	s.tree.mu.Unlock()
	for _, b := range blobs {
		b.remove()
	}
}
