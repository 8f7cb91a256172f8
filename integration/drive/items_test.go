package drive_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	api "google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"

	"sitesync/integration/drive"
)

func TestShortcuts(t *testing.T) {
	s := newStudio(t)
	folder := s.Mkdir(s.show, "assets")
	s.AddFile(folder, "a.ma", []byte("abc"))
	create := func(name, target string) (*api.File, error) {
		return s.api.Files.Create(&api.File{Name: name, MimeType: shortcutType, Parents: []string{s.show.ID},
			ShortcutDetails: &api.FileShortcutDetails{TargetId: target}}).SupportsAllDrives(true).Fields("*").Do()
	}
	made := must(create("", folder))(t)
	if d := made.ShortcutDetails; made.Name != "assets" || d == nil || d.TargetId != folder ||
		d.TargetMimeType != folderType || made.Md5Checksum != "" || made.Size != 0 || made.MimeType != shortcutType {
		t.Fatalf("%+v", made)
	}
	byHand := s.AddShortcut(s.show.ID, "link", folder)
	seen := must(s.api.Files.Get(byHand).SupportsAllDrives(true).Fields("name,shortcutDetails").Do())(t)
	if seen.Name != "link" || seen.ShortcutDetails.TargetId != folder {
		t.Fatalf("%+v", seen)
	}
	if diff := cmp.Diff([]string{"assets", "link"}, s.names(t, "shortcutDetails.targetId = '"+folder+"'")); diff != "" {
		t.Fatal(diff)
	}
	// It holds neither content nor children, and leads to no other shortcut.
	_, err := create("x", byHand)
	wantError(t, err, 403, "shortcutTargetInvalid")
	_, err = create("x", "1nothing")
	wantError(t, err, 404, "notFound")
	_, err = s.api.Files.Create(&api.File{Name: "x", MimeType: shortcutType, Parents: []string{s.show.ID}}).
		SupportsAllDrives(true).Do()
	wantError(t, err, 400, "invalid")
	if got := s.names(t, "'"+byHand+"' in parents"); len(got) != 0 {
		t.Fatal(got)
	}
	_, err = s.api.Files.Create(&api.File{Name: "x", Parents: []string{byHand}}).SupportsAllDrives(true).Do()
	wantError(t, err, 403, "parentNotAFolder")
	_, err = s.api.Files.Update(byHand, nil).SupportsAllDrives(true).Media(strings.NewReader("x")).Do()
	wantError(t, err, 400, "badRequest")
	_, err = s.api.Files.Get(byHand).SupportsAllDrives(true).Download()
	wantError(t, err, 403, "fileNotDownloadable")
	// The target goes, the shortcut stays and leads nowhere.
	s.Delete(folder)
	seen = must(s.api.Files.Get(byHand).SupportsAllDrives(true).Fields("shortcutDetails").Do())(t)
	if seen.ShortcutDetails.TargetId != folder {
		t.Fatalf("%+v", seen.ShortcutDetails)
	}
	// In My Drive items have a key for links, which shortcuts keep.
	user := s.AddUser("td@studio.example")
	mine := s.AddFile(user.RootID(), "mine", nil)
	svc := s.as(t, user)
	f := must(svc.Files.Get(s.AddShortcut(user.RootID(), "", mine)).Fields("name,shortcutDetails").Do())(t)
	target := must(svc.Files.Get(mine).Fields("resourceKey").Do())(t)
	if f.Name != "mine" || target.ResourceKey == "" || f.ShortcutDetails.TargetResourceKey != target.ResourceKey {
		t.Fatalf("%+v %+v", f.ShortcutDetails, target)
	}
}

// Content that is written into a Google Doc is taken, and the document is gone.
func TestDocuments(t *testing.T) {
	s := newStudio(t)
	id := s.AddDoc(s.show.ID, "notes.ma")
	seen := must(s.api.Files.Get(id).SupportsAllDrives(true).Fields("*").Do())(t)
	if seen.MimeType != drive.DocumentType || seen.Md5Checksum != "" || seen.Size != 0 || seen.HeadRevisionId != "" ||
		seen.WebContentLink != "" {
		t.Fatalf("%+v", seen)
	}
	s.UpdateSettings(func(v *drive.Settings) { v.DocumentSize = 1234 })
	if seen := must(s.api.Files.Get(id).SupportsAllDrives(true).Fields("size").Do())(t); seen.Size != 1234 {
		t.Fatalf("%+v", seen)
	}
	_, err := s.api.Files.Get(id).SupportsAllDrives(true).Download()
	wantError(t, err, 403, "fileNotDownloadable")
	must(s.api.Files.Update(id, &api.File{Name: "notes"}).SupportsAllDrives(true).Do())(t)
	if v := s.Violations(); len(v) != 0 {
		t.Fatal(v)
	}
	for i, option := range []googleapi.MediaOption{googleapi.ChunkSize(0), googleapi.ChunkSize(chunk)} {
		got := must(s.api.Files.Update(id, &api.File{MimeType: "application/octet-stream"}).SupportsAllDrives(true).
			Media(strings.NewReader(content(chunk+1)), option).Fields("id,mimeType,md5Checksum").Do())(t)
		if got.Id != id || got.MimeType != drive.DocumentType || got.Md5Checksum != "" {
			t.Fatalf("%+v", got)
		}
		if v := s.Violations(); len(v) != i+1 || !strings.Contains(v[i], `content was written into "notes"`) {
			t.Fatal(v)
		}
	}
	if f, _ := s.Get(id); f.Revision != 3 {
		t.Fatalf("%+v", f)
	}
	s.ClearViolations()
	// A new one is made of an upload that asks for it.
	made := must(s.api.Files.Create(&api.File{Name: "new", MimeType: drive.DocumentType, Parents: []string{s.show.ID}}).
		SupportsAllDrives(true).
		Media(strings.NewReader("text")).Fields("mimeType,md5Checksum").Do())(t)
	if made.MimeType != drive.DocumentType || made.Md5Checksum != "" {
		t.Fatalf("%+v", made)
	}
	_, err = s.api.Files.Update(s.AddFile(s.show.ID, "f", nil), &api.File{MimeType: drive.DocumentType}).
		SupportsAllDrives(true).Do()
	wantError(t, err, 400, "badRequest")
	_, err = s.api.Files.Create(&api.File{Name: "dir", MimeType: folderType, Parents: []string{s.show.ID}}).
		SupportsAllDrives(true).
		Media(strings.NewReader("text")).Do()
	wantError(t, err, 400, "badRequest")
}

