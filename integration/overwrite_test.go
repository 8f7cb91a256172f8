package integration_test

import (
	"testing"
	"time"

	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// When a path is published again, the record is there before the new content. The old content is not taken for it,
// even if it is of the same size.
func TestOverwriteBySameSize(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	d := s.start("--settle", "1m")
	p := s.project("Test")
	first := s.publish(p, studio.Publish{Size: 100, Frames: 5, Seed: 1})
	s.synced(first)
	id := s.record(first, 0).Lookup("id").StringValue()
	second := s.publish(p, studio.Publish{Size: 100, Frames: 5, Seed: 2, RenameAfter: 300 * time.Millisecond})
	s.synced(second)
	if got := s.record(second, 0).Lookup("id").StringValue(); got != id {
		t.Errorf("the id is %s, was %s", got, id)
	}
	if failed := d.Lines(process.Message("failed")); len(failed) > 0 {
		t.Errorf("a try was spent on waiting: %v", failed)
	}
}
