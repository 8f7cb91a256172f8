package drive_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	api "google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"

	"sitesync/integration/drive"
)

func TestCreateGetDownloadDelete(t *testing.T) {
	s := newStudio(t)
	f := s.upload(t, s.show.ID, "a.exr", "pixels")
	if f.Md5Checksum != md5Of("pixels") || f.Size != 6 || f.DriveId != s.show.ID || f.Trashed || f.Version == 0 {
		t.Fatalf("created %+v", f)
	}
	if diff := cmp.Diff([]string{s.show.ID}, f.Parents); diff != "" {
		t.Fatal(diff)
	}
	got := must(s.api.Files.Get(f.Id).SupportsAllDrives(true).Fields("*").Do())(t)
	if diff := cmp.Diff(f, got, cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "ServerResponse" },
		cmp.Ignore())); diff != "" {
		t.Fatal(diff)
	}
	resp := must(s.api.Files.Get(f.Id).SupportsAllDrives(true).Download())(t)
	defer resp.Body.Close()
	if body := string(must(io.ReadAll(resp.Body))(t)); body != "pixels" {
		t.Fatalf("downloaded %q", body)
	}
	if err := s.api.Files.Delete(f.Id).SupportsAllDrives(true).Do(); err != nil {
		t.Fatal(err)
	}
	_, err := s.api.Files.Get(f.Id).SupportsAllDrives(true).Do()
	wantError(t, err, 404, "notFound")
	if !strings.Contains(err.Error(), "File not found: "+f.Id+".") {
		t.Fatal(err)
	}
	want := map[string]int{"files.create.multipart": 1, "files.get": 2, "files.download": 1, "files.delete": 1,
		"token": 1}
	if diff := cmp.Diff(want, s.Calls()); diff != "" {
		t.Fatal(diff)
	}
}

func TestDownloadRange(t *testing.T) {
	s := newStudio(t)
	f := s.upload(t, s.show.ID, "a", "0123456789")
	path := "/drive/v3/files/" + f.Id + "?alt=media&supportsAllDrives=true"
	resp, body := s.request(t, "GET", path, "", "Range", "bytes=2-4")
	if resp.StatusCode != 206 || body != "234" || resp.Header.Get("Content-Range") != "bytes 2-4/10" {
		t.Fatal(resp.Status, body, resp.Header)
	}
	resp, body = s.request(t, "GET", path, "", "Range", "bytes=20-")
	if resp.StatusCode != 416 || reason(t, body) != "requestedRangeNotSatisfiable" ||
		resp.Header.Get("Content-Range") != "bytes */10" {
		t.Fatal(resp.Status, body, resp.Header)
	}
	empty := s.upload(t, s.show.ID, "empty", "")
	if resp, body := s.request(t, "GET", "/drive/v3/files/"+empty.Id+"?alt=media", ""); resp.StatusCode != 200 ||
		body != "" {
		t.Fatal(resp.Status, body)
	}
	folder := s.Mkdir(s.show, "dir")
	_, err := s.api.Files.Get(folder).SupportsAllDrives(true).Download()
	wantError(t, err, 403, "fileNotDownloadable")
}

func TestDefaultFields(t *testing.T) {
	s := newStudio(t)
	folder := s.Mkdir(s.show, "dir")
	_, body := s.request(t, "GET", "/drive/v3/files/"+folder+"?supportsAllDrives=true", "")
	want := `{"driveId":"` + s.show.ID + `","id":"` + folder + `","kind":"drive#file","mimeType":"` +
		folderType + `","name":"dir","teamDriveId":"` + s.show.ID + `"}`
	if diff := cmp.Diff(want, strings.TrimSpace(body)); diff != "" {
		t.Fatal(diff)
	}
	_, body = s.request(t, "GET", "/drive/v3/files?q="+escape("'root' in parents"), "")
	if diff := cmp.Diff(`{"files":[],"incompleteSearch":false,"kind":"drive#fileList"}`,
		strings.TrimSpace(body)); diff != "" {
		t.Fatal(diff)
	}
	_, body = s.request(t, "GET", "/drive/v3/files/root", "")
	want = `{"id":"` + s.account.RootID() + `","kind":"drive#file","mimeType":"` + folderType + `","name":"My Drive"}`
	if diff := cmp.Diff(want, strings.TrimSpace(body)); diff != "" {
		t.Fatal(diff)
	}
}

