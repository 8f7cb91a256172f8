package drive

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// answerFile sends a rendered file.
func (c *call) answerFile(doc map[string]any) error { return writeJSON(c.w, http.StatusOK, doc) }

// generateIDs is files.generateIds.
func (c *call) generateIDs() error {
	space, kind := or(c.query.Get("space"), "drive"), or(c.query.Get("type"), "files")
	if space != "drive" && space != "appDataFolder" {
		return errInvalid("space", "Invalid Value")
	}
	if kind != "files" && kind != "shortcuts" {
		return errInvalid("type", "Invalid Value")
	}
	count, _ := strconv.Atoi(or(c.query.Get("count"), "10"))
	ids := make([]any, count)
	for i := range ids {
		ids[i] = c.s.tree.newID(c.account)
	}
	return c.json(map[string]any{"kind": "drive#generatedIds", "space": space, "ids": ids})
}

// getFile is files.get, also with alt=media.
func (c *call) getFile() error {
	t := c.s.tree
	if c.query.Get("alt") == "media" {
		return c.download()
	}
	t.mu.RLock()
	it := t.lookup(c.account, c.id, c.allDrives())
	if it == nil {
		t.mu.RUnlock()
		return errNotFound(c.id)
	}
	doc := c.render(it, c.mask)
	t.mu.RUnlock()
	return c.answerFile(doc)
}

// download sends the content of a file, or a range of it. supportsAllDrives is
// not needed for it: rclone downloads from shared drives without.
func (c *call) download() error {
	file, mimeType, err := c.openContent()
	if err != nil {
		return err
	}
	defer file.Close()
	if c.fault != nil && c.fault.Fault.Effect == EffectIgnoreRange {
		c.r.Header.Del("Range")
	}
	c.w.Header().Set("Content-Type", mimeType)
	w := &rangeWriter{ResponseWriter: c.w}
	http.ServeContent(w, c.r, "", time.Time{}, file)
	switch {
	case w.refused:
		return &apiError{Code: 416, Reason: "requestedRangeNotSatisfiable", Message: "Request range not satisfiable",
			LocationType: "header", Location: "Range"}
	case c.w.broken:
		return errBroken
	}
	return nil
}

// openContent opens what is downloaded.
func (c *call) openContent() (io.ReadSeekCloser, string, error) {
	t := c.s.tree
	t.mu.RLock()
	defer t.mu.RUnlock()
	it := t.lookup(c.account, c.id, true)
	if it == nil {
		return nil, "", errNotFound(c.id)
	}
	if it.content == nil {
		refused := reasonError(403, "fileNotDownloadable", "", 0)
		refused.LocationType, refused.Location = "parameter", "alt"
		return nil, "", refused
	}
	role := it.role(c.account)
	if protected, _ := it.extra["copyRequiresWriterPermission"].(bool); protected && role < Writer {
		return nil, "", reasonError(403, "cannotDownloadFile", "", 0)
	}
	acknowledged := it.refused == abusive && c.flag("acknowledgeAbuse") && role >= Organizer
	if it.refused != "" && !acknowledged {
		return nil, "", reasonError(403, it.refused, "", 0)
	}
	file, err := it.content.open()
	return file, it.mime, err
}

// rangeWriter keeps ServeContent from answering a range outside of the file in
// its own words.
type rangeWriter struct {
	http.ResponseWriter
	refused bool
}

