package drive_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	api "google.golang.org/api/drive/v3"

	"sitesync/integration/drive"
)

func TestShared(t *testing.T) {
	s := newStudio(t)
	user := s.AddUser("td@studio.example")
	private := s.Mkdir(user, "private")
	shared := s.Mkdir(user, "projects/show")
	inner := s.Mkdir(user, "projects/show/shots")
	file := s.AddFile(inner, "x", []byte("1"))
	_, err := s.api.Files.Get(shared).Do()
	wantError(t, err, 404, "notFound")
	s.Share(shared, s.account, drive.Writer)

	f := must(s.api.Files.Get(shared).Fields("*").Do())(t)
	if len(f.Parents) != 0 || !f.Shared || f.OwnedByMe || f.SharedWithMeTime == "" || !f.Capabilities.CanAddChildren ||
		f.Capabilities.CanTrash {
		t.Fatalf("%+v %+v", f, f.Capabilities)
	}
	if g := must(s.api.Files.Get(inner).Fields("parents").Do())(t); len(g.Parents) != 1 || g.Parents[0] != shared {
		t.Fatal(g.Parents)
	}
	_, err = s.api.Files.Get(private).Do()
	wantError(t, err, 404, "notFound")
	if diff := cmp.Diff([]string{"show"}, s.names(t, "sharedWithMe")); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff([]string{"shots", "show", "x"}, s.names(t, "trashed = false")); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff([]string{}, s.names(t, "'root' in parents")); diff != "" {
		t.Fatal(diff)
	}
	// What the account puts there is its own, and it may not trash the user's.
	folder := must(s.api.Files.Create(&api.File{Name: "new", MimeType: folderType, Parents: []string{inner}}).
		Fields("*").Do())(t)
	if !folder.OwnedByMe {
		t.Fatalf("%+v", folder)
	}
	_, err = s.api.Files.Update(file, &api.File{Trashed: true}).Do()
	wantError(t, err, 403, "insufficientFilePermissions")
	must(s.api.Files.Update(file, &api.File{}).Media(strings.NewReader("22")).Do())(t)
	if err := s.api.Files.Delete(file).Do(); err == nil {
		t.Fatal("a writer deleted the owner's file")
	}
	must(s.as(t, user).Files.Update(folder.Id, &api.File{Name: "renamed"}).Do())(t)

	s.Share(shared, s.account, drive.Reader)
	_, err = s.api.Files.Update(file, &api.File{Name: "y"}).Do()
	wantError(t, err, 403, "insufficientFilePermissions")
	_, err = s.api.Files.Create(&api.File{Name: "y", MimeType: folderType, Parents: []string{inner}}).Do()
	wantError(t, err, 403, "insufficientParentPermissions")

	s.Share(shared, s.account, drive.NoRole)
	_, err = s.api.Files.Get(inner).Do()
	wantError(t, err, 404, "notFound")
}

func TestSharedDriveRoles(t *testing.T) {
	s := newStudio(t)
	dir := s.Mkdir(s.show, "dir")
	other := s.Mkdir(s.show, "other")
	for _, test := range []struct {
		role                             drive.Role
		see, create, trash, move, remove bool
	}{
		{drive.NoRole, false, false, false, false, false},
		{drive.Viewer, true, false, false, false, false},
		{drive.Contributor, true, true, false, false, false},
		{drive.ContentManager, true, true, true, true, false},
		{drive.Organizer, true, true, true, true, true},
	} {
		t.Run(test.role.String(), func(t *testing.T) {
			a := s.AddServiceAccount(test.role.String() + "@studio.iam.example")
			s.show.AddMember(a, test.role)
			svc := s.as(t, a)
			file := s.AddFile(dir, "x", nil)
			check := func(what string, want bool, err error) {
				t.Helper()
				if (err == nil) != want {
					t.Errorf("%s: %v, want allowed = %v", what, err, want)
				}
			}
			_, err := svc.Files.Get(file).SupportsAllDrives(true).Do()
			check("see", test.see, err)
			_, err = svc.Drives.Get(s.show.ID).Do()
			check("see the drive", test.see, err)
			_, err = svc.Files.Create(&api.File{Name: "y", Parents: []string{dir}}).SupportsAllDrives(true).
				Media(strings.NewReader("1")).Do()
			check("create", test.create, err)
			_, err = svc.Files.Update(file, &api.File{}).SupportsAllDrives(true).Media(strings.NewReader("1")).Do()
			check("change", test.create, err)
			_, err = svc.Files.Update(file, nil).AddParents(other).RemoveParents(dir).SupportsAllDrives(true).Do()
			check("move", test.move, err)
			_, err = svc.Files.Update(file, &api.File{Trashed: true}).SupportsAllDrives(true).Do()
			check("trash", test.trash, err)
			check("delete", test.remove, svc.Files.Delete(file).SupportsAllDrives(true).Do())
		})
	}
}

func TestDeletingAFolderKeepsWhatOthersOwn(t *testing.T) {
	s := newStudio(t)
	user, other := s.AddUser("td@studio.example"), s.AddUser("other@studio.example")
	dir := s.Mkdir(user, "dir")
	s.Share(dir, other, drive.Writer)
	f := must(s.as(t, other).Files.Create(&api.File{Name: "x", Parents: []string{dir}}).Media(strings.NewReader("1")).
		Do())(t)
	s.Delete(dir)
	if got, ok := s.Get(f.Id); !ok || got.Parent != other.RootID() {
		t.Fatal(got, ok)
	}
}
