package integration_test

import (
	"strings"
	"testing"

	"sitesync/integration/drive"
	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// A fault of the site holds all uploads, is logged once and reported by check, is probed again and again, costs no try,
// and is over as soon as it is repaired, by itself.
func TestSiteHeld(t *testing.T) {
	for name, test := range map[string]struct {
		mine  bool // the root is in My Drive of a user
		begin func(s *testStudio) (repair func())
		words []string
	}{
		"credentials revoked": {false, func(s *testStudio) func() {
			fault := s.drive.AddFault(drive.Fault{Kind: "token", Effect: drive.EffectStatus, Status: 400,
				Reason: "invalid_grant"})
			s.drive.RevokeTokens(s.account)
			return fault.Remove
		}, []string{"invalid_grant", "check the key file"}},
		"no storage left": {true, func(s *testStudio) func() {
			s.drive.UpdateSettings(func(set *drive.Settings) { set.UserStorage = 100 })
			return func() { s.drive.UpdateSettings(func(set *drive.Settings) { set.UserStorage = 0 }) }
		}, []string{"no storage left"}},
		"root deleted": {false, func(s *testStudio) func() {
			s.drive.Delete(s.drive.Find(s.show, "projects")[0].ID)
			return func() { s.drive.Mkdir(s.show, "projects") }
		}, []string{"no folder /SHOW/projects", "create or share it"}},
		"root trashed": {false, func(s *testStudio) func() {
			root := s.drive.Find(s.show, "projects")[0].ID
			s.drive.Trash(root)
			return func() { s.drive.Untrash(root) }
		}, []string{"no folder /SHOW/projects", "create or share it"}},
		"root not writable": {false, func(s *testStudio) func() {
			s.show.AddMember(s.account, drive.Reader)
			return func() { s.show.AddMember(s.account, drive.Contributor) }
		}, []string{"can't be written to by sync@studio.iam.example", "Content manager"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTestStudio(t)
			place := drive.Place(s.show)
			if test.mine {
				user := s.drive.AddUser("artist@studio.example")
				s.drive.Mkdir(user, "projects")
				s.remoteRoot("/My Drive/projects", user)
				place = user
			}
			p := s.project("Test")
			d := s.start("--retry-delay", "10ms")
			before := s.publish(p, studio.Publish{Size: 100})
			s.wait(before)

			repair := test.begin(s)
			reps := []*studio.Representation{s.publish(p, studio.Publish{Size: 100, Version: 2})}
			line := s.log(d, process.Message("uploads are held"))
			for _, w := range test.words {
				if !strings.Contains(line.Text("error"), w) {
					t.Errorf("nothing about %q in %q", w, line.Text("error"))
				}
			}
			// Neither more publishes nor time change anything: the probes do.
			reps = append(reps, s.publish(p, studio.Publish{Size: 100, Version: 3, Name: "exr", Frames: 20}))
			creates := s.creates()
			probes := func() int {
				calls := s.drive.Calls()
				return calls["token"] + calls["drives.list"] + calls["files.get"]
			}
			for range 2 {
				last := probes()
				s.eventually("it is probed again", func() bool { return probes() > last })
			}
			if status, stdout, _ := s.exits("check"); status != 1 || !strings.Contains(stdout, test.words[0]) {
				t.Errorf("check ends with status %d and says\n%s", status, stdout)
			}
			for _, rep := range reps {
				for i := range rep.Files {
					rec := s.record(rep, i)
					for _, field := range []string{"tries", "error", "last_failed_dt", "created_dt"} {
						if v := rec.Lookup(field); v.Type != 0 {
							t.Errorf("the record is %v", rec)
						}
					}
				}
			}
			if n := s.creates(); n != creates {
				t.Errorf("%d uploads were begun while held", n-creates)
			}

			repair()
			s.log(d, process.Message("uploads go on"))
			for _, rep := range reps {
				s.wait(rep)
				s.onDrive(place, "projects", rep)
			}
			if n := len(d.Lines(process.Message("uploads are held"))); n != 1 {
				t.Errorf("logged %d times", n)
			}
			s.checkNoTries(d)
			s.checkNoDuplicates()
		})
	}
}
