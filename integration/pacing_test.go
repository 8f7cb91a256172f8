package integration_test

import (
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/drive"
	"sitesync/integration/studio"
)

// An account that is allowed so many requests a second gets about as many, and few of them are refused; also when less
// is allowed all at once. No file pays for it with a try.
func TestPacing(t *testing.T) {
	t.Parallel()
	s := newTestStudio(t)
	limit := func(perSecond float64) {
		s.drive.UpdateSettings(func(set *drive.Settings) {
			set.AccountRate = drive.Rate{PerSecond: perSecond, Burst: int(perSecond)}
		})
	}
	// over waits until so many more files were tried, and returns how many requests were accepted and refused, and the
	// accepted ones a second.
	over := func(requests int) (accepted, refused int, perSecond float64) {
		s.drive.ResetCalls()
		s.eventually("files are uploaded", func() bool { return s.drive.Calls()["files.create.multipart"] >= requests })
		log := s.drive.Log()
		for _, e := range log {
			switch {
			case e.Reason == "userRateLimitExceeded":
				refused++
			case e.Status == 200:
				accepted++
			}
		}
		return accepted, refused, float64(accepted) / log[len(log)-1].Time.Sub(log[0].Time).Seconds()
	}

	limit(40)
	s.start()
	rep := s.publish(s.project("Test"), studio.Publish{Name: "exr", Frames: 650, Size: 1000})
	s.eventually("the limit is found", func() bool { return s.drive.Calls()["files.create.multipart"] > 150 })

	accepted, refused, perSecond := over(400)
	t.Logf("of 40 requests a second %.1f were accepted; of %d, %d were refused", perSecond, accepted+refused, refused)
	if refused > 8 {
		t.Errorf("%d of %d requests were refused", refused, accepted+refused)
	}
	if perSecond < 0.8*40 { // with room for a machine that is busy with other things
		t.Errorf("%.1f requests a second, of 40 that are allowed", perSecond)
	}

	limit(10)
	accepted, refused, perSecond = over(60)
	t.Logf("of 10 requests a second %.1f were accepted; of %d, %d were refused", perSecond, accepted+refused, refused)
	if refused > 25 {
		t.Errorf("%d of %d requests were refused when less was allowed", refused, accepted+refused)
	}

	limit(0)
	s.synced(rep)
	s.checkNoDuplicates()
	if n := must(rep.Document(s.ctx))(t); hasTries(t, n) {
		t.Error("a file has paid with a try")
	}
}

// hasTries reports whether a try was counted for any file.
func hasTries(t *testing.T, doc bson.Raw) bool {
	t.Helper()
	for _, f := range must(doc.Lookup("files").Array().Values())(t) {
		for _, site := range must(f.Document().Lookup("sites").Array().Values())(t) {
			if site.Document().Lookup("tries").Type != 0 {
				return true
			}
		}
	}
	return false
}
