package drive

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limits are the token buckets. A bucket is made when it is first needed.
type limits struct {
	mu       sync.Mutex
	settings Settings
	buckets  map[string]*rate.Limiter
}

// configure takes over the settings. Buckets whose rate changed are reset.
func (l *limits) configure(s Settings) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.settings
	if old.AccountRate != s.AccountRate || old.ProjectRate != s.ProjectRate || old.WriteRate != s.WriteRate ||
		old.Units != s.Units {
		l.buckets = map[string]*rate.Limiter{}
	}
	l.settings = s
}

// unitCosts is what Google charges for a method; everything else is a read.
var unitCosts = map[string]int{
	"drive.files.list": 100, "drive.drives.list": 100,
	"drive.files.create": 50, "drive.files.update": 50, "drive.files.delete": 50,
}

func isWrite(m *method) bool { return unitCosts[m.ID] == 50 }

func unitCost(m *method, kind string) int {
	if kind == "files.download" {
		return 200
	}
	return or(unitCosts[m.ID], 5)
}

// take charges a request and returns the error of the first limit it meets. A
// refused request has cost what the limits before took, as at Google.
func (l *limits) take(a *Account, m *method, kind string, now time.Time) *apiError {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.settings
	if !l.allow("account "+a.Email, s.AccountRate, 1, now) {
		return s.AccountRate.err("userRateLimitExceeded")
	}
	if isWrite(m) && !l.allow("write "+a.Email, s.WriteRate, 1, now) {
		return s.WriteRate.err("userRateLimitExceeded")
	}
	if !l.allow("project", s.ProjectRate, 1, now) {
		return s.ProjectRate.err("rateLimitExceeded")
	}
	cost := unitCost(m, kind)
	perMinute := func(units int) Rate { return Rate{PerSecond: float64(units) / 60, Burst: units} }
	if !l.allow("units "+a.Email, perMinute(s.Units.AccountPerMinute), cost, now) {
		return Rate{}.err("userRateLimitExceeded")
	}
	if !l.allow("units", perMinute(s.Units.ProjectPerMinute), cost, now) {
		return Rate{}.err("rateLimitExceeded")
	}
	return nil
}

func (l *limits) allow(name string, r Rate, n int, now time.Time) bool {
	if r.PerSecond <= 0 {
		return true
	}
	bucket := l.buckets[name]
	if bucket == nil {
		bucket = rate.NewLimiter(rate.Limit(r.PerSecond), max(r.Burst, 1))
		l.buckets[name] = bucket
	}
	return bucket.AllowN(now, n)
}

func (r Rate) err(reason string) *apiError {
	return reasonError(or(r.Status, 403), or(r.Reason, reason), "", r.RetryAfter)
}

// storageLimit is how many bytes the account may own, below 0 without limit. The
// tree must be locked.
func (s *Server) storageLimit(a *Account) int64 {
	settings := s.Settings()
	switch {
	case a.storage != 0:
		return a.storage
	case a.Service:
		return settings.ServiceAccountStorage
	}
	return or(settings.UserStorage, -1)
}

// checkStorage refuses content of that size for which there is no room: in a
// shared drive, or if that is nil with the owner. replaced is the size of what it
// takes the place of. The tree must be locked.
func (s *Server) checkStorage(d *SharedDrive, owner *Account, size, replaced int64) *apiError {
	var limit, usage int64
	if d != nil {
		limit, usage = or(or(d.storage, s.Settings().SharedDriveStorage), -1), d.usage
	} else {
		limit, usage = s.storageLimit(owner), owner.usage
	}
	switch {
	case limit < 0:
		return nil
	case limit == 0:
		return &apiError{Code: 403, Reason: "storageQuotaExceeded", Domain: "usageLimits",
			Message: "Service Accounts do not have storage quota. " +
				"Leverage shared drives " +
				"(https://developers.google.com/workspace/drive/api/guides/about-shareddrives), " +
				"or use OAuth delegation (http://support.google.com/a/answer/7281227) instead."}
	case usage-replaced+size > limit:
		return reasonError(403, "storageQuotaExceeded", "", 0)
	}
	return nil
}

// checkDaily refuses an upload beyond what an account may send in 24 hours. Only
// the message distinguishes it from throttling.
func (s *Server) checkDaily(a *Account, size int64, now time.Time) *apiError {
	limit := or(s.Settings().DailyUpload, googleDailyUpload)
	if limit > 0 && a.uploadedToday(now)+size > limit {
		return reasonError(403, "userRateLimitExceeded", "User rate limit exceeded.", 0)
	}
	return nil
}

// checkRoom refuses an item that a folder or its shared drive has no room for.
// from is the shared drive in which the item is already, if any.
func (s *Server) checkRoom(parent *item, from *SharedDrive, folder bool) *apiError {
	settings := s.Settings()
	if parent.parent != nil && len(parent.children) >= or(settings.FolderChildren, googleFolderChildren) {
		return reasonError(403, "numChildrenInNonRootLimitExceeded", "", 0)
	}
	if parent.drive == nil {
		return nil
	}
	if parent.drive != from && parent.drive.items >= or(settings.SharedDriveItems, googleSharedDriveItems) {
		return reasonError(403, "teamDriveFileLimitExceeded", "", 0)
	}
	levels := 1
	for at := parent; at.parent != nil; at = at.parent {
		levels++
	}
	if folder && levels > or(settings.SharedDriveDepth, googleSharedDriveDepth) {
		return reasonError(403, "teamDriveHierarchyTooDeep", "", 0)
	}
	return nil
}