// An empty mask is none; rclone sends it with an update.
func TestEmptyFields(t *testing.T) {
	s := newStudio(t)
	f := s.upload(t, s.show.ID, "x", "1")
	path := "/drive/v3/files/" + f.Id + "?supportsAllDrives=true"
	_, want := s.request(t, "GET", path, "")
	resp, body := s.request(t, "PATCH", path+"&fields=", "{}", "Content-Type", "application/json")
	if resp.StatusCode != 200 {
		t.Fatal(resp.Status, body)
	}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Fatal(diff)
	}
}

func TestGeneratedIDs(t *testing.T) {
	s := newStudio(t)
	ids := must(s.api.Files.GenerateIds().Count(3).Do())(t).Ids
	if len(ids) != 3 || ids[0] == ids[1] {
		t.Fatal(ids)
	}
	create := func(id, mime string) error {
		f, err := s.api.Files.Create(&api.File{Id: id, Name: "x", MimeType: mime, Parents: []string{s.show.ID}}).
			SupportsAllDrives(true).Do()
		if err == nil && f.Id != id {
			t.Fatalf("created with id %s, not %s", f.Id, id)
		}
		return err
	}
	for i, mime := range []string{folderType, "text/plain"} {
		if err := create(ids[i], mime); err != nil {
			t.Fatal(err)
		}
		wantError(t, create(ids[i], mime), 409, "fileIdInUse")
	}
	s.Delete(ids[0])
	wantError(t, create(ids[0], folderType), 409, "fileIdInUse")
	wantError(t, create("1invented", folderType), 400, "invalid")
	wantError(t, create(ids[2], "application/vnd.google-apps.document"), 400, "generatedIdNotSupported")
	user := s.AddUser("td@studio.example")
	s.show.AddMember(user, drive.Organizer)
	others := must(s.as(t, user).Files.GenerateIds().Count(1).Do())(t).Ids
	wantError(t, create(others[0], folderType), 400, "invalid") // it is good for its account only
	if n := len(s.Files()); n != 1 {
		t.Fatalf("%d items, want 1", n)
	}
}

func TestUsedIDWithContent(t *testing.T) {
	s := newStudio(t)
	id := must(s.api.Files.GenerateIds().Count(1).Do())(t).Ids[0]
	create := func() error {
		_, err := s.api.Files.Create(&api.File{Id: id, Name: "x", Parents: []string{s.show.ID}}).
			SupportsAllDrives(true).
			Media(strings.NewReader("one")).Do()
		return err
	}
	if err := create(); err != nil {
		t.Fatal(err)
	}
	wantError(t, create(), 409, "fileIdInUse")
	if dups := s.Duplicates(); len(dups) != 0 {
		t.Fatal(dups)
	}
}

func TestDuplicatesAreAllowed(t *testing.T) {
	s := newStudio(t)
	dir := s.Mkdir(s.show, "a/b")
	s.upload(t, dir, "x", "1")
	s.upload(t, dir, "x", "2")
	if got := s.Find(s.show, "a/b/x"); len(got) != 2 || got[0].MD5 != md5Of("1") || got[1].MD5 != md5Of("2") {
		t.Fatal(got)
	}
	if diff := cmp.Diff([]string{"SHOW: a/b/x"}, s.Duplicates()); diff != "" {
		t.Fatal(diff)
	}
	s.Trash(s.Find(s.show, "a/b/x")[0].ID)
	if dups := s.Duplicates(); len(dups) != 0 {
		t.Fatal(dups)
	}
}

