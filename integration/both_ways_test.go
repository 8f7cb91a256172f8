package integration_test

import (
	"bytes"
	"cmp"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"golang.org/x/text/unicode/norm"

	"sitesync/integration/drive"
	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// writable has sitesync write to the storage. One that is empty is taken for one that is not mounted.
func (s *testStudio) writable() {
	s.t.Helper()
	s.presets.LocalRoot = s.root
	check(s.t, os.MkdirAll(filepath.Join(s.root, "Test"), 0o755))
}

// machine is another machine on the studio's database and Drive, with a storage, a site and an account of Google of its
// own. It syncs both ways.
func (s *testStudio) machine(site string) *testStudio {
	s.t.Helper()
	m := *s
	m.root, m.dir = s.t.TempDir(), s.t.TempDir()
	m.account = s.drive.AddServiceAccount(site + "@studio.iam.example")
	s.show.AddMember(m.account, drive.Contributor)
	m.studio = studio.New(s.db, studio.Options{Root: m.root, ActiveSite: site})
	m.presets.ActiveSite, m.presets.Sites = site, maps.Clone(s.presets.Sites)
	m.remoteRoot("/SHOW/projects", m.account)
	m.writable()
	return &m
}

// site is the name of the storage.
func (s *testStudio) site() string { return cmp.Or(s.presets.ActiveSite, "studio") }

// local is where a file goes on the storage.
func (s *testStudio) local(f studio.File) string {
	return filepath.Join(s.root, filepath.FromSlash(f.Rel))
}

// remotely has files on Drive that were published elsewhere. Nobody asks for them before the site is added.
func (s *testStudio) remotely(p *studio.Project, pub studio.Publish) *studio.Representation {
	s.t.Helper()
	if pub.Size == 0 {
		pub.Size = 1000
	}
	pub.Synced, pub.RecordOnly = true, true
	home := studio.New(s.db, studio.Options{Root: s.root, ActiveSite: "home"})
	rep := s.publish(must(home.Project(s.ctx, p.Name()))(s.t), pub)
	for i, f := range rep.Files {
		folder := s.drive.Mkdir(s.show, path.Join("projects", path.Dir(f.Rel)))
		id := s.drive.AddFile(folder, path.Base(f.Rel), content(f.Rel, f.Size))
		check(s.t, rep.Set(s.ctx, "gdrive", bson.D{{Key: "id", Value: id}}, i))
	}
	return rep
}

// content is that of a file on Drive. Large ones are of zeros mostly, which take no room on disk.
func content(name string, size int64) []byte {
	text := []byte(name + "\n")
	if size < 1<<20 {
		return bytes.Repeat(text, int(size)/len(text)+1)[:size]
	}
	b := make([]byte, size)
	for at := int64(0); at < size; at += 1 << 20 {
		copy(b[at:], fmt.Sprint(at, name))
	}
	return b
}

// id is that of a file on Drive, by its record.
func (s *testStudio) id(rep *studio.Representation, file int) string {
	id, _ := s.record(rep, file).Lookup("id").StringValueOK()
	return id
}

// downloaded reports whether all records of the storage say that its files are there.
func (s *testStudio) downloaded(rep *studio.Representation) bool {
	for _, record := range must(rep.Records(s.ctx, s.site()))(s.t) {
		if record.Lookup("created_dt").Type != bson.TypeDateTime {
			return false
		}
	}
	return true
}

// arrives waits until the storage has the files of a representation, and compares them and their records with Drive.
func (s *testStudio) arrives(rep *studio.Representation) {
	s.t.Helper()
	s.eventually("it arrives at "+s.site(), func() bool { return s.downloaded(rep) })
	for i, record := range must(rep.Records(s.ctx, s.site()))(s.t) {
		f := rep.Files[i]
		local := s.local(f)
		if id, _ := record.Lookup("id").StringValueOK(); norm.NFC.String(id) != norm.NFC.String(path.Base(f.Rel)) {
			s.t.Errorf("the record of %s has the id %q", local, id)
		}
		for _, field := range []string{"tries", "error", "last_failed_dt", "progress"} {
			if record.Lookup(field).Type != 0 {
				s.t.Errorf("the record of %s is %v", local, record)
			}
		}
		there, ok := s.drive.Get(s.id(rep, i))
		if !ok {
			s.t.Errorf("%s is not on Drive", f.Rel)
			continue
		}
		s.isCopy(local, there)
		if f.MD5 != "" && f.MD5 != there.MD5 {
			s.t.Errorf("%s has the MD5 %s, %s was published", local, there.MD5, f.MD5)
		}
	}
}

// isCopy checks that a file of the storage is the one on Drive.
func (s *testStudio) isCopy(local string, there drive.File) {
	s.t.Helper()
	got, err := os.ReadFile(local)
	sum := md5.Sum(got)
	if err != nil || hex.EncodeToString(sum[:]) != there.MD5 {
		s.t.Errorf("%s has %d bytes with the MD5 %x, on Drive there are %d with %s, %v", local, len(got), sum,
			there.Size,
			there.MD5, err)
		return
	}
	modified := must(os.Stat(local))(s.t).ModTime()
	if modified.Sub(there.ModifiedTime).Abs() > time.Millisecond { // as Drive keeps it
		s.t.Errorf("%s was modified at %s, on Drive at %s", local, modified, there.ModifiedTime)
	}
}

// checkNothingHidden checks that no partial file is on the storage.
func (s *testStudio) checkNothingHidden() {
	s.t.Helper()
	check(s.t, filepath.WalkDir(s.root, func(at string, _ fs.DirEntry, err error) error {
		if strings.HasPrefix(filepath.Base(at), ".") {
			s.t.Errorf("%s is left", at)
		}
		return err
	}))
}

// checkNoDownloadFailed checks that no download has failed so far.
func (s *testStudio) checkNoDownloadFailed(d *process.Process) {
	s.t.Helper()
	if failed := d.Lines(process.Message("download failed")); len(failed) > 0 {
		s.t.Errorf("tries were spent: %v", failed)
	}
}

// down matches lines of the log about downloads.
func down(message string) func(process.Line) bool {
	return func(l process.Line) bool {
		return strings.Contains(l.Message, message) && l.Text("direction") == "down"
	}
}

// downloadsOf are the requests for the content of a file.
func (s *testStudio) downloadsOf(id string) (all []drive.LogEntry) {
	for _, e := range s.drive.Log() {
		if e.Kind == "files.download" && e.Target == id {
			all = append(all, e)
		}
	}
	return all
}

// What an artist publishes at home comes to the studio and to another artist by way of Drive, each on a storage and
// with an account of its own. Each downloads it once.
func TestThreeMachines(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.writable()
	home, other := s.machine("art-17"), s.machine("art-18")
	machines := map[*testStudio]*process.Process{}
	for _, m := range []*testStudio{s, home, other} {
		machines[m] = m.start()
	}
	p := home.project("Test")
	for version, dict := range []bool{false, true} {
		rep := home.publish(p, studio.Publish{Version: version + 1, Size: 100_000, Frames: 3, DictSites: dict,
			Resources:  []studio.Resource{{Name: "texture.tif", Size: 9 << 20}},
			OtherSites: []string{"studio", "art-18"}})
		home.synced(rep)
		s.arrives(rep)
		other.arrives(rep)
		for i, f := range rep.Files {
			modified := must(os.Stat(f.Local))(t).ModTime()
			for _, m := range []*testStudio{s, other} {
				if got := must(os.Stat(m.local(f)))(t).ModTime(); got.Sub(modified).Abs() > time.Millisecond {
					t.Errorf("%s was modified at %s at %s, at %s at home", f.Rel, got, m.site(), modified)
				}
			}
			id := s.id(rep, i)
			sent := map[string]int64{}
			s.eventually("the requests for "+f.Rel+" have ended", func() bool {
				clear(sent)
				for _, e := range s.downloadsOf(id) {
					sent[e.Account] += e.Sent
				}
				return sent["sync@studio.iam.example"] >= f.Size && sent["art-18@studio.iam.example"] >= f.Size
			})
			if len(sent) != 2 || sent["sync@studio.iam.example"] != f.Size ||
				sent["art-18@studio.iam.example"] != f.Size {
				t.Errorf("of the %d bytes of %s were downloaded %v", f.Size, f.Rel, sent)
			}
		}
	}

	// A sequence that has been on Drive for long.
	const frames = 300
	rep := home.publish(p, studio.Publish{Version: 3, Size: 1000, Frames: frames, Name: "exr"})
	home.synced(rep)
	s.drive.ResetCalls()
	for _, site := range []string{"studio", "art-18"} {
		check(t, rep.AddSite(s.ctx, site))
	}
	s.arrives(rep)
	other.arrives(rep)
	if calls := s.drive.TotalCalls(); float64(calls) > 2*(1.05*frames+10) {
		t.Errorf("%d calls for %d files on two machines: %v", calls, frames, s.drive.Calls())
	}
	for m, d := range machines {
		want := 8 + frames
		if m == home {
			want = 0
		}
		if n := len(d.Lines(down("synced"))); n != want {
			t.Errorf("%s says of %d downloads that they are synced, want %d", m.site(), n, want)
		}
		if warned := warnings(d); len(warned) > 0 {
			t.Errorf("%s warns: %v", m.site(), warned)
		}
		m.checkNothingHidden()
	}
	s.checkNoDuplicates()
}

// changedOnDrive is what people have done to a file on Drive since it was recorded.
type changedOnDrive struct {
	pub    studio.Publish
	change func(s *testStudio, rep *studio.Representation, id string)
	want   string // what error says once the tries are spent; "" if it arrives
	repair func(s *testStudio, rep *studio.Representation, id string)
	other  bool // it arrives from another file than the recorded one
}

// Files that people have replaced, moved, trashed or deleted on Drive arrive as far as they are the ones that were
// published. All others say what is wrong with them, and arrive when that is repaired.
func TestFilesChangedOnDrive(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.writable()
	p := s.project("Test")
	folderOf := func(s *testStudio, rep *studio.Representation) string {
		return s.drive.Mkdir(s.show, path.Join("projects", path.Dir(rep.Files[0].Rel)))
	}
	base := func(rep *studio.Representation) string { return path.Base(rep.Files[0].Rel) }
	refuse := func(reason string) func(*testStudio, *studio.Representation, string) {
		return func(s *testStudio, _ *studio.Representation, id string) { s.drive.RefuseDownloads(id, reason) }
	}
	cases := map[string]changedOnDrive{
		"nothing": {},
		"edited": {change: func(s *testStudio, _ *studio.Representation,
			id string) {
			s.drive.Write(id, content("edited", 1000))
		}},
		"edited, of no size told": {pub: studio.Publish{NoSize: true},
			change: func(s *testStudio, _ *studio.Representation,
				id string) {
				s.drive.Write(id, content("edited", 3000))
			}},
		"edited, of another size": {
			change: func(s *testStudio, _ *studio.Representation,
				id string) {
				s.drive.Write(id, content("edited", 900))
			},
			want: "it has 900 bytes on google drive, 1000 were published",
			repair: func(s *testStudio, rep *studio.Representation, id string) {
				s.drive.Write(id, content(rep.Files[0].Rel, 1000))
			}},
		"moved": {change: func(s *testStudio, _ *studio.Representation, id string) {
			s.drive.Move(id, s.drive.Mkdir(s.show, "elsewhere"))
		}},
		"renamed": {change: func(s *testStudio, _ *studio.Representation,
			id string) {
			s.drive.Rename(id, "final.ma")
		}},
		"trashed": {change: func(s *testStudio, _ *studio.Representation, id string) { s.drive.Trash(id) },
			want:   "it was put into the trash of google drive; take it out again",
			repair: func(s *testStudio, _ *studio.Representation, id string) { s.drive.Untrash(id) }},
		"trashed with its folder": {pub: studio.Publish{Subset: "lookMain"},
			change: func(s *testStudio, rep *studio.Representation, _ string) { s.drive.Trash(folderOf(s, rep)) },
			want:   "it was put into the trash of google drive",
			repair: func(s *testStudio, _ *studio.Representation, id string) {
				f, _ := s.drive.Get(id)
				s.drive.Untrash(f.Parent)
			}},
		"deleted": {change: func(s *testStudio, _ *studio.Representation, id string) { s.drive.Delete(id) },
			want: "it is not on google drive, or not shared with sync@studio.iam.example",
			repair: func(s *testStudio, rep *studio.Representation, _ string) {
				s.drive.AddFile(folderOf(s, rep), base(rep), content("again", 1000))
			}, other: true},
		"deleted and uploaded again": {change: func(s *testStudio, rep *studio.Representation, id string) {
			s.drive.Delete(id)
			s.drive.AddFile(folderOf(s, rep), base(rep), content("again", 1000))
		}, other: true},
		"trashed and uploaded again": {change: func(s *testStudio, rep *studio.Representation, id string) {
			s.drive.Trash(id)
			s.drive.AddFile(folderOf(s, rep), base(rep), content("again", 1000))
		}, other: true},
		"a Google Doc in its place": {change: func(s *testStudio, rep *studio.Representation, id string) {
			s.drive.Delete(id)
			doc := s.drive.AddDoc(folderOf(s, rep), base(rep))
			check(t, rep.Set(s.ctx, "gdrive", bson.D{{Key: "id", Value: doc}}))
		}, want: "Google document", repair: func(s *testStudio, rep *studio.Representation, _ string) {
			s.drive.AddFile(folderOf(s, rep), base(rep), content("again", 1000))
		}, other: true},
		"taken for malware": {change: refuse("cannotDownloadAbusiveFile"),
			want: "Google takes the file for malware or spam", repair: refuse("")},
		"downloaded too often": {change: refuse("downloadQuotaExceeded"), want: "was downloaded too often",
			repair: refuse("")},
		"not to be downloaded": {change: refuse("cannotDownloadFile"), want: "must not download it",
			repair: refuse("")},
	}
	reps, ids := map[string]*studio.Representation{}, map[string]string{}
	for name, c := range cases {
		c.pub.Version = len(reps) + 1
		reps[name] = s.remotely(p, c.pub)
		ids[name] = s.id(reps[name], 0)
		if c.change != nil {
			c.change(s, reps[name], ids[name])
		}
	}
	d := s.start("--settle", "10ms", "--retry-delay", "10ms")
	for _, rep := range reps {
		check(t, rep.AddSite(s.ctx, "studio"))
	}
	arrives := func(name string) {
		rep := reps[name]
		if !cases[name].other {
			s.arrives(rep)
			return
		}
		s.eventually(name+" arrives", func() bool { return s.downloaded(rep) })
		found := s.drive.Find(s.show, path.Join("projects", rep.Files[0].Rel))
		s.isCopy(s.local(rep.Files[0]), found[len(found)-1])
	}
	for name, c := range cases {
		if c.want == "" {
			arrives(name)
			continue
		}
		s.fails(d, reps[name], c.want)
		if _, err := os.Lstat(s.local(reps[name].Files[0])); err == nil {
			t.Errorf("%s: something is there", name)
		}
	}
	for name, c := range cases {
		if c.want != "" {
			c.repair(s, reps[name], ids[name])
			check(t, reps[name].Retry(s.ctx, "studio"))
			arrives(name)
		}
	}
	s.checkNothingHidden()
	if held := d.Lines(process.Message("are held")); len(held) > 0 {
		t.Errorf("the site was held: %v", held)
	}
}

// fails waits until the download of a file has failed for good, and checks what is said about that.
func (s *testStudio) fails(d *process.Process, rep *studio.Representation, want string) {
	s.t.Helper()
	var record bson.Raw
	s.eventually("three tries are spent for "+want, func() bool {
		record = must(rep.Record(s.ctx, 0, s.site()))(s.t)
		tries, ok := record.Lookup("tries").Int32OK()
		return ok && tries == 3
	})
	text, _ := record.Lookup("error").StringValueOK()
	if !strings.Contains(text, want) || record.Lookup("created_dt").Type != 0 || record.Lookup("id").Type != 0 {
		s.t.Errorf("the record is %v, want the error %q", record, want)
	}
	s.log(d, func(l process.Line) bool {
		return l.Message == "download failed for good; repair the cause, then: sitesync retry" &&
			l.Text("representation") == rep.ID.Hex() && l.Text("direction") == "down" &&
			strings.Contains(l.Text("error"), want)
	})
}

// Paths of documents from any system lead to one place below the storage of this one, and nowhere else.
func TestDownloadedPaths(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.writable()
	p := s.project("Test")
	recorded := func(rep *studio.Representation, path string) *studio.Representation {
		must(p.Collection().UpdateByID(s.ctx, rep.ID,
			bson.D{{Key: "$set", Value: bson.D{{Key: "files.0.path", Value: path}}}}))(t)
		return rep
	}
	const composed, decomposed = "\u017dlu\u0165ou\u010dk\u00fd", "Z\u030clut\u030couc\u030cky\u0301"
	arrive := map[string]studio.Publish{
		"published on Windows":   {Backslashes: true, ContextRoot: `P:\projects`},
		"published with a drive": {ContextRoot: "P:/projects"},
		"published on a share":   {Backslashes: true, ContextRoot: `\\server\projects`},
		"published on macOS":     {ContextRoot: "/Volumes/projects"},
		"composed letters":       {Asset: composed},
		"decomposed letters":     {Asset: decomposed + "2", File: decomposed + ".ma"},
		"braces":                 {File: "a{{1}}.ma"},
		"odd characters":         {File: `it's a "b" #1 100% [x] + & $.ma`},
	}
	reps := map[string]*studio.Representation{}
	for name, pub := range arrive {
		pub.Version = len(reps) + 1
		reps[name] = s.remotely(p, pub)
	}
	unrooted := s.remotely(p, studio.Publish{Version: 49, Backslashes: true, ContextRoot: `P:\projects`})
	reps["without {root}"] = recorded(unrooted, `p:\projects\`+strings.ReplaceAll(unrooted.Files[0].Rel, "/", `\`))
	// A file whose recorded name has doubled braces, as a format string has them, and whose name on Drive has not.
	doubled := s.remotely(p, studio.Publish{File: "b{1}.ma", Version: 50})
	recorded(doubled, strings.NewReplacer("{1}", "{{1}}").Replace(doubled.Files[0].Path))
	reps["doubled braces"] = doubled
	// The same names in the other normal form, on a storage that has them in one.
	again := s.remotely(p, studio.Publish{Asset: decomposed, Version: 51})

	outside := filepath.Join(filepath.Dir(s.root), "evil.ma")
	refused := map[string]*studio.Representation{"the file system refuses the name": s.remotely(p,
		studio.Publish{Version: 60, File: strings.Repeat("n", 297) + ".ma"})}
	for want, path := range map[string]string{
		`path "/Test/../../evil.ma" leaves its root by ".."`: "{root}/Test/../../evil.ma",
		`path "/../evil.ma" leaves its root by ".."`:         `{root}\..\evil.ma`,
		"does not begin with {root}":                         outside,
		"has a NUL in it":                                    "{root}/Test/a\x00b.ma",
	} {
		refused[want] = recorded(s.remotely(p, studio.Publish{Version: 60 + len(refused)}), path)
	}

	d := s.start("--settle", "10ms", "--retry-delay", "10ms")
	for _, rep := range reps {
		check(t, rep.AddSite(s.ctx, "studio"))
	}
	for _, rep := range refused {
		check(t, rep.AddSite(s.ctx, "studio"))
	}
	for _, rep := range reps {
		s.arrives(rep)
	}
	for want, rep := range refused {
		s.fails(d, rep, want)
	}
	check(t, again.AddSite(s.ctx, "studio"))
	s.eventually("it arrives", func() bool { return s.downloaded(again) })
	want := strings.Replace(s.local(again.Files[0]), decomposed, composed, 1)
	if _, err := os.Stat(filepath.Dir(want)); err != nil {
		t.Errorf("it is not in the folder that is there: %v", err)
	}
	if folders := must(filepath.Glob(filepath.Join(s.root, "Test", "Assets", "*k*")))(t); len(folders) != 2 {
		t.Errorf("there are the folders %q", folders)
	}
	if _, err := os.Lstat(outside); err == nil {
		t.Error("a path has left the root")
	}
	if found := must(os.ReadDir(s.root))(t); len(found) != 1 {
		t.Errorf("in the root there are %v", found)
	}
	s.checkNothingHidden()
}

// A studio with several roots has each where local_root says.
func TestDownloadToSeveralRoots(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	roots := s.twoStorages()
	for _, root := range roots {
		check(t, os.Mkdir(filepath.Join(root, "Test"), 0o755))
	}
	s.presets.LocalRoot = roots
	p := s.project("Test")
	reps := map[string]*studio.Representation{}
	foreign := map[string]string{"work": "P:/work", "render": `R:\render`}
	for name, folder := range map[string]string{"work": "projects", "render": "renders"} {
		rep := s.elsewhere(p, studio.Publish{Root: name, Size: 500, Name: name, ContextRoot: foreign})
		rel := rep.Files[0].Rel
		id := s.drive.AddFile(s.drive.Mkdir(s.show, path.Join(folder, path.Dir(rel))), path.Base(rel),
			content(name, 500))
		check(t, rep.Set(s.ctx, "gdrive", bson.D{{Key: "id", Value: id}}))
		check(t, rep.AddSite(s.ctx, "studio"))
		reps[filepath.Join(roots[name], filepath.FromSlash(rel))] = rep
	}
	d := s.start("--direction", "down")
	for local, rep := range reps {
		s.eventually("it arrives", func() bool { return s.downloaded(rep) })
		there, _ := s.drive.Get(s.id(rep, 0))
		s.isCopy(local, there)
	}
	if warned := warnings(d); len(warned) > 0 {
		t.Errorf("warnings: %v", warned)
	}
}

// A direction that is switched off is not served, and is due when it is switched on.
func TestOneDirectionOnly(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.writable()
	p := s.project("Test")
	fetched := s.remotely(p, studio.Publish{Version: 1})
	check(t, fetched.AddSite(s.ctx, "studio"))
	open := process.Message("change stream open")
	const noRoot = "nothing is downloaded: there is no local_root"

	up := s.start("--direction", "up")
	s.synced(s.publish(p, studio.Publish{Version: 2, Size: 100}))
	s.stops(up)
	if n := len(up.Lines(open)); n != 1 || s.drive.Calls()["files.download"] > 0 || s.downloaded(fetched) {
		t.Errorf("%d change streams, %v", n, s.drive.Calls())
	}

	root := s.presets.LocalRoot
	s.presets.LocalRoot = nil
	both := s.start()
	s.synced(s.publish(p, studio.Publish{Version: 3, Size: 100}))
	s.stops(both)
	if n := len(both.Lines(open)); n != 1 || s.drive.Calls()["files.download"] > 0 || s.downloaded(fetched) {
		t.Errorf("%d change streams, %v", n, s.drive.Calls())
	}
	if said := len(both.Lines(process.Message(noRoot))); said != 1 || len(up.Lines(process.Message(noRoot))) > 0 {
		t.Errorf("it says %d times that there is no local_root", said)
	}

	s.presets.LocalRoot = root
	sent := s.publish(p, studio.Publish{Version: 4, Size: 100})
	creates := s.creates()
	only := s.start("--direction", "down")
	s.arrives(fetched)
	s.stops(only)
	if n := len(only.Lines(open)); n != 1 || s.creates() > creates {
		t.Errorf("%d change streams, %v", n, s.drive.Calls())
	}
	last := s.start()
	s.synced(sent)
	s.eventually("both directions are watched", func() bool { return len(last.Lines(open)) == 2 })
}

// stops stops sitesync.
func (s *testStudio) stops(d *process.Process) {
	s.t.Helper()
	check(s.t, d.Stop())
}

// A second sitesync of the same site stands by for both directions, and takes both over when the first is killed.
func TestTakeoverOfBothDirections(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.writable()
	p := s.project("Test")
	open := process.Message("change stream open")
	first := s.start()
	s.eventually("it serves both directions", func() bool { return len(first.Lines(open)) == 2 })
	second := s.launch(serve...)
	s.eventually("the other stands by for both", func() bool {
		return len(second.Lines(process.Message("standing by"))) == 2
	})
	page := s.page(second)
	s.eventually("its health page says so", func() bool {
		status, body := page.get("/healthz")
		return status == http.StatusOK && strings.HasSuffix(body, `"status":"standby"}`) ||
			strings.Contains(body, `"routes":{"down":{"status":"standby"`)
	})
	at := s.remotely(p, studio.Publish{Version: 1})
	check(t, at.AddSite(s.ctx, "studio"))
	s.arrives(at)
	s.synced(s.publish(p, studio.Publish{Version: 2, Size: 100}))
	if n := len(second.Lines(process.Message("synced"))); n != 0 {
		t.Errorf("the one that stands by has synced %d", n)
	}
	first.Kill()
	s.eventually("the other serves both directions", func() bool { return len(second.Lines(open)) == 2 })
	at = s.remotely(p, studio.Publish{Version: 3})
	check(t, at.AddSite(s.ctx, "studio"))
	s.arrives(at)
	s.synced(s.publish(p, studio.Publish{Version: 4, Size: 100}))
	if n := len(second.Lines(down("synced"))); n != 1 {
		t.Errorf("it has logged %d downloads", n)
	}
	s.checkNoDuplicates()
}

// A file that has been on Drive for long arrives when somebody adds the site's record, in either form, and at once:
// neither a poll nor a scan finds it.
func TestAskedForLater(t *testing.T) {
	t.Parallel()
	eachForm(t, func(t *testing.T, s *testStudio, pub studio.Publish) {
		t.Parallel()
		s.writable()
		p := s.project("Test")
		reps := []*studio.Representation{}
		for range 2 { // before sitesync starts and while it runs
			pub.Version++
			reps = append(reps, s.remotely(p, pub))
		}
		d := s.start(streamOnly...)
		s.eventually("it watches both directions", func() bool {
			return len(d.Lines(process.Message("change stream open"))) == 2
		})
		s.synced(s.publish(p, studio.Publish{Subset: "lookMain", Size: 100}))
		if n := s.drive.Calls()["files.download"]; n > 0 {
			t.Errorf("%d downloads before anybody asked", n)
		}
		for _, rep := range reps {
			asked := time.Now()
			check(t, rep.AddSite(s.ctx, "studio"))
			s.arrives(rep)
			if all := s.downloadsOf(s.id(rep, 0)); len(all) != 1 || all[0].Time.Before(asked) {
				t.Errorf("asked at %s, the requests are %v", asked, all)
			}
		}
		if warned := warnings(d); len(warned) > 0 {
			t.Errorf("warnings: %v", warned)
		}
	})
}

// What is published again at home, with the same size and in quick succession, arrives each time.
func TestRepublishedAtHome(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.writable()
	home := s.machine("art-17")
	at := s.start()
	home.start()
	p := home.project("Test")
	for seed := range uint64(6) {
		rep := home.publish(p, studio.Publish{Size: 1000, Seed: seed, Frames: 12, Name: "exr",
			OtherSites: []string{"studio"}})
		s.eventually("it arrives", func() bool { return s.downloaded(rep) })
		for i, f := range rep.Files {
			got := md5.Sum(must(os.ReadFile(s.local(f)))(t))
			if sum := hex.EncodeToString(got[:]); sum != f.MD5 {
				t.Errorf("publish %d, frame %d: the studio has the MD5 %s, %s was published", seed, i, sum, f.MD5)
			}
		}
	}
	s.checkNothingHidden()
	s.checkNoDownloadFailed(at)
	s.checkNoDuplicates()
}

// A fault of Drive as a whole holds downloads, costs no try, and is over as soon as it is repaired.
func TestDownloadsFromASiteHeld(t *testing.T) {
	for name, test := range map[string]struct {
		begin func(s *testStudio) (repair func())
		why   string
	}{
		"credentials revoked": {func(s *testStudio) func() {
			fault := s.drive.AddFault(drive.Fault{Kind: "token", Effect: drive.EffectStatus, Status: 400,
				Reason: "invalid_grant"})
			s.drive.RevokeTokens(s.account)
			return fault.Remove
		}, "invalid_grant"},
		"root trashed": {func(s *testStudio) func() {
			root := s.drive.Find(s.show, "projects")[0].ID
			s.drive.Trash(root)
			return func() { s.drive.Untrash(root) }
		}, "no folder /SHOW/projects"},
		"no member any more": {func(s *testStudio) func() {
			s.show.AddMember(s.account, drive.NoRole)
			return func() { s.show.AddMember(s.account, drive.Contributor) }
		}, "SHOW"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTestStudio(t)
			s.writable()
			p := s.project("Test")
			d := s.start("--settle", "10ms", "--retry-delay", "10ms")
			before := s.remotely(p, studio.Publish{})
			check(t, before.AddSite(s.ctx, "studio"))
			s.arrives(before)
			single := s.remotely(p, studio.Publish{Version: 2})
			sequence := s.remotely(p, studio.Publish{Version: 3, Name: "exr", Frames: 20})
			repair := test.begin(s)
			for _, rep := range []*studio.Representation{single, sequence} {
				check(t, rep.AddSite(s.ctx, "studio"))
			}
			if held := s.log(d, down("downloads are held")); !strings.Contains(held.Text("error"), test.why) {
				t.Errorf("the log says %v", held.Fields)
			}
			repair()
			for _, rep := range []*studio.Representation{single, sequence} {
				s.arrives(rep)
			}
			s.checkNothingHidden()
			s.checkNoDownloadFailed(d)
		})
	}
}

// With --once both directions are served before it ends, and what is held counts.
func TestOnceBothWays(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.writable()
	p := s.project("Test")
	fetched := s.remotely(p, studio.Publish{Version: 1, Frames: 10, Name: "exr"})
	check(t, fetched.AddSite(s.ctx, "studio"))
	sent := s.publish(p, studio.Publish{Version: 2, Size: 1000, Frames: 10, Name: "exr"})
	check(t, s.presets.Write(s.dir))
	if status, stdout, stderr := s.exits("run", "--once"); status != 0 {
		t.Fatalf("status %d:\n%s%s", status, stdout, stderr)
	}
	if !s.downloaded(fetched) {
		t.Error("it has not downloaded")
	}
	s.arrives(fetched)
	s.synced(sent)

	late := s.remotely(p, studio.Publish{Version: 3})
	check(t, late.AddSite(s.ctx, "studio"))
	check(t, os.Rename(s.root, s.root+"-away"))
	if status, _, stderr := s.exits("run", "--once"); status != 1 || !strings.Contains(stderr, "not mounted") ||
		!strings.Contains(stderr, "not synced: 1 held file;") {
		t.Errorf("status %d:\n%s", status, stderr)
	}
	check(t, os.Rename(s.root+"-away", s.root))
	if status, _, stderr := s.exits("run", "--once"); status != 0 {
		t.Errorf("status %d:\n%s", status, stderr)
	}
	s.arrives(late)
}

// Documents that record one path have its file downloaded at the same time, and it is there once in the end.
func TestTwoDownloadsToOnePath(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	s.writable()
	p := s.project("Test")
	var reps []*studio.Representation
	for version, size := range []int64{2000, 20 << 20} {
		for i := range 4 {
			rep := s.remotely(p, studio.Publish{Version: version + 1, Size: size, File: "cache.vdb",
				Name: fmt.Sprint("copy", i)})
			if i > 0 {
				check(t, rep.Set(s.ctx, "gdrive", bson.D{{Key: "id", Value: s.id(reps[len(reps)-1], 0)}}))
			}
			reps = append(reps, rep)
		}
	}
	for _, rep := range reps {
		check(t, rep.AddSite(s.ctx, "studio"))
	}
	d := s.start()
	for _, rep := range reps {
		s.arrives(rep)
	}
	s.checkNothingHidden()
	if warned := warnings(d); len(warned) > 0 {
		t.Errorf("warnings: %v", warned)
	}
}

// A large file that is replaced on Drive while it is downloaded arrives as it is in the end, in one piece.
func TestReplacedWhileItIsDownloaded(t *testing.T) {
	t.Parallel()
	const size = 60 << 20
	s := newTestStudio(t)
	s.writable()
	slow := func(bandwidth int64) {
		s.drive.UpdateSettings(func(set *drive.Settings) { set.DownloadBandwidth = bandwidth })
	}
	p := s.project("Test")
	for version, next := range []int64{size, size / 2} {
		slow(10 << 20)
		rep := s.remotely(p, studio.Publish{Version: version + 1, Size: size, Name: "vdb", NoSize: true})
		local, id := s.local(rep.Files[0]), s.id(rep, 0)
		d := s.start("--settle", "10m", "--retry-delay", "10ms")
		check(t, rep.AddSite(s.ctx, "studio"))
		s.eventually("a third of it is there", func() bool {
			for _, name := range must(filepath.Glob(filepath.Join(filepath.Dir(local), ".sitesync-*")))(t) {
				if info, err := os.Stat(name); err == nil && info.Size() > size/3 {
					return true
				}
			}
			return false
		})
		s.drive.Write(id, content("replaced", next))
		if _, err := os.Stat(local); err == nil {
			t.Fatal("it was too late to replace it")
		}
		slow(0)
		s.eventually("it arrives", func() bool { return s.downloaded(rep) })
		there, _ := s.drive.Get(id)
		s.isCopy(local, there)
		s.checkNoDownloadFailed(d)
		s.stops(d)
		s.checkNothingHidden()
	}
}
