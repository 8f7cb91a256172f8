package state

import (
	"testing"
	"time"

	"sitesync/avalon"
	"sitesync/integration/mongod"
)

// A scan is read as it was saved, whatever kind of id it has come to, and each purpose has scans of its own.
func TestScans(t *testing.T) {
	db := mongod.Database(t)
	d := Open(db.Client(), db.Name())
	project := avalon.Project{Name: "Alpha"}
	name := AccessibleName("avalon", []string{"studio", "farm"})
	scans, others := d.Scans(name), d.Scans(AccessibleName("avalon", []string{"studio"}))
	if scan, err := scans.Read(t.Context(), project); err != nil || scan != (Scan{}) {
		t.Errorf("before the first: %+v, %v", scan, err)
	}
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, want := range []Scan{
		{Newest: at, Position: avalon.OldestID(at)},
		{Newest: at, Position: avalon.ParseID("a text"), Completed: at},
		{Newest: at, Position: avalon.ParseIDs("7")[2]}, // the number
		{Newest: at, Completed: at},
	} {
		if err := scans.Save(t.Context(), project, want); err != nil {
			t.Fatal(err)
		}
		got, err := scans.Read(t.Context(), project)
		got.Newest, got.Completed = got.Newest.UTC(), got.Completed.UTC()
		if err != nil || got != want {
			t.Errorf("read %+v, %v, want %+v", got, err, want)
		}
	}
	for _, other := range []*Scans{others, d.Scans(AccessibleName("avalon2", []string{"studio", "farm"}))} {
		if scan, err := other.Read(t.Context(), project); err != nil || scan != (Scan{}) {
			t.Errorf("of another purpose: %+v, %v", scan, err)
		}
	}
	if same := AccessibleName("avalon", []string{"farm", "studio"}); same != name {
		t.Errorf("in another order it is %+v, not %+v", same, name)
	}
}
