//go:build unix

package integration_test

import (
	"testing"
	"time"

	"sitesync/integration/drive"
	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// home is an artist's home: another machine with a storage of its own, on the studio's database and Drive.
func (s *testStudio) home(account *drive.Account) *testStudio {
	s.t.Helper()
	h := *s
	h.account, h.root, h.dir = account, s.t.TempDir(), s.t.TempDir()
	h.studio = studio.New(s.db, studio.Options{Root: h.root, ActiveSite: "art-17"})
	h.presets.ActiveSite = "art-17"
	h.presets.Sites = map[string]process.Site{}
	h.remoteRoot("/SHOW/projects", account)
	g := h.presets.Sites["gdrive"]
	g.Endpoint = s.drive.URL
	h.presets.Sites["gdrive"] = g
	return &h
}

// The studio's sitesync and that of an artist at home publish into the same folders at the same time, with one Google
// account or two, while one of them is killed again and again: neither waits for the other's lease, and nothing is on
// Drive twice.
func TestTwoWriters(t *testing.T) {
	for _, accounts := range []string{"one account", "two accounts"} {
		t.Run(accounts, func(t *testing.T) {
			t.Parallel()
			s := newTestStudio(t)
			s.drive.UpdateSettings(func(set *drive.Settings) {
				set.ListingLag = lag
				set.Latency = 10 * time.Millisecond
			})
			s.drive.AddFault(drive.Fault{Kind: "files.create*", Probability: 0.1, Effect: drive.EffectReset,
				When: drive.After})
			account := s.account
			if accounts == "two accounts" {
				account = s.drive.AddServiceAccount("home@studio.iam.example")
				s.show.AddMember(account, drive.Contributor)
			}
			h := s.home(account)
			at, atHome := s.start("--direction", "up"), h.start("--direction", "up")
			p, q := s.project("Test"), h.project("Test")
			var here, there []*studio.Representation
			for version := range 6 {
				for _, subset := range []string{"modelMain", "renderMain"} {
					here = append(here,
						s.publish(p, studio.Publish{Subset: subset, Version: version + 1, Name: "ma", Size: 2000}),
						s.publish(p, studio.Publish{Subset: subset, Version: version + 1, Name: "exr", Frames: 10,
							Size: 1000}))
					there = append(there,
						h.publish(q, studio.Publish{Subset: subset, Version: version + 1, Name: "abc", Size: 6 << 20}),
						h.publish(q, studio.Publish{Subset: subset, Version: version + 1, Name: "png", Frames: 10,
							Size: 1000}))
				}
				before := s.creates()
				s.eventually("they are at work", func() bool { return s.creates() > before+5 })
				atHome.Kill()
				atHome = h.start("--direction", "up")
			}
			for _, rep := range here {
				s.synced(rep)
			}
			for _, rep := range there {
				h.synced(rep)
			}
			s.checkNoDuplicates()
			s.checkNoTries(at)
			h.checkNoTries(atHome)
			for _, d := range []*process.Process{at, atHome} {
				if n := len(d.Lines(process.Message("standing by"))); n != 0 {
					t.Error("one has waited for the other")
				}
			}
		})
	}
}