func TestUpdate(t *testing.T) {
	clk := newClock()
	s := newStudio(t, drive.Options{Now: clk.Now, Settings: drive.Settings{TokenLifetime: 24 * time.Hour}})
	f := s.upload(t, s.show.ID, "x", "one")
	clk.Advance(time.Hour)
	g := must(s.api.Files.Update(f.Id, &api.File{}).SupportsAllDrives(true).Media(strings.NewReader("three")).
		Fields("*").Do())(t)
	if g.Id != f.Id || g.Name != "x" || g.Md5Checksum != md5Of("three") || g.Size != 5 ||
		g.CreatedTime != f.CreatedTime || g.ModifiedTime <= f.ModifiedTime || g.Version <= f.Version ||
		g.HeadRevisionId == f.HeadRevisionId {
		t.Fatalf("before %+v\nafter %+v", f, g)
	}
	when := "2020-02-03T04:05:06.789Z"
	g = must(s.api.Files.Update(f.Id, &api.File{Name: "y", ModifiedTime: when,
		AppProperties: map[string]string{"k": "v"}}).SupportsAllDrives(true).Fields("*").Do())(t)
	if g.Name != "y" || g.ModifiedTime != when || g.Md5Checksum != md5Of("three") || g.AppProperties["k"] != "v" {
		t.Fatalf("%+v", g)
	}
	if diff := cmp.Diff([]string{"y"}, s.names(t, "appProperties has {key='k' and value='v'}")); diff != "" {
		t.Fatal(diff)
	}
	_, err := s.api.Files.Update(f.Id, &api.File{Parents: []string{"root"}}).SupportsAllDrives(true).Do()
	wantError(t, err, 403, "fieldNotWritable")
	_, err = s.api.Files.Update(f.Id, &api.File{CreatedTime: when}).SupportsAllDrives(true).Do()
	wantError(t, err, 403, "fieldNotWritable")
	_, err = s.api.Files.Update(s.Mkdir(s.show, "dir"), &api.File{}).SupportsAllDrives(true).
		Media(strings.NewReader("x")).Do()
	wantError(t, err, 400, "badRequest")
	body := must(s.Content(f.Id))(t)
	defer body.Close()
	if got := string(must(io.ReadAll(body))(t)); got != "three" {
		t.Fatal(got)
	}
}

func TestMove(t *testing.T) {
	s := newStudio(t)
	a, b := s.Mkdir(s.show, "a"), s.Mkdir(s.show, "b")
	f := s.upload(t, a, "x", "one")
	move := func(id, add, remove string) error {
		call := s.api.Files.Update(id, nil).SupportsAllDrives(true)
		if add != "" {
			call.AddParents(add)
		}
		if remove != "" {
			call.RemoveParents(remove)
		}
		_, err := call.Do()
		return err
	}
	wantError(t, move(f.Id, b, ""), 403, "teamDrivesParentLimit")
	wantError(t, move(f.Id, "", a), 403, "teamDrivesParentLimit")
	wantError(t, move(f.Id, "nowhere", a), 404, "notFound")
	wantError(t, move(f.Id, f.Id, a), 403, "parentNotAFolder")
	inner := s.Mkdir(s.show, "a/inner")
	wantError(t, move(a, inner, s.show.ID), 400, "badRequest")
	wantError(t, move(a, s.account.RootID(), s.show.ID), 403, "teamDrivesFolderMoveInNotSupported")
	if err := move(f.Id, b, a); err != nil {
		t.Fatal(err)
	}
	if got := s.Find(s.show, "b/x"); len(got) != 1 || got[0].ID != f.Id {
		t.Fatal(s.Files())
	}
}

// Files, not folders, may move between drives; the cost goes along.
func TestMoveBetweenDrives(t *testing.T) {
	s := newStudio(t, drive.Options{Settings: drive.Settings{UserStorage: 5}})
	user := s.AddUser("td@studio.example")
	s.show.AddMember(user, drive.Organizer)
	svc := s.as(t, user)
	f := s.AddFile(user.RootID(), "x", []byte("12345"))
	move := func(id, from, to string) error {
		_, err := svc.Files.Update(id, nil).AddParents(to).RemoveParents(from).SupportsAllDrives(true).Do()
		return err
	}
	wantUsage := func(want int64) {
		t.Helper()
		if got := must(svc.About.Get().Fields("storageQuota").Do())(t).StorageQuota.Usage; got != want {
			t.Fatalf("%d bytes used, want %d", got, want)
		}
	}
	wantUsage(5)
	if err := move(f, "root", s.show.ID); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.Get(f); got.Drive != "SHOW" || got.Owner != "" || got.Parent != s.show.ID {
		t.Fatalf("%+v", got)
	}
	wantUsage(0)
	big := s.AddFile(s.show.ID, "big", []byte("123456"))
	wantError(t, move(big, s.show.ID, "root"), 403, "storageQuotaExceeded")
	if err := move(f, s.show.ID, "root"); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.Get(f); got.Drive != "" || got.Owner != user.Email {
		t.Fatalf("%+v", got)
	}
	wantUsage(5)
	wantError(t, move(s.Mkdir(user, "dir"), "root", s.show.ID), 403, "teamDrivesFolderMoveInNotSupported")
}

