package drive_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	api "google.golang.org/api/drive/v3"

	"sitesync/integration/drive"
)

func TestListingLag(t *testing.T) {
	clk := newClock()
	s := newStudio(t, drive.Options{Now: clk.Now, Settings: drive.Settings{ListingLag: 10 * time.Minute}})
	s.AddFile(s.show.ID, "old", nil)
	f := s.upload(t, s.show.ID, "new", "1")
	q := "'" + s.show.ID + "' in parents"
	if diff := cmp.Diff([]string{"old"}, s.names(t, q)); diff != "" {
		t.Fatal(diff)
	}
	must(s.api.Files.Get(f.Id).SupportsAllDrives(true).Do())(t)
	if diff := cmp.Diff([]string{}, s.names(t, "name = 'new'")); diff != "" {
		t.Fatal(diff)
	}
	clk.Advance(10 * time.Minute)
	if diff := cmp.Diff([]string{"new", "old"}, s.names(t, q)); diff != "" {
		t.Fatal(diff)
	}
	s.upload(t, s.show.ID, "newer", "1")
	s.UpdateSettings(func(v *drive.Settings) { v.ListingLag = 0 })
	if diff := cmp.Diff([]string{"new", "newer", "old"}, s.names(t, q)); diff != "" {
		t.Fatal(diff)
	}
}

