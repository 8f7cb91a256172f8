package drive

import "testing"

func TestShortcutsAndDocs(t *testing.T) {
	s := StartTest(t)
	user := s.AddUser("artist@studio.example")
	folder := s.AddFolder(user.RootID(), "a")
	s.AddShortcut(user.RootID(), "a", folder)
	s.AddDoc(user.RootID(), "a")
	if n := len(s.Find(user, "a")); n != 3 {
		t.Errorf("%d items of one name", n)
	}
}