// What a person does in the browser.
func TestRenameAndUntrash(t *testing.T) {
	s := newStudio(t)
	a, b := s.AddFolder(s.show.ID, "dir"), s.AddFolder(s.show.ID, "dir")
	if a == b {
		t.Fatal("two folders of one name are one")
	}
	if diff := cmp.Diff([]string{"SHOW: dir"}, s.Duplicates()); diff != "" {
		t.Fatal(diff)
	}
	s.Rename(b, "other")
	s.Trash(a)
	if diff := cmp.Diff([]string{"other"}, s.names(t, "trashed = false")); diff != "" {
		t.Fatal(diff)
	}
	s.Untrash(a)
	if diff := cmp.Diff([]string{"dir", "other"}, s.names(t, "trashed = false")); diff != "" {
		t.Fatal(diff)
	}
}

// Contents are on disk as long as they are anybody's, and gone with the server.
func TestContentIsOnDisk(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := must(drive.Start(drive.Options{}))(t)
	defer s.Close()
	studio := &studio{Server: s, account: s.AddServiceAccount("sync@studio.iam.example"),
		show: s.AddSharedDrive("SHOW")}
	studio.show.AddMember(studio.account, drive.Organizer)
	studio.http = authorized(t, studio.account)
	studio.api = service(t, s, studio.http)
	onDisk := func() (contents []string) {
		for _, path := range must(filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*", "*")))(t) {
			contents = append(contents, string(must(os.ReadFile(path))(t)))
		}
		return contents
	}
	f := studio.upload(t, studio.show.ID, "x", "one")
	if diff := cmp.Diff([]string{"one"}, onDisk()); diff != "" {
		t.Fatal(diff)
	}
	must(studio.api.Files.Update(f.Id, nil).SupportsAllDrives(true).Media(strings.NewReader("two")).Do())(t)
	if diff := cmp.Diff([]string{"two"}, onDisk()); diff != "" {
		t.Fatal(diff)
	}
	_, err := studio.api.Files.Create(&api.File{Parents: []string{f.Id}}).SupportsAllDrives(true).
		Media(strings.NewReader("refused")).Do()
	wantError(t, err, 403, "parentNotAFolder")
	if err := studio.api.Files.Delete(f.Id).SupportsAllDrives(true).Do(); err != nil {
		t.Fatal(err)
	}
	if got := onDisk(); got != nil {
		t.Fatal(got)
	}
	studio.upload(t, studio.show.ID, "y", "left")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left := must(os.ReadDir(os.Getenv("TMPDIR")))(t); len(left) != 0 {
		t.Fatal(left)
	}
}

// A disk that takes nothing is an error of the backend, in every form of upload.
func TestContentCanNotBeStored(t *testing.T) {
	s := newStudio(t, drive.Options{Dir: filepath.Join(t.TempDir(), "missing")})
	uri := s.begin(t, 3)
	for range 2 {
		if status, _, body := s.send(t, uri, "", "abc"); status != 500 || reason(t, body) != "backendError" {
			t.Fatal(status, body)
		}
	}
	resp, body := s.request(t, "POST", "/upload/drive/v3/files?uploadType=multipart&supportsAllDrives=true",
		"--b\r\nContent-Type: application/json\r\n\r\n{\"parents\":[\""+s.show.ID+"\"]}\r\n--b\r\n\r\nabc\r\n--b--",
		"Content-Type", "multipart/related; boundary=b")
	if resp.StatusCode != 500 || reason(t, body) != "backendError" {
		t.Fatal(resp.Status, body)
	}
	if got := s.Files(); len(got) != 0 {
		t.Fatal(got)
	}
}

func TestTrash(t *testing.T) {
	s := newStudio(t)
	dir := s.Mkdir(s.show, "a/b")
	f := s.upload(t, dir, "x", "one")
	must(s.api.Files.Update(s.Mkdir(s.show, "a"), &api.File{Trashed: true}).SupportsAllDrives(true).Do())(t)
	g := must(s.api.Files.Get(f.Id).SupportsAllDrives(true).Fields("trashed,explicitlyTrashed").Do())(t)
	if !g.Trashed || g.ExplicitlyTrashed {
		t.Fatalf("a child of a trashed folder: %+v", g)
	}
	// Creates into the trash succeed, and are in the trash.
	if late := s.upload(t, dir, "late", "two"); !late.Trashed {
		t.Fatalf("%+v", late)
	}
	if diff := cmp.Diff([]string{"late", "x"}, s.names(t, "'"+dir+"' in parents")); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff([]string{}, s.names(t, "trashed = false")); diff != "" {
		t.Fatal(diff)
	}
	if got := s.Find(s.show, "a/b/x"); len(got) != 0 {
		t.Fatal(got)
	}
	must(s.api.Files.Update(must(s.api.Files.Get(dir).SupportsAllDrives(true).Fields("parents").Do())(t).Parents[0],
		&api.File{ForceSendFields: []string{"Trashed"}}).SupportsAllDrives(true).Do())(t)
	if got := s.Find(s.show, "a/b/x"); len(got) != 1 {
		t.Fatal(got)
	}
}

