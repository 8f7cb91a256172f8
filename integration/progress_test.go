package integration_test

import (
	"testing"

	"sitesync/integration/drive"
	"sitesync/integration/studio"
)

// How far the upload of a large file is stands in its record while it runs, and not any longer.
func TestProgressInTheRecord(t *testing.T) {
	t.Parallel()
	eachForm(t, func(t *testing.T, s *testStudio, pub studio.Publish) {
		t.Parallel()
		s.drive.UpdateSettings(func(set *drive.Settings) { set.UploadBandwidth = 10 << 20 })
		page := s.page(s.start("--record-progress", "--listen", "127.0.0.1:0"))
		pub.Size, pub.Sparse = 90<<20, true
		rep := s.publish(s.project("Test"), pub)
		s.eventually("there is progress in the record", func() bool {
			done, ok := s.record(rep, 0).Lookup("progress").DoubleOK()
			return ok && done > 0 && done < 1
		})
		s.drive.UpdateSettings(func(set *drive.Settings) { set.UploadBandwidth = 0 })
		s.synced(rep)
		if v := s.record(rep, 0).Lookup("progress"); v.Type != 0 {
			t.Errorf("progress is %v in a record that is synced", v)
		}
		page.shows(map[string]float64{"sitesync_synced_files_total": 1, "sitesync_failed_tries_total": 0,
			`sitesync_drive_requests_total{kind="upload.put",outcome="ok"}`: 1})
	})
}
