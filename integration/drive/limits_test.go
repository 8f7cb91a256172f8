package drive_test

import (
	"io"
	"strings"
	"testing"
	"time"

	api "google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"

	"sitesync/integration/drive"
)

// slow is a rate that gives nothing back while a test runs.
const slow = 1e-6

func TestRates(t *testing.T) {
	for _, test := range []struct {
		name     string
		settings drive.Settings
		reads    int // that pass
		writes   int
		code     int
		reason   string
	}{
		{"account", drive.Settings{AccountRate: drive.Rate{PerSecond: slow, Burst: 3}}, 3, 0, 403,
			"userRateLimitExceeded"},
		{"project", drive.Settings{ProjectRate: drive.Rate{PerSecond: slow, Burst: 2}}, 2, 0, 403, "rateLimitExceeded"},
		{"other error",
			drive.Settings{AccountRate: drive.Rate{PerSecond: slow, Status: 429, Reason: "rateLimitExceeded"}}, 1, 0,
			429, "rateLimitExceeded"},
		{"writes", drive.Settings{WriteRate: drive.Rate{PerSecond: slow, Burst: 2}}, 5, 2, 403,
			"userRateLimitExceeded"},
		{"units of an account", drive.Settings{Units: drive.Units{AccountPerMinute: 60}}, 2, 1, 403,
			"userRateLimitExceeded"},
		{"units of the project", drive.Settings{Units: drive.Units{ProjectPerMinute: 10}}, 2, 0, 403,
			"rateLimitExceeded"},
	} {
		t.Run(test.name, func(t *testing.T) {
			clk := newClock() // stands still, so nothing comes back
			s := newStudio(t, drive.Options{Now: clk.Now, Settings: test.settings})
			get := func() error { _, err := s.api.Files.Get("root").Do(); return err }
			create := func() error {
				_, err := s.api.Files.Create(&api.File{Name: "x", MimeType: folderType}).Do()
				return err
			}
			for range test.reads {
				if err := get(); err != nil {
					t.Fatal(err)
				}
			}
			for range test.writes {
				if err := create(); err != nil {
					t.Fatal(err)
				}
			}
			wantError(t, create(), test.code, test.reason)
			if n := len(s.Files()); n != test.writes {
				t.Fatalf("%d items, want %d", n, test.writes)
			}
			s.SetSettings(drive.Settings{})
			if err := create(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestRateComesBackAndAccountsAreApart(t *testing.T) {
	clk := newClock()
	s := newStudio(t, drive.Options{Now: clk.Now,
		Settings: drive.Settings{AccountRate: drive.Rate{PerSecond: 2, Burst: 1, RetryAfter: time.Second}}})
	other := s.as(t, s.AddUser("td@studio.example"))
	get := func(svc *api.Service) error { _, err := svc.Files.Get("root").Do(); return err }
	if err := get(s.api); err != nil {
		t.Fatal(err)
	}
	err := get(s.api)
	wantError(t, err, 403, "userRateLimitExceeded")
	if after := err.(*googleapi.Error).Header.Get("Retry-After"); after != "1" {
		t.Fatalf("Retry-After %q", after)
	}
	if err := get(other); err != nil {
		t.Fatal(err)
	}
	clk.Advance(time.Second / 2)
	if err := get(s.api); err != nil {
		t.Fatal(err)
	}
}

func TestSessionDataIsNotCountedAgainstRates(t *testing.T) {
	s := newStudio(t)
	s.UpdateSettings(func(v *drive.Settings) { v.AccountRate = drive.Rate{PerSecond: slow} })
	data := content(8 * chunk)
	must(s.api.Files.Create(&api.File{Name: "x", Parents: []string{s.show.ID}}).SupportsAllDrives(true).
		Media(strings.NewReader(data), googleapi.ChunkSize(chunk)).Do())(t)
}

func TestServiceAccountsOwnNoStorage(t *testing.T) {
	s := newStudio(t)
	user := s.AddUser("td@studio.example")
	shared := s.Mkdir(user, "shared")
	s.Share(shared, s.account, drive.Writer)
	create := func(parent, data string) error {
		_, err := s.api.Files.Create(&api.File{Name: "x", Parents: []string{parent}}).SupportsAllDrives(true).
			Media(strings.NewReader(data)).Do()
		return err
	}
	for _, parent := range []string{"root", shared} {
		must(s.api.Files.Create(&api.File{Name: "dir", MimeType: folderType, Parents: []string{parent}}).Do())(t)
		err := create(parent, "abc")
		wantError(t, err, 403, "storageQuotaExceeded")
		if !strings.Contains(err.Error(), "Service Accounts do not have storage quota") {
			t.Fatal(err)
		}
		resp, body := s.request(t, "POST", "/upload/drive/v3/files?uploadType=resumable", `{"parents":["`+parent+`"]}`,
			"Content-Type", "application/json")
		if resp.StatusCode != 403 || reason(t, body) != "storageQuotaExceeded" {
			t.Fatal(resp.Status, body)
		}
	}
	if err := create(s.show.ID, "abc"); err != nil {
		t.Fatal(err)
	}
	// Files of others may be changed, at the owner's cost.
	must(s.api.Files.Update(s.AddFile(shared, "y", nil), nil).Media(strings.NewReader("abc")).Do())(t)
	about := must(s.api.About.Get().Fields("storageQuota").Do())(t)
	if about.StorageQuota.Limit != 0 || about.StorageQuota.Usage != 0 {
		t.Fatalf("%+v", about.StorageQuota)
	}
	s.UpdateSettings(func(v *drive.Settings) { v.ServiceAccountStorage = 5 })
	if err := create("root", "abc"); err != nil {
		t.Fatal(err)
	}
	wantError(t, create("root", "def"), 403, "storageQuotaExceeded")
	s.UpdateSettings(func(v *drive.Settings) { v.ServiceAccountStorage = -1 })
	if err := create("root", content(chunk)); err != nil {
		t.Fatal(err)
	}
}

func TestUserStorage(t *testing.T) {
	s := newStudio(t, drive.Options{Settings: drive.Settings{UserStorage: 10}})
	user := s.AddUser("td@studio.example")
	svc := s.as(t, user)
	f := must(svc.Files.Create(&api.File{Name: "x"}).Media(strings.NewReader("12345678")).Do())(t)
	_, err := svc.Files.Create(&api.File{Name: "y"}).Media(strings.NewReader("123")).Do()
	wantError(t, err, 403, "storageQuotaExceeded")
	// takes the place of the old content
	must(svc.Files.Update(f.Id, nil).Media(strings.NewReader("1234567890")).Do())(t)
	_, err = svc.Files.Update(f.Id, nil).Media(strings.NewReader("1234567890a")).Do()
	wantError(t, err, 403, "storageQuotaExceeded")
	about := must(svc.About.Get().Fields("storageQuota").Do())(t)
	if q := about.StorageQuota; q.Limit != 10 || q.Usage != 10 || q.UsageInDriveTrash != 0 {
		t.Fatalf("%+v", q)
	}
	// What is in the trash counts until it is deleted.
	s.Trash(f.Id)
	if about := must(svc.About.Get().Fields("storageQuota").Do())(t); about.StorageQuota.UsageInDriveTrash != 10 {
		t.Fatalf("%+v", about.StorageQuota)
	}
	_, err = svc.Files.Create(&api.File{Name: "y"}).Media(strings.NewReader("1")).Do()
	wantError(t, err, 403, "storageQuotaExceeded")
	s.Delete(f.Id)
	must(svc.Files.Create(&api.File{Name: "y"}).Media(strings.NewReader("1")).Do())(t)
}

func TestDailyUpload(t *testing.T) {
	clk := newClock()
	s := newStudio(t, drive.Options{Now: clk.Now,
		Settings: drive.Settings{DailyUpload: 10, TokenLifetime: 48 * time.Hour}})
	create := func(size int) error {
		_, err := s.api.Files.Create(&api.File{Name: "x", Parents: []string{s.show.ID}}).SupportsAllDrives(true).
			Media(strings.NewReader(content(size))).Do()
		return err
	}
	if err := create(6); err != nil {
		t.Fatal(err)
	}
	err := create(5)
	wantError(t, err, 403, "userRateLimitExceeded")
	if e := err.(*googleapi.Error); e.Message != "User rate limit exceeded." {
		t.Fatal(e.Message)
	}
	clk.Advance(12 * time.Hour)
	if err := create(4); err != nil {
		t.Fatal(err)
	}
	wantError(t, create(1), 403, "userRateLimitExceeded")
	clk.Advance(12*time.Hour + time.Minute)
	if err := create(6); err != nil {
		t.Fatal(err)
	}
	s.UpdateSettings(func(v *drive.Settings) { v.DailyUpload = -1 })
	if err := create(100); err != nil {
		t.Fatal(err)
	}
}

func TestSharedDriveLimits(t *testing.T) {
	s := newStudio(t, drive.Options{Settings: drive.Settings{SharedDriveItems: 4, SharedDriveDepth: 2,
		FolderChildren: 2}})
	folder := func(parent string) (string, error) {
		f, err := s.api.Files.Create(&api.File{Name: "d", MimeType: folderType, Parents: []string{parent}}).
			SupportsAllDrives(true).Do()
		if err != nil {
			return "", err
		}
		return f.Id, nil
	}
	one := must(folder(s.show.ID))(t)
	two := must(folder(one))(t)
	_, err := folder(two)
	wantError(t, err, 403, "teamDriveHierarchyTooDeep")
	must(folder(one))(t)
	_, err = folder(one)
	wantError(t, err, 403, "numChildrenInNonRootLimitExceeded")
	must(folder(s.show.ID))(t)
	_, err = folder(s.show.ID)
	wantError(t, err, 403, "teamDriveFileLimitExceeded")
	s.Trash(one)
	_, err = folder(s.show.ID)
	wantError(t, err, 403, "teamDriveFileLimitExceeded")
	// What is in the drive already may be moved in it.
	must(s.api.Files.Update(two, nil).AddParents(s.show.ID).RemoveParents(one).SupportsAllDrives(true).Do())(t)
	s.Delete(one)
	must(folder(s.show.ID))(t)
}

// Google's own limits hold without any setting.
func TestTooLargeForDrive(t *testing.T) {
	s := newStudio(t)
	resp, body := s.request(t, "POST", "/upload/drive/v3/files?uploadType=resumable&supportsAllDrives=true",
		`{"parents":["`+s.show.ID+`"]}`, "Content-Type", "application/json", "X-Upload-Content-Length", "5497558138881")
	if resp.StatusCode != 413 {
		t.Fatal(resp.Status, body)
	}
	resp, body = s.request(t, "POST", "/upload/drive/v3/files?uploadType=resumable&supportsAllDrives=true",
		`{"parents":["`+s.show.ID+`"]}`, "Content-Type", "application/json", "X-Upload-Content-Length", "750000000001")
	if resp.StatusCode != 403 || reason(t, body) != "userRateLimitExceeded" {
		t.Fatal(resp.Status, body)
	}
}

// Only that they delay at least as long as they must, which no load of the
// machine can change.
func TestLatencyAndBandwidthDelay(t *testing.T) {
	s := newStudio(t)
	const size, perSecond, latency = 1 << 20, 10 << 20, 30 * time.Millisecond
	id := s.AddFile(s.show.ID, "x", []byte(content(size)))
	get := func() { must(s.api.Files.Get("root").Do())(t) }
	upload := func() { s.upload(t, s.show.ID, "y", content(size)) }
	download := func() {
		resp := must(s.api.Files.Get(id).Download())(t)
		defer resp.Body.Close()
		if n := must(io.Copy(io.Discard, resp.Body))(t); n != size {
			t.Fatalf("%d bytes, want %d", n, size)
		}
	}
	get() // the token is there
	for _, test := range []struct {
		name     string
		settings drive.Settings
		do       func()
		least    time.Duration
	}{
		{"latency", drive.Settings{Latency: latency, Jitter: time.Millisecond}, get, latency},
		{"upload", drive.Settings{UploadBandwidth: perSecond}, upload, 90 * time.Millisecond},
		{"download", drive.Settings{DownloadBandwidth: perSecond}, download, 90 * time.Millisecond},
	} {
		s.SetSettings(test.settings)
		start := time.Now()
		test.do()
		if took := time.Since(start); took < test.least {
			t.Errorf("%s: took %s, want at least %s", test.name, took, test.least)
		}
	}
}

// Room for small files only: what is larger than the room left is refused, and
// what fits is not.
func TestRoomForSmallFilesOnly(t *testing.T) {
	s := newStudio(t)
	user := s.AddUser("td@studio.example")
	user.SetStorage(10)
	s.show.SetStorage(10)
	other := s.AddUser("other@studio.example") // no limit of its own
	for _, test := range []struct {
		svc    *api.Service
		parent string
	}{{s.as(t, user), user.RootID()}, {s.api, s.show.ID}} {
		create := func(size int, option googleapi.MediaOption) (*api.File, error) {
			return test.svc.Files.Create(&api.File{Name: "x", Parents: []string{test.parent}}).SupportsAllDrives(true).
				Media(strings.NewReader(content(size)), option).Do()
		}
		for _, option := range []googleapi.MediaOption{googleapi.ChunkSize(0), googleapi.ChunkSize(chunk)} {
			_, err := create(chunk+1, option)
			wantError(t, err, 403, "storageQuotaExceeded")
			must(create(3, option))(t)
		}
		f := must(create(2, googleapi.ChunkSize(0)))(t)
		_, err := create(3, googleapi.ChunkSize(0))
		wantError(t, err, 403, "storageQuotaExceeded")
		update := func(size int) error {
			_, err := test.svc.Files.Update(f.Id, nil).SupportsAllDrives(true).Media(strings.NewReader(content(size))).
				Do()
			return err
		}
		if err := update(4); err != nil { // 10 bytes with the old content gone
			t.Fatal(err)
		}
		wantError(t, update(5), 403, "storageQuotaExceeded")
		must(test.svc.Files.Create(&api.File{Name: "d", MimeType: folderType, Parents: []string{test.parent}}).
			SupportsAllDrives(true).Do())(t)
	}
	about := must(s.as(t, user).About.Get().Fields("storageQuota").Do())(t)
	if q := about.StorageQuota; q.Limit != 10 || q.Usage != 10 {
		t.Fatalf("%+v", q)
	}
	must(s.as(t, other).Files.Create(&api.File{Name: "x"}).Media(strings.NewReader(content(100))).Do())(t)
	s.show.SetStorage(0)
	s.UpdateSettings(func(v *drive.Settings) { v.SharedDriveStorage = 11 })
	must(s.api.Files.Create(&api.File{Name: "y", Parents: []string{s.show.ID}}).SupportsAllDrives(true).
		Media(strings.NewReader("1")).Do())(t)
	_, err := s.api.Files.Create(&api.File{Name: "y", Parents: []string{s.show.ID}}).SupportsAllDrives(true).
		Media(strings.NewReader("1")).Do()
	wantError(t, err, 403, "storageQuotaExceeded")
}

// A shared drive that holds all the items that it may takes updates in place.
func TestFullSharedDriveTakesUpdates(t *testing.T) {
	s := newStudio(t, drive.Options{Settings: drive.Settings{SharedDriveItems: 2}})
	dir := s.Mkdir(s.show, "d")
	f := s.upload(t, s.show.ID, "x", "abc")
	_, err := s.api.Files.Create(&api.File{Name: "y", Parents: []string{s.show.ID}}).SupportsAllDrives(true).
		Media(strings.NewReader("x")).Do()
	wantError(t, err, 403, "teamDriveFileLimitExceeded")
	for _, option := range []googleapi.MediaOption{googleapi.ChunkSize(0), googleapi.ChunkSize(chunk)} {
		got := must(s.api.Files.Update(f.Id, &api.File{Name: "z"}).SupportsAllDrives(true).
			Media(strings.NewReader(content(chunk+2)), option).Fields("md5Checksum,name").Do())(t)
		if got.Name != "z" || got.Md5Checksum != md5Of(content(chunk+2)) {
			t.Fatalf("%+v", got)
		}
	}
	must(s.api.Files.Update(f.Id, nil).SupportsAllDrives(true).AddParents(dir).RemoveParents(s.show.ID).Do())(t)
}
