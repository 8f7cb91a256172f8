package drive

import (
	"bytes"
	"encoding/json"
	"io"
)

// itemName finds the name of the item that a request is about, before any work
// is done: what has to be read of the body for it is put back.
func (c *call) itemName() string {
	switch {
	case c.m == nil:
		return c.s.sessions.name(c.query.Get("upload_id"))
	case c.id != "":
		return c.s.nameOf(c.id)
	case c.m.ID != "drive.files.create":
		return ""
	}
	var read bytes.Buffer
	body := c.r.Body
	from := io.TeeReader(body, &read)
	var meta []byte
	var err error
	switch c.query.Get("uploadType") {
	case "multipart":
		meta, _, _, err = splitMultipart(c.r.Header.Get("Content-Type"), from)
	case "media": // it has no metadata
	default:
		meta, err = io.ReadAll(io.LimitReader(from, maxMetadata+1))
	}
	c.r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(&read, body), body}
	var file struct{ Name string }
	if err != nil || json.Unmarshal(meta, &file) != nil {
		return "" // the work will refuse it
	}
	return file.Name
}

// nameOf is the name of an item, empty if there is none with that id.
func (s *Server) nameOf(id string) string {
	s.tree.mu.RLock()
	defer s.tree.mu.RUnlock()
	if it := s.tree.items[id]; it != nil {
		return it.name
	}
	return ""
}

// name is the name of the item that a session writes.
func (s *sessions) name(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ss := s.known[id]; ss != nil {
		return ss.name
	}
	return ""
}