func (w *rangeWriter) WriteHeader(status int) {
	// The last 0 bytes, "bytes=-0", are no range (RFC 9110, 14.1.2), but ServeContent sends them.
	if h := w.Header(); status == http.StatusPartialContent && h.Get("Content-Length") == "0" {
		status = http.StatusRequestedRangeNotSatisfiable
		_, size, _ := strings.Cut(h.Get("Content-Range"), "/")
		h.Set("Content-Range", "bytes */"+size)
		h.Del("Content-Length")
	}
	if w.refused = status == http.StatusRequestedRangeNotSatisfiable; !w.refused {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *rangeWriter) Write(p []byte) (int, error) {
	if w.refused {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// createFile is files.create in all its forms.
func (c *call) createFile() error {
	if c.upload {
		return c.receive()
	}
	m, err := c.metadata()
	if err != nil {
		return err
	}
	var content *blob
	if !strings.HasPrefix(m.mime, nativeTypes) {
		content = c.s.store.draft().finish() // a file of no bytes
	}
	return c.commit(m, "", content)
}

// updateFile is files.update in all its forms.
func (c *call) updateFile() error {
	if c.upload {
		return c.receive()
	}
	m, err := c.metadata()
	if err != nil {
		return err
	}
	return c.commit(m, "", nil)
}

// commit does a create or an update and answers. mediaType is the type of the
// content if the metadata names none.
func (c *call) commit(m *metadata, mediaType string, content *blob) error {
	doc, err := c.apply(m, mediaType, content)
	if err != nil {
		if content != nil {
			content.remove()
		}
		return err
	}
	return c.answerFile(doc)
}

// apply changes the tree and renders the file.
func (c *call) apply(m *metadata, mediaType string, content *blob) (map[string]any, *apiError) {
	t := c.s.tree
	t.mu.Lock()
	var old *blob
	var it *item
	var err *apiError
	if content != nil && c.m.ID == "drive.files.create" && strings.HasPrefix(m.mime, nativeTypes) {
		defer content.remove() // converted
	}
	if c.m.ID == "drive.files.create" {
		it, err = c.applyCreate(m, mediaType, content)
	} else {
		it, old, err = c.applyUpdate(m, mediaType, content)
	}
	var doc map[string]any
	if err == nil {
		if c.upload && content != nil {
			c.account.addUpload(c.s.now(), content.size)
		}
		c.target = it.id
		doc = c.render(it, c.mask)
	}
	t.mu.Unlock()
	old.remove()
	return doc, err
}

// contentType is the type that a new file gets.
func contentType(m *metadata, mediaType string) string {
	return or(or(m.mime, mediaType), "application/octet-stream")
}

// checkCreate finds the parent of a new item and refuses what Drive refuses.
// size is below 0 if it is not known yet. The tree must be locked.
func (c *call) checkCreate(m *metadata, mediaType string, size int64) (parent *item, err *apiError) {
	t := c.s.tree
	mimeType := contentType(m, mediaType)
	native := strings.HasPrefix(mimeType, nativeTypes)
	if m.id != "" {
		if t.items[m.id] != nil || t.gone[m.id] {
			return nil, errIDInUse()
		}
		if !t.generated(c.account, m.id) {
			return nil, errIDNotUsable()
		}
		if native && mimeType != folderType && mimeType != shortcutType {
			return nil, &apiError{Code: 400, Reason: "generatedIdNotSupported",
				Message: "Generated IDs are not supported for Docs Editors formats."}
		}
	}
	parent = t.lookup(c.account, or(m.parent, "root"), c.allDrives())
	if parent == nil {
		return nil, errNotFound(m.parent)
	}
	if !parent.isFolder() {
		return nil, &apiError{Code: 403, Reason: "parentNotAFolder", Message: "The specified parent is not a folder."}
	}
	if parent.role(c.account) < Writer {
		return nil, errParentPermission()
	}
	if err := c.s.checkRoom(parent, nil, mimeType == folderType); err != nil {
		return nil, err
	}
	if c.upload && (mimeType == folderType || mimeType == shortcutType) {
		return nil, errBadRequest("A folder or a shortcut has no content.")
	}
	if m.shortcutTarget != "" {
		switch target := t.lookup(c.account, m.shortcutTarget, c.allDrives()); {
		case target == nil:
			return nil, errNotFound(m.shortcutTarget)
		case target.shortcut != nil:
			return nil, &apiError{Code: 403, Reason: "shortcutTargetInvalid",
				Message: "The shortcut target is invalid."}
		}
	}
	if !native {
		if err := c.s.checkStorage(parent.drive, c.account, max(size, 0), 0); err != nil {
			return nil, err
		}
		if err := c.checkUpload(size); err != nil {
			return nil, err
		}
	}
	return parent, nil
}

// checkUpload refuses content beyond the limits of a day and of a file.
func (c *call) checkUpload(size int64) *apiError {
	if !c.upload {
		return nil
	}
	most, err := strconv.ParseInt(c.m.MediaUpload.MaxSize, 10, 64)
	if err == nil && size > most {
		return &apiError{Code: 413, Reason: "uploadTooLarge", Message: "Request Too Large"}
	}
	return c.s.checkDaily(c.account, max(size, 0), c.s.now())
}

func (c *call) applyCreate(m *metadata, mediaType string, content *blob) (*item, *apiError) {
	size := int64(-1)
	if content != nil {
		size = content.size
	}
	parent, err := c.checkCreate(m, mediaType, size)
	if err != nil {
		return nil, err
	}
	now := c.s.now()
	it := &item{
		id: m.id, name: or(m.name, "Untitled"), mime: contentType(m, mediaType), owner: c.account, content: content,
		created: or(m.created, now), modified: or(m.modified, now), born: now, revision: 1, modifier: c.account,
		extra: mergeExtra(nil, m.extra),
	}
	if it.id == "" {
		it.id = c.s.tree.newID(nil)
	}
	if m.shortcutTarget != "" {
		target := c.s.tree.items[m.shortcutTarget]
		it.shortcut, it.name = shortcutTo(target), or(m.name, target.name)
	}
	if it.isDocument() {
		it.content = nil // what was uploaded has been converted
	}
	c.s.tree.insert(it, parent)
	return it, nil
}

// checkUpdate finds the item of an update and refuses what Drive refuses. The
// tree must be locked.
func (c *call) checkUpdate(m *metadata, size int64) (*item, *apiError) {
	it := c.s.tree.lookup(c.account, c.id, c.allDrives())
	if it == nil {
		return nil, errNotFound(c.id)
	}
	role := it.role(c.account)
	if role < Writer || it.parent == nil || m.trashed != nil && *m.trashed != it.trashed && !it.canTrash(role) {
		return nil, errFilePermission(c.id)
	}
	into := c.upload && it.isDocument() // converted, whatever it is
	if m.mime != "" && m.mime != it.mime && !into &&
		(strings.HasPrefix(m.mime, nativeTypes) || strings.HasPrefix(it.mime, nativeTypes)) {
		return nil, errBadRequest("Neither can one of Google's own types become another type, nor another type one " +
			"of them.")
	}
	if c.upload {
		if it.isFolder() || it.shortcut != nil {
			return nil, errBadRequest("A folder or a shortcut has no content.")
		}
		if err := c.s.checkStorage(it.drive, it.owner, max(size, 0), it.size()); err != nil {
			return nil, err
		}
		if err := c.checkUpload(size); err != nil {
			return nil, err
		}
	}
	return it, nil
}

func (c *call) applyUpdate(m *metadata, mediaType string, content *blob) (it *item, old *blob, err *apiError) {
	t := c.s.tree
	size := int64(-1)
	if content != nil {
		size = content.size
	}
	if it, err = c.checkUpdate(m, size); err != nil {
		return nil, nil, err
	}
	to, err := c.newParents(it)
	if err != nil {
		return nil, nil, err
	}
	now := c.s.now()
	it.name = or(m.name, it.name)
	if !it.isDocument() {
		it.mime = or(or(m.mime, mediaType), it.mime)
	}
	if m.trashed != nil && *m.trashed != it.trashed {
		it.trashed, it.trashAt = *m.trashed, now
	}
	switch {
	case content != nil && it.isDocument():
		// Google converts what it gets; what the people wrote is gone. The API
		// allows it, but who does not mean to must not do it.
		c.s.addViolation(c, fmt.Sprintf("content was written into %q (%s), a %s", it.name, it.id, it.mime))
		old = content
		it.revision++
	case content != nil:
		old = t.setContent(it, content)
	}
	if !m.modified.IsZero() {
		it.modified = m.modified
	} else if content != nil || m.name != "" || len(m.extra) > 0 {
		it.modified = now
	}
	it.extra = mergeExtra(it.extra, m.extra)
	if to != nil {
		t.move(it, to, c.account)
	}
	t.touch(it, c.account)
	return it, old, nil
}

// mergeExtra makes the new map of extra fields. null deletes; properties are
// merged by key.
func mergeExtra(have, change map[string]any) map[string]any {
	if len(change) == 0 {
		return have
	}
	out := maps.Clone(have)
	if out == nil {
		out = map[string]any{}
	}
	for name, value := range change {
		inner, isMap := value.(map[string]any)
		switch {
		case value == nil:
			delete(out, name)
		case isMap:
			before, _ := out[name].(map[string]any)
			out[name] = mergeExtra(before, inner)
		default:
			out[name] = value
		}
	}
	return out
}

// newParents reads addParents and removeParents; nil is no move.
func (c *call) newParents(it *item) ([]*item, *apiError) {
	t := c.s.tree
	split := func(name string) []string {
		return strings.FieldsFunc(c.query.Get(name), func(r rune) bool { return r == ',' || r == ' ' })
	}
	add, remove := split("addParents"), split("removeParents")
	if len(add) == 0 && len(remove) == 0 {
		return nil, nil
	}
	parentLimit := &apiError{Code: 403, Reason: "cannotAddParent",
		Message: "Increasing the number of parents is not allowed"}
	if it.drive != nil {
		parentLimit = &apiError{Code: 403, Reason: "teamDrivesParentLimit",
			Message: "A shared drive item must have exactly one parent."}
	}
	parents := it.parents()
	for _, id := range remove {
		from := t.lookup(c.account, id, c.allDrives())
		if from == nil {
			return nil, errNotFound(id)
		}
		parents = slices.DeleteFunc(parents, func(p *item) bool { return p == from })
	}
	if len(add) > 1 {
		return nil, parentLimit
	}
	var to *item
	if len(add) == 1 {
		if to = t.lookup(c.account, add[0], c.allDrives()); to == nil {
			return nil, errNotFound(add[0])
		}
		if slices.Contains(it.parents(), to) {
			to = nil // it is there already, and stays
			if len(parents) == 0 {
				return nil, nil
			}
		}
	}
	if to != nil {
		parents = append([]*item{to}, parents...)
	}
	switch {
	case len(parents) == 0:
		return nil, &apiError{Code: 403, Reason: parentLimit.Reason, Message: "A file must have exactly one parent."}
	case len(parents) > len(it.parents()):
		return nil, parentLimit
	case to == nil:
		return parents, nil
	case !to.isFolder():
		return nil, &apiError{Code: 403, Reason: "parentNotAFolder", Message: "The specified parent is not a folder."}
	case to.within(it):
		return nil, errBadRequest("A folder can't be moved into itself.")
	case to.role(c.account) < Writer:
		return nil, errParentPermission()
	case it.drive != nil && it.role(c.account) < ContentManager:
		return nil, errFilePermission(it.id)
	case it.drive != to.drive && it.isFolder():
		return nil, &apiError{Code: 403, Reason: "teamDrivesFolderMoveInNotSupported",
			Message: "Moving folders into shared drives is not supported."}
	}
	if err := c.s.checkRoom(to, it.drive, it.isFolder()); err != nil {
		return nil, err
	}
	if it.drive != to.drive {
		if err := c.s.checkStorage(to.drive, c.account, it.size(), 0); err != nil {
			return nil, err
		}
	}
	return parents, nil
}

// deleteFile is files.delete.
func (c *call) deleteFile() error {
	t := c.s.tree
	t.mu.Lock()
	it := t.lookup(c.account, c.id, c.allDrives())
	if it == nil {
		t.mu.Unlock()
		return errNotFound(c.id)
	}
	if !it.canDelete(it.role(c.account)) {
		t.mu.Unlock()
		return errFilePermission(c.id)
	}
	blobs := t.remove(it)
	t.mu.Unlock()
	for _, b := range blobs {
		b.remove()
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