func TestPaging(t *testing.T) {
	s := newStudio(t)
	dir := s.Mkdir(s.show, "a")
	for i := range 25 {
		s.AddFile(dir, fmt.Sprintf("%02d", i), nil)
	}
	list := func(order string, limit int) (pages [][]string) {
		s.UpdateSettings(func(v *drive.Settings) { v.PageLimit = limit })
		call := s.api.Files.List().Q("'" + dir + "' in parents").SupportsAllDrives(true).
			IncludeItemsFromAllDrives(true).PageSize(10)
		if order != "" {
			call.OrderBy(order)
		}
		if err := call.Pages(t.Context(), func(l *api.FileList) error {
			var names []string
			for _, f := range l.Files {
				names = append(names, f.Name)
			}
			pages = append(pages, names)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return pages
	}
	pages := list("name", 0)
	if len(pages) != 3 || len(pages[0]) != 10 || pages[0][0] != "00" || pages[2][4] != "24" {
		t.Fatal(pages)
	}
	if pages := list("name desc", 0); pages[0][0] != "24" || pages[2][4] != "00" {
		t.Fatal(pages)
	}
	if pages := list("", 0); pages[0][0] != "24" { // the newest first
		t.Fatal(pages)
	}
	if pages := list("folder,modifiedTime desc,name", 4); len(pages) != 7 {
		t.Fatal(pages)
	}
	s.UpdateSettings(func(v *drive.Settings) { v.PageLimit = 0 })

	// A page goes on after the last item, whatever happened meanwhile.
	call := func(q, token string, size int64) (*api.FileList, error) {
		c := s.api.Files.List().Q(q).SupportsAllDrives(true).IncludeItemsFromAllDrives(true).OrderBy("name").
			PageSize(size)
		if token != "" {
			c.PageToken(token)
		}
		return c.Do()
	}
	q := "'" + dir + "' in parents"
	first := must(call(q, "", 10))(t)
	s.Delete(s.Find(s.show, "a/05")[0].ID)
	s.Delete(s.Find(s.show, "a/09")[0].ID)
	s.AddFile(dir, "00a", nil)
	second := must(call(q, first.NextPageToken, 20))(t)
	if len(second.Files) != 15 || second.Files[0].Name != "10" || second.NextPageToken != "" {
		t.Fatal(len(second.Files), second.Files[0].Name)
	}
	_, err := call("trashed = false", first.NextPageToken, 10)
	wantError(t, err, 400, "invalid")
	_, err = call(q, "x", 10)
	wantError(t, err, 400, "invalid")
	// Exactly as many as a page holds need no second page.
	if l := must(call(q, "", 24))(t); len(l.Files) != 24 || l.NextPageToken != "" {
		t.Fatal(len(l.Files), l.NextPageToken)
	}
}

func TestCorpora(t *testing.T) {
	s := newStudio(t)
	other := s.AddSharedDrive("OTHER")
	other.AddMember(s.account, drive.Viewer)
	secret := s.AddSharedDrive("SECRET")
	s.AddFile(s.account.RootID(), "mine", nil)
	s.AddFile(s.show.ID, "show", nil)
	s.AddFile(other.ID, "other", nil)
	s.AddFile(secret.ID, "secret", nil)
	const drives, all = "supportsAllDrives=true", "supportsAllDrives=true&includeItemsFromAllDrives=true"
	for query, want := range map[string]string{
		"":                         "mine",
		drives:                     "mine",
		all:                        "mine other show",
		all + "&corpora=user":      "mine other show",
		all + "&corpora=allDrives": "mine other show",
		all + "&corpora=drive&driveId=" + s.show.ID:                                                     "show",
		"supportsTeamDrives=true&includeTeamDriveItems=true&corpora=teamDrive&teamDriveId=" + s.show.ID: "show",
		all + "&corpora=drive&driveId=" + secret.ID:                                                     "404 notFound",
		all + "&corpora=drive":                              "403 teamDriveIdRequiresTeamDriveCorpora",
		all + "&driveId=" + s.show.ID:                       "403 teamDriveIdRequiresTeamDriveCorpora",
		drives + "&corpora=drive&driveId=" + s.show.ID:      "403 teamDrivesIncludeItemsRequired",
		drives + "&corpora=allDrives":                       "403 teamDrivesIncludeItemsRequired",
		"includeItemsFromAllDrives=true":                    "403 teamDrivesSupportRequired",
		"corpora=everything":                                "400 invalid",
		"spaces=photos":                                     "400 invalid",
		"orderBy=beauty":                                    "400 invalid",
		"orderBy=name%20asc":                                "400 invalid",
		"q=" + escape("fullText contains 'x'"):              "400 invalid",
		"q=" + escape("'"+s.show.ID+"' in parents"):         "",
		"q=" + escape("'"+secret.ID+"' in parents"):         "404 notFound",
		"q=" + escape("name = 'x' or 'nowhere' in parents"): "404 notFound",
		"q=" + escape("'root' in parents"):                  "mine",
		"q=" + escape("'me' in owners and '"+s.account.Email+"' in writers and not 'nobody@x' in readers"): "mine",
	} {
		if !strings.Contains(query, "orderBy") {
			query += "&orderBy=name"
		}
		resp, body := s.request(t, "GET", "/drive/v3/files?fields=files/name&"+query, "")
		got := ""
		if resp.StatusCode == 200 {
			got = listed(t, body)
		} else {
			got = fmt.Sprint(resp.StatusCode, " ", reason(t, body))
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
}

// Every field that a query may name, and every sort key, on real items.
func TestListingFieldsAndOrder(t *testing.T) {
	clk := newClock()
	s := newStudio(t, drive.Options{Now: clk.Now})
	user := s.AddUser("td@studio.example")
	create := func(f *api.File, content string) {
		t.Helper()
		clk.Advance(time.Minute)
		f.Parents = []string{s.show.ID}
		call := s.api.Files.Create(f).SupportsAllDrives(true)
		if f.MimeType != folderType {
			call.Media(strings.NewReader(content))
		}
		must(call.Do())(t)
	}
	create(&api.File{Name: "b", ModifiedTime: "2020-01-01T00:00:00Z", Starred: true}, "long")
	between := clk.Now().Add(time.Second).UTC().Format(time.RFC3339)
	create(&api.File{Name: "A", ModifiedTime: "2021-01-01T00:00:00Z", Properties: map[string]string{"k": "v"}}, "1")
	create(&api.File{Name: "c", ModifiedTime: "2019-01-01T00:00:00Z", MimeType: folderType}, "")
	s.Share(s.AddFile(user.RootID(), "shared", nil), s.account, drive.Writer)
	s.Share(s.AddFile(user.RootID(), "seen", nil), s.account, drive.Reader)
	for q, want := range map[string]string{
		"mimeType = '" + folderType + "'":                                           "c",
		"mimeType != '" + folderType + "' and '" + s.show.ID + "' in parents":       "A b",
		"modifiedTime < '2020-01-01T00:00:00'":                                      "c",
		"modifiedTime >= '2020-01-01T00:00:00Z' and '" + s.show.ID + "' in parents": "A b",
		"createdTime < '" + between + "'":                                           "b",
		"starred = true":                                                            "b",
		"properties has {key='k' and value='v'}":                                    "A",
		"sharedWithMe = true":                                                       "seen shared",
		"not sharedWithMe":                                                          "A b c",
		"'me' in writers and sharedWithMe":                                          "shared",
		"'" + user.Email + "' in owners":                                            "seen shared",
		"name contains 'shar' or (name = 'B' and trashed = false)":                  "b shared",
	} {
		if got := strings.Join(s.names(t, q), " "); got != want {
			t.Errorf("%s: %q, want %q", q, got, want)
		}
	}
	for order, want := range map[string]string{
		"":                        "c A b",
		"name":                    "A b c",
		"name_natural desc":       "c b A",
		"createdTime":             "b A c",
		"modifiedTime":            "c b A",
		"recency desc":            "A b c",
		"folder,name":             "c A b",
		"starred,name":            "b A c",
		"quotaBytesUsed desc":     "b A c",
		"folder desc , name desc": "b A c",
	} {
		list := must(s.api.Files.List().Q("'" + s.show.ID + "' in parents").SupportsAllDrives(true).
			IncludeItemsFromAllDrives(true).OrderBy(order).Do())(t)
		var got []string
		for _, f := range list.Files {
			got = append(got, f.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("orderBy %q: %q, want %q", order, got, want)
		}
	}
}

func TestLogAndCalls(t *testing.T) {
	s := newStudio(t, drive.Options{LogSize: 3})
	f := s.upload(t, s.show.ID, "x", "abc")
	for range 3 {
		must(s.api.Files.Get(f.Id).SupportsAllDrives(true).Do())(t)
	}
	_, err := s.api.Files.Get("nowhere").Do()
	wantError(t, err, 404, "notFound")
	// The last answer may be read before its entry is written.
	eventually(t, "the log is written", func() bool { l := s.Log(); return l[len(l)-1].Target == "nowhere" })
	log := s.Log()
	if len(log) != 3 || log[0].Kind != "files.get" || log[0].Target != f.Id || log[0].Account != s.account.Email ||
		log[0].Status != 200 || log[0].Sent == 0 || log[2].Status != 404 || log[2].Reason != "notFound" {
		t.Fatalf("%+v", log)
	}
	if diff := cmp.Diff(map[string]int{"token": 1, "files.create.multipart": 1, "files.get": 4},
		s.Calls()); diff != "" {
		t.Fatal(diff)
	}
	if s.TotalCalls() != 5 {
		t.Fatal(s.TotalCalls())
	}
	s.ResetCalls()
	if len(s.Calls()) != 0 || len(s.Log()) != 0 {
		t.Fatal(s.Calls(), s.Log())
	}
}

// Pages without items and with a nextPageToken, before, between and after those
// with items.
func TestEmptyPages(t *testing.T) {
	s := newStudio(t, drive.Options{Settings: drive.Settings{PageLimit: 2, EmptyPages: 2}})
	pages := func() (out []int) {
		for token := ""; ; {
			list := must(s.api.Files.List().Q("'" + s.show.ID + "' in parents").SupportsAllDrives(true).
				IncludeItemsFromAllDrives(true).PageToken(token).Do())(t)
			out = append(out, len(list.Files))
			if token = list.NextPageToken; token == "" {
				return out
			}
		}
	}
	if diff := cmp.Diff([]int{0, 0, 0}, pages()); diff != "" {
		t.Fatal(diff)
	}
	for range 3 {
		s.AddFile(s.show.ID, "x", nil)
	}
	if diff := cmp.Diff([]int{0, 0, 2, 0, 0, 1, 0, 0, 0}, pages()); diff != "" {
		t.Fatal(diff)
	}
}

func TestPageTokensExpire(t *testing.T) {
	clk := newClock()
	s := newStudio(t, drive.Options{Now: clk.Now, Settings: drive.Settings{PageTokenLifetime: time.Minute}})
	s.AddFile(s.show.ID, "x", nil)
	s.AddFile(s.show.ID, "y", nil)
	list := func(token string) (*api.FileList, error) {
		return s.api.Files.List().Corpora("allDrives").SupportsAllDrives(true).IncludeItemsFromAllDrives(true).
			PageSize(1).PageToken(token).Do()
	}
	token := must(list(""))(t).NextPageToken
	clk.Advance(time.Minute)
	must(list(token))(t)
	clk.Advance(time.Second)
	_, err := list(token)
	wantError(t, err, 400, "invalid")
	token = must(list(""))(t).NextPageToken
	s.ExpirePageTokens()
	_, err = list(token)
	wantError(t, err, 400, "invalid")
	must(list(must(list(""))(t).NextPageToken))(t)
}