func TestDeleteFolder(t *testing.T) {
	s := newStudio(t)
	dir := s.Mkdir(s.show, "a/b")
	f := s.upload(t, dir, "x", "one")
	if err := s.api.Files.Delete(s.Mkdir(s.show, "a")).SupportsAllDrives(true).Do(); err != nil {
		t.Fatal(err)
	}
	_, err := s.api.Files.Get(f.Id).SupportsAllDrives(true).Do()
	wantError(t, err, 404, "notFound")
	_, err = s.api.Files.Create(&api.File{Name: "x", Parents: []string{dir}}).SupportsAllDrives(true).Do()
	wantError(t, err, 404, "notFound")
	_, err = s.api.Files.List().Q("'" + dir + "' in parents").SupportsAllDrives(true).IncludeItemsFromAllDrives(true).
		Do()
	wantError(t, err, 404, "notFound")
	if n := len(s.Files()); n != 0 {
		t.Fatal(s.Files())
	}
	if _, err := s.Content(f.Id); err == nil {
		t.Fatal("the content of a deleted file is still there")
	}
}

func TestCreateRefusals(t *testing.T) {
	s := newStudio(t)
	file := s.upload(t, s.show.ID, "x", "")
	create := func(f *api.File) error {
		_, err := s.api.Files.Create(f).SupportsAllDrives(true).Do()
		return err
	}
	wantError(t, create(&api.File{Parents: []string{file.Id}}), 403, "parentNotAFolder")
	wantError(t, create(&api.File{Parents: []string{"nowhere"}}), 404, "notFound")
	wantError(t, create(&api.File{Parents: []string{s.show.ID, s.account.RootID()}}), 403, "cannotAddParent")
	wantError(t, create(&api.File{Trashed: true, Parents: []string{s.show.ID}}), 403, "fieldNotWritable")
	_, err := s.api.Files.Create(&api.File{Parents: []string{s.show.ID}}).Do()
	wantError(t, err, 404, "notFound") // without supportsAllDrives
	_, err = s.api.Files.Get(file.Id).Do()
	wantError(t, err, 404, "notFound")
}

func TestDrivesAndAbout(t *testing.T) {
	s := newStudio(t)
	for range 11 {
		s.AddSharedDrive("OTHER").AddMember(s.account, drive.Viewer)
	}
	s.AddSharedDrive("SECRET")
	var names []string
	if err := s.api.Drives.List().PageSize(5).Pages(t.Context(), func(l *api.DriveList) error {
		for _, d := range l.Drives {
			names = append(names, d.Name)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(names) != 12 || names[0] != "SHOW" {
		t.Fatal(names)
	}
	if got := must(s.api.Drives.List().Q("name = 'show' and hidden = false and createdTime > '2000-01-01'").
		Do())(t); len(got.Drives) != 1 || got.Drives[0].Id != s.show.ID {
		t.Fatal(got)
	}
	d := must(s.api.Drives.Get(s.show.ID).Fields("name,capabilities/canAddChildren").Do())(t)
	if d.Name != "SHOW" || !d.Capabilities.CanAddChildren {
		t.Fatalf("%+v", d)
	}
	_, err := s.api.Drives.Get("nowhere").Do()
	wantError(t, err, 404, "notFound")
	_, err = s.api.Drives.List().Q("memberCount > 2").Do()
	wantError(t, err, 400, "invalid")
	about := must(s.api.About.Get().Fields(googleapi.Field("user,storageQuota,maxUploadSize")).Do())(t)
	if about.User.EmailAddress != s.account.Email || !about.User.Me || about.MaxUploadSize != 5497558138880 {
		t.Fatalf("%+v", about)
	}
	if root := must(s.api.Files.Get(s.show.ID).SupportsAllDrives(true).Fields("*").Do())(t); root.Name != "Drive" ||
		root.MimeType != folderType || len(root.Parents) != 0 {
		t.Fatalf("%+v", root)
	}
}