// One name, several items.
func TestSameName(t *testing.T) {
	s := newStudio(t)
	other := s.AddFolder(s.show.ID, "other")
	s.AddFolder(s.show.ID, "x")
	s.AddFile(s.show.ID, "x", []byte("1"))
	s.AddDoc(s.show.ID, "X")
	s.AddShortcut(s.show.ID, "x", other)
	list := must(s.api.Files.List().Q("name = 'x' and '" + s.show.ID + "' in parents and trashed = false").
		SupportsAllDrives(true).
		IncludeItemsFromAllDrives(true).Fields("files(name,mimeType)").Do())(t)
	var types []string
	for _, f := range list.Files {
		types = append(types, f.MimeType)
	}
	want := []string{shortcutType, drive.DocumentType, "application/octet-stream", folderType} // newest first
	if diff := cmp.Diff(want, types); diff != "" {
		t.Fatal(diff)
	}
	// Composed and decomposed letters are two names.
	s.AddFile(s.show.ID, "Gr\u00fc\u00dfe", nil)
	s.AddFile(s.show.ID, "Gru\u0308\u00dfe", nil)
	if diff := cmp.Diff([]string{"Gru\u0308\u00dfe"}, s.names(t, "name = 'gru\u0308\u00dfe'")); diff != "" {
		t.Fatal(diff)
	}
}

// Items from before 2020 may be in several folders.
func TestSeveralParents(t *testing.T) {
	s := newStudio(t)
	user := s.AddUser("td@studio.example")
	svc := s.as(t, user)
	a, b, c := s.Mkdir(user, "a"), s.Mkdir(user, "b"), s.Mkdir(user, "c")
	f := s.AddFile(a, "old", []byte("abc"))
	s.AddParent(f, b)
	parents := func() []string { return must(svc.Files.Get(f).Fields("parents").Do())(t).Parents }
	if diff := cmp.Diff([]string{a, b}, parents()); diff != "" {
		t.Fatal(diff)
	}
	for _, folder := range []string{a, b} {
		list := must(svc.Files.List().Q("'" + folder + "' in parents").Do())(t)
		if len(list.Files) != 1 || list.Files[0].Id != f {
			t.Fatalf("%+v", list.Files)
		}
	}
	_, err := svc.Files.Update(f, nil).AddParents(c).Do()
	wantError(t, err, 403, "cannotAddParent")
	must(svc.Files.Update(f, nil).AddParents(c).RemoveParents(a).Do())(t)
	if diff := cmp.Diff([]string{c, b}, parents()); diff != "" {
		t.Fatal(diff)
	}
	must(svc.Files.Update(f, nil).RemoveParents(c).Do())(t)
	if diff := cmp.Diff([]string{b}, parents()); diff != "" {
		t.Fatal(diff)
	}
	_, err = svc.Files.Update(f, nil).RemoveParents(b).Do()
	wantError(t, err, 403, "cannotAddParent")
	s.AddParent(f, a)
	s.Delete(b) // it stays where it still is
	if diff := cmp.Diff([]string{a}, parents()); diff != "" {
		t.Fatal(diff)
	}
}

// What a person does in the browser.
func TestPersonsActions(t *testing.T) {
	s := newStudio(t)
	a, b := s.Mkdir(s.show, "a"), s.Mkdir(s.show, "b")
	f := s.upload(t, a, "x", "abc")
	s.Rename(f.Id, "y")
	s.Move(f.Id, b)
	s.Write(f.Id, []byte("other"))
	seen := must(s.api.Files.Get(f.Id).SupportsAllDrives(true).Fields("*").Do())(t)
	if seen.Name != "y" || seen.Parents[0] != b || seen.Md5Checksum != md5Of("other") || seen.Version <= f.Version ||
		seen.HeadRevisionId == f.HeadRevisionId || len(s.Find(s.show, "b/y")) != 1 {
		t.Fatalf("%+v", seen)
	}
	s.Trash(b)
	seen = must(s.api.Files.Get(f.Id).SupportsAllDrives(true).Fields("trashed,explicitlyTrashed").Do())(t)
	if !seen.Trashed || seen.ExplicitlyTrashed {
		t.Fatalf("%+v", seen)
	}
	s.Delete(b)
	_, err := s.api.Files.Get(f.Id).SupportsAllDrives(true).Do()
	wantError(t, err, 404, "notFound")
}
