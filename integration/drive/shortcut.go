package drive

const (
	shortcutType = nativeTypes + "shortcut"
	documentType = nativeTypes + "document"
)

// AddShortcut makes a shortcut in a folder to an item of any drive, also if something of that name is there. It stays when
// the item goes.
func (s *Server) AddShortcut(parentID, name, targetID string) string {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	parent, target := s.tree.must(parentID), s.tree.must(targetID)
	it := s.newItem(parent, name, shortcutType)
	it.extra = map[string]any{"shortcutDetails": map[string]any{"targetId": target.id, "targetMimeType": target.mime}}
	s.tree.insert(it, parent)
	return it.id
}

// AddDoc makes a Google Doc in a folder, also if something of that name is there: it has no content that could be
// downloaded, and neither a size nor an MD5.
func (s *Server) AddDoc(parentID, name string) string {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	parent := s.tree.must(parentID)
	it := s.newItem(parent, name, documentType)
	s.tree.insert(it, parent)
	return it.id
}
