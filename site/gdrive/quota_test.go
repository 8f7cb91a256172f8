package gdrive

import (
	"testing"

	"sitesync/integration/drive"
	"sitesync/site"
)

// How much room is left is asked only where Google has such a number.
func TestQuota(t *testing.T) {
	t.Parallel()
	s := newStudio(t)
	user := s.AddUser("artist@studio.example")
	s.show.AddMember(user, drive.ContentManager)
	s.UpdateSettings(func(set *drive.Settings) { set.UserStorage = 1000 })

	shared := s.openAs(t, user.Credentials(), "", "/SHOW")
	if room, err := shared.Quota(t.Context()); err != nil || room != (site.Quota{}) {
		t.Errorf("a shared drive: %+v, %v", room, err)
	}
	s.wantCalls(t, "about.get", 0)
	mine := s.openAs(t, user.Credentials(), "", "/SHOW", "/My Drive")
	if room, err := mine.Quota(t.Context()); err != nil || room != (site.Quota{Known: true, Limit: 1000}) {
		t.Errorf("an empty My Drive: %+v, %v", room, err)
	}
	put(t, mine, "/My Drive/a", "12345")
	if room, err := mine.Quota(t.Context()); err != nil || room != (site.Quota{Known: true, Limit: 1000, Used: 5}) {
		t.Errorf("5 bytes: %+v, %v", room, err)
	}
	s.wantCalls(t, "about.get", 2)
}
