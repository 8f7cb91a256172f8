package gdrive

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sync/errgroup"

	"sitesync/avalon"
	"sitesync/config"
	"sitesync/integration/drive"
	"sitesync/integration/mongod"
	"sitesync/site"
	"sitesync/site/local"
	"sitesync/uploader"
	"sitesync/watcher"
)

// verdict is what the uploader gets to know of a fault.
type verdict string

const (
	fine        verdict = "fine" // nothing: the site copes with it
	transient   verdict = "transient"
	unavailable verdict = "unavailable"
	fileError   verdict = "file error"

	// untrue is for what Drive would never say for long: nobody could know better.
	untrue verdict = "untrue"
)

func verdictOf(err error) verdict {
	if err == nil {
		return fine
	}
	return verdict(site.ClassOf(err).String())
}

// request is a kind of request that goes wrong: how sitesync comes to make one, and what can happen to it.
type request struct {
	name string // the emulator's, and after a comma which one of them
	skip int    // requests of the kind that come before
	size int    // of the source; 0 is a small one
	mine bool   // the root is in My Drive of a user, not on a shared drive

	prepare func(*trial)  // beyond the empty folder pub/new
	before  []drive.Fault // what else has to go wrong so that it is made

	site    bool // it is not about any file, so its trouble is no file's
	probed  bool // it is about a file, but roots are looked at in the same way: if it fails for all, it is the site
	token   bool // it goes to the token service
	session bool // it goes to a session's URI
	writes  bool // it may need room
	body    bool // it has one to break in
	json    bool // its answer is JSON that is read
	md5     bool // ... and tells an MD5
}

const (
	smallSize  = 1000
	largeLimit = 512 << 10 // the multipartLimit of trials
	largeSize  = largeLimit + 1
)

// existing puts a file of so many bytes where the upload goes.
func existing(size int) func(*trial) {
	return func(tr *trial) { tr.AddFile(tr.folder, tr.name, bytes.Repeat([]byte("o"), size)) }
}

var requests = []request{
	{name: "token", site: true, token: true, json: true},
	{name: "drives.list", site: true, json: true},
	{name: "files.list, for the root", site: true, json: true},
	{name: "files.list, below the root", skip: 2, json: true},
	{name: "files.get, of My Drive", mine: true, site: true, json: true},
	{name: "files.get, of a folder known for long", skip: 1, probed: true, json: true, prepare: func(tr *trial) {
		if _, err := tr.site.folders.resolve(tr.t.Context(), "/SHOW/pub/new"); err != nil {
			tr.t.Fatal(err)
		}
		tr.doubtAll(tr.site)
	}},
	{name: "files.get, to compare", probed: true, json: true, md5: true, prepare: func(tr *trial) {
		tr.AddFile(tr.folder, tr.name, []byte(large(smallSize)))
	}},
	{name: "files.get, after a conflict", probed: true, json: true, md5: true, before: []drive.Fault{
		{Kind: "files.create.multipart", Count: 1, Effect: drive.EffectReset, When: drive.After}}},
	{name: "about.get", mine: true, site: true, json: true, before: []drive.Fault{ // only Check asks
		{
			Kind:   "files.create.multipart",
			Count:  1,
			Effect: drive.EffectStatus,
			Status: 403,
			Reason: "storageQuotaExceeded",
		}}},
	{name: "files.generateIds", site: true, json: true},
	{name: "files.create", writes: true, body: true, json: true, prepare: func(tr *trial) { tr.Delete(tr.folder) }},
	{name: "files.create.multipart", writes: true, body: true, json: true, md5: true},
	{name: "files.create.resumable", size: largeSize, writes: true, body: true},
	{name: "files.update.multipart", writes: true, body: true, json: true, md5: true, prepare: existing(1)},
	{name: "files.update.resumable", size: largeSize, writes: true, body: true, prepare: existing(1)},
	{name: "upload.put", size: largeSize, session: true, writes: true, body: true, json: true, md5: true},
	{
		name:    "upload.put, of an update",
		size:    largeSize,
		session: true,
		writes:  true,
		body:    true,
		json:    true,
		md5:     true,
		prepare: existing(1),
	},
	{name: "upload.status", size: largeSize, session: true, before: []drive.Fault{
		{Kind: "upload.put", Count: 1, Effect: drive.EffectReset, When: drive.InBody, AfterBytes: granule}}},
	{
		name:    "upload.status, of a finished session",
		size:    largeSize,
		session: true,
		json:    true,
		md5:     true,
		before: []drive.Fault{
			{Kind: "upload.put", Count: 1, Effect: drive.EffectReset, When: drive.After}},
	},
}

// fault is what goes wrong with a request.
type fault struct {
	name string
	drive.Fault
	want   verdict                // if it lasts; of fileError, unavailable if about no file
	unlike map[string]verdict     // ... with these kinds
	stays  func(k request) bool   // a single one reaches the uploader too; nil: only what is no trouble of the service
	never  func(k request) string // why it can't hit the kind; "" if it can
	slow   bool                   // it runs into a timeout, so those are short
}

// Reasons why a fault can't hit a kind of request.
var (
	noOAuth      = unless(func(k request) bool { return !k.token }, "the token service answers with OAuth's errors")
	onlyOAuth    = unless(func(k request) bool { return k.token }, "it is an error of OAuth")
	onlyFiles    = unless(func(k request) bool { return !k.site }, "the request is about no file")
	onlyRoom     = unless(func(k request) bool { return k.writes }, "the request takes no room")
	onlySessions = unless(func(k request) bool { return k.session }, "only sessions are ever gone")
	onlyBody     = unless(func(k request) bool { return k.body }, "there is no body to break in")
	onlyJSON     = unless(func(k request) bool { return k.json }, "the answer is headers only")
	onlyMD5      = unless(func(k request) bool { return k.md5 }, "the answer tells no MD5")
)

func unless(can func(request) bool, reason string) func(request) string {
	return func(k request) string {
		if can(k) {
			return ""
		}
		return reason
	}
}

// status is an answer with an error.
func status(code int, reason string, want verdict, never func(request) string) fault {
	return fault{name: strings.TrimSpace(fmt.Sprint(code, " ", reason)), want: want, never: never,
		Fault: drive.Fault{Effect: drive.EffectStatus, Status: code, Reason: reason}}
}

// with changes a fault.
func (f fault) with(change func(*fault)) fault { change(&f); return f }

func retryAfter1s(f *fault) { f.name += " with Retry-After"; f.RetryAfter = time.Second }
func afterTheWork(f *fault) {
	f.name += " after the work"
	f.When = drive.After
	except(fine, "upload.put", "upload.put, of an update")(f) // it is asked what has arrived: all of it
}
func inTheBody(f *fault) {
	f.name += " in the body"
	f.When, f.AfterBytes, f.never = drive.InBody, 200, onlyBody
}
func mendsItself(f *fault)    { f.stays = func(request) bool { return false } }
func slow(f *fault)           { f.slow = true }
func anywhere(request) string { return "" }
func creates(k request) bool {
	return strings.HasPrefix(k.name, "files.create") || strings.HasPrefix(k.name, "upload.") && k.prepare == nil
}
func conflictStays(k request) bool { return !creates(k) }

// except is another verdict for some kinds.
func except(want verdict, kinds ...string) func(*fault) {
	return func(f *fault) {
		unlike := maps.Clone(f.unlike)
		if unlike == nil {
			unlike = map[string]verdict{}
		}
		for _, k := range kinds {
			unlike[k] = want
		}
		f.unlike = unlike
	}
}

// workIsFound is for answers that can't be read: the work is done, and the next look finds that, by the id that a
// create had or by the session.
var workIsFound = except(fine, "files.create", "files.create.multipart", "upload.put", "upload.put, of an update")

// faults is the table of what each fault is to mean. It is written from Google's documentation and from what is to be
// promised, not from the table in errors.go.
var faults = []fault{
	// A fresh token is tried once, so a lasting 401 is that of an account which was revoked.
	status(
		401,
		"authError",
		unavailable,
		noOAuth,
	).with(func(f *fault) { f.stays = func(request) bool { return false } }),
	status(400, "invalid_grant", unavailable, onlyOAuth),
	status(401, "invalid_client", unavailable, onlyOAuth),
	status(403, "access_denied", unavailable, onlyOAuth),
	status(404, "not_found", unavailable, onlyOAuth),

	status(403, "userRateLimitExceeded", transient, noOAuth),
	status(403, "rateLimitExceeded", transient, noOAuth),
	status(403, "sharingRateLimitExceeded", transient, noOAuth),
	status(403, "concurrentLimitExceeded", transient, noOAuth),
	status(403, "userRateLimitExceeded", transient, noOAuth).with(retryAfter1s),

	status(403, "dailyLimitExceeded", unavailable, noOAuth),
	status(403, "quotaExceeded", unavailable, noOAuth),
	status(403, "accessNotConfigured", unavailable, noOAuth),
	status(403, "insufficientPermissions", unavailable, noOAuth),
	status(403, "domainPolicy", unavailable, noOAuth),
	status(403, "accountDisabled", unavailable, noOAuth),
	status(403, "teamDriveMembershipRequired", unavailable, noOAuth),
	status(403, "storageQuotaExceeded", unavailable, onlyRoom),
	status(403, "activeItemCreationLimitExceeded", unavailable, onlyRoom),
	status(403, "teamDriveFileLimitExceeded", unavailable, onlyRoom),

	status(403, "insufficientFilePermissions", fileError, onlyFiles),
	status(403, "insufficientParentPermissions", fileError, onlyRoom),
	status(403, "numChildrenInNonRootLimitExceeded", unavailable, onlyRoom),
	status(403, "teamDriveHierarchyTooDeep", fileError, onlyRoom),
	status(403, "aReasonOfTomorrow", fileError, noOAuth),
	status(400, "badRequest", fileError, noOAuth),

	// What is gone is looked up anew.
	status(
		404,
		"notFound",
		transient,
		noOAuth,
	).with(except(unavailable, "drives.list", "files.get, of My Drive", "about.get",
		"files.generateIds")).
		with(except(fine, "files.get, of a folder known for long", "upload.status",
			"upload.status, of a finished session")).
		with(except(untrue, "files.get, after a conflict")),
	status(
		410,
		"gone",
		transient,
		onlySessions,
	).with(except(fine, "upload.status", "upload.status, of a finished session")),
	// A create is followed by a look at what is there, anything else is not made again at once.
	status(409, "conflict", transient, noOAuth).with(func(f *fault) { f.stays = conflictStays }).
		with(except(fine, "upload.status", "upload.status, of a finished session")),
	status(412, "conditionNotMet", transient, noOAuth),
	status(408, "", transient, anywhere),
	status(429, "rateLimitExceeded", transient, anywhere),
	status(429, "rateLimitExceeded", transient, noOAuth).with(retryAfter1s),
	status(500, "backendError", transient, anywhere),
	status(500, "backendError", transient, anywhere).with(afterTheWork),
	status(502, "", transient, anywhere),
	status(503, "", transient, anywhere),
	status(503, "", transient, noOAuth).with(retryAfter1s),
	status(504, "", transient, anywhere),
	status(504, "", transient, anywhere).with(afterTheWork),

	{name: "reset", Fault: drive.Fault{Effect: drive.EffectReset}, want: transient, never: anywhere},
	fault{name: "reset", Fault: drive.Fault{Effect: drive.EffectReset}, want: transient}.with(inTheBody),
	fault{
		name:  "reset",
		Fault: drive.Fault{Effect: drive.EffectReset},
		want:  transient,
		never: anywhere,
	}.with(
		afterTheWork,
	),
	fault{name: "hang", Fault: drive.Fault{Effect: drive.EffectHang}, want: transient, never: anywhere}.with(slow),
	fault{name: "hang", Fault: drive.Fault{Effect: drive.EffectHang}, want: transient}.with(inTheBody).with(slow),
	fault{
		name:  "hang",
		Fault: drive.Fault{Effect: drive.EffectHang},
		want:  transient,
		never: anywhere,
	}.with(afterTheWork).
		with(slow),
	{name: "slow drip", Fault: drive.Fault{Effect: drive.EffectDrip, Delay: 100 * time.Microsecond}, want: fine,
		never: unless(
			func(k request) bool { return k.json && k.name != "files.generateIds" },
			"the answer is headers only, or too long to wait for",
		)},
	fault{
		name:  "endless drip",
		Fault: drive.Fault{Effect: drive.EffectDrip, Delay: 500 * time.Millisecond},
		want:  transient,
		never: onlyJSON,
	}.
		with(slow).
		with(workIsFound),
	// A page comes from something on the way, and may be gone the next time. Whether it says 403, 404 or 200.
	fault{
		name:  "403 page",
		Fault: drive.Fault{Effect: drive.EffectHTML, Status: 403},
		want:  fileError,
		never: noOAuth,
	}.with(
		mendsItself,
	),
	fault{
		name:  "404 page",
		Fault: drive.Fault{Effect: drive.EffectHTML, Status: 404},
		want:  fileError,
		never: noOAuth,
	}.with(mendsItself).
		with(except(transient, "upload.put", "upload.put, of an update")).
		with(except(fine, "upload.status", "upload.status, of a finished session")),
	fault{
		name:  "200 page",
		Fault: drive.Fault{Effect: drive.EffectHTML, Status: 200},
		want:  fileError,
		never: noOAuth,
	}.with(
		mendsItself,
	),
	fault{
		name:  "502 page",
		Fault: drive.Fault{Effect: drive.EffectHTML, Status: 502},
		want:  transient,
		never: anywhere,
	},

	fault{
		name:  "truncated",
		Fault: drive.Fault{Effect: drive.EffectTruncate},
		want:  transient,
		never: onlyJSON,
	}.with(
		workIsFound,
	),
	fault{
		name:  "invalid JSON",
		Fault: drive.Fault{Effect: drive.EffectInvalidJSON},
		want:  transient,
		never: onlyJSON,
	}.with(
		workIsFound,
	),
	// Before an update the MD5 decides only whether there is need of one.
	fault{name: "wrong MD5", Fault: drive.Fault{Effect: drive.EffectWrongMD5}, want: fileError, never: onlyMD5}.
		with(except(fine, "files.get, to compare", "files.get, after a conflict")),
}

// expect says what is to come of a fault, one that hits once or one that lasts.
func (f fault) expect(k request, lasts bool) verdict {
	want, special := f.unlike[k.name]
	if !special {
		if want = f.want; want == fileError && (k.site || k.probed && lasts) {
			want = unavailable
		}
	}
	stays := want != transient && want != untrue
	if f.stays != nil {
		stays = f.stays(k)
	}
	if !lasts && !stays {
		return fine
	}
	return want
}

// stage is what all trials share: a database, and a storage with the sources.
type stage struct {
	db   *mongo.Database
	root string
	md5  map[string]string // by name
	busy chan struct{}     // holds who works; who waits for a timeout or a rest does not
}

// workers is how many trials work at once, and trials how many run: nearly all of their time is waiting.
const (
	workers = 8
	trials  = 200
)

func newStage(t *testing.T) *stage {
	t.Helper()
	st := &stage{
		db:   mongod.Database(t),
		root: t.TempDir(),
		md5:  map[string]string{},
		busy: make(chan struct{}, workers),
	}
	if err := os.Mkdir(filepath.Join(st.root, "new"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{"small": smallSize, "large": largeSize} {
		if err := os.WriteFile(filepath.Join(st.root, "new", name), []byte(large(size)), 0o600); err != nil {
			t.Fatal(err)
		}
		st.md5[name] = md5Of(large(size))
	}
	return st
}

// trial is one upload, by the uploader, of a file that is published as new/NAME to the folder pub/new.
type trial struct {
	*studio
	t      *testing.T
	stage  *stage
	site   *Site
	place  drive.Place
	rootID string // of pub
	folder string // of pub/new
	name   string
	waits  bool   // an upload does nothing but wait
	end    func() // of the trouble

	mu     sync.Mutex
	puts   []verdict
	checks []verdict
	full   bool // there is no room
	failed int  // tries that were recorded
}

func (st *stage) newTrial(t *testing.T, k request) *trial {
	t.Helper()
	st.busy <- struct{}{}
	defer func() { <-st.busy }()
	tr := &trial{
		t:      t,
		stage:  st,
		name:   "small",
		end:    func() {},
		studio: &studio{Server: drive.StartTest(t, drive.Options{Discard: true})},
	}
	tr.account = tr.AddServiceAccount("sync@studio.iam.example")
	tr.show = tr.AddSharedDrive("SHOW")
	tr.show.AddMember(tr.account, drive.ContentManager)
	credentials, root := tr.account.Credentials(), "/SHOW/pub"
	tr.place = tr.show
	if k.mine {
		user := tr.AddUser("artist@studio.example")
		credentials, root, tr.place = user.Credentials(), "/My Drive/pub", user
	}
	tr.full = strings.HasPrefix(k.name, "about")
	if k.size == largeSize {
		tr.name = "large"
	}
	tr.UpdateSettings(func(set *drive.Settings) { set.ListingLag = time.Hour }) // what is created has to be known
	tr.rootID, tr.folder = tr.Mkdir(tr.place, "pub"), tr.Mkdir(tr.place, "pub/new")
	tr.site = tr.openAs(t, credentials, "", root)
	tr.site.maxMultipart = largeLimit
	if k.prepare != nil {
		k.prepare(tr)
	}
	for _, f := range k.before {
		tr.AddFault(f)
	}
	return tr
}

// Put takes note of what the uploader gets to know. Trouble that is not the site's ends with the first failure.
func (tr *trial) Put(ctx context.Context, u site.Incoming) (site.Object, error) {
	if !tr.waits {
		tr.stage.busy <- struct{}{}
		defer func() { <-tr.stage.busy }()
	}
	obj, err := tr.site.Put(ctx, u)
	if ctx.Err() != nil {
		return obj, err
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.puts = append(tr.puts, verdictOf(err))
	if err != nil {
		tr.t.Logf("Put: %s: %v", verdictOf(err), err)
	}
	// No probe sees what only an upload runs into.
	scope, _ := site.ScopeOf(err)
	if v := verdictOf(err); v == transient || v == fileError ||
		v == unavailable && (scope == site.Creations || scope == site.LargeOnes && !tr.full) {
		tr.end()
	}
	return obj, err
}

// Left is a probe where there is no room; else it is asked beside the trial.
func (tr *trial) Left(ctx context.Context, root string) (int64, bool, error) {
	left, known, err := tr.site.Left(ctx, root)
	if !tr.full || ctx.Err() != nil {
		return left, known, err
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.checks = append(tr.checks, verdictOf(err))
	tr.end()
	return left, known, err
}

// CheckRoot is Check, as there is one root.
func (tr *trial) CheckRoot(ctx context.Context, _ string) error { return tr.Check(ctx) }

// Check is a probe. The site's trouble outlasts one.
func (tr *trial) Check(ctx context.Context) error {
	err := tr.site.Check(ctx)
	if ctx.Err() != nil {
		return err
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.checks = append(tr.checks, verdictOf(err))
	if err != nil {
		tr.t.Logf("Check: %s: %v", verdictOf(err), err)
	}
	tr.end()
	return err
}

// counting counts the tries that are recorded.
type counting struct {
	*avalon.Recorder
	tr *trial
}

func (c counting) Record(ctx context.Context, key avalon.Key, outcomes []avalon.Outcome) (avalon.Lost, error) {
	c.tr.mu.Lock()
	for _, o := range outcomes {
		if o.Error != "" {
			c.tr.failed++
		}
	}
	c.tr.mu.Unlock()
	return c.Recorder.Record(ctx, key, outcomes)
}

// run publishes the file and lets the uploader work until it is synced. The first Put must come to want, and
// nothing must be left of the trouble in the end.
func (tr *trial) run(want verdict, k request) {
	t := tr.t
	t.Helper()
	doc := bson.NewObjectID()
	info, err := os.Stat(filepath.Join(tr.stage.root, "new", tr.name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.stage.db.Collection("Test").InsertOne(t.Context(), bson.D{{Key: "_id", Value: doc},
		{Key: "type", Value: "representation"},
		{Key: "context", Value: bson.D{{Key: "root", Value: tr.stage.root}}},
		{Key: "files", Value: bson.A{bson.D{{Key: "_id", Value: bson.NewObjectID()},
			{Key: "path", Value: "{root}/new/" + tr.name}, {Key: "size", Value: info.Size()},
			{Key: "sites", Value: bson.A{
				bson.D{{Key: "name", Value: "studio"}, {Key: "created_dt", Value: time.Now()}},
				bson.D{{Key: "name", Value: "gdrive"}}}}}}}}); err != nil {
		t.Fatal(err)
	}
	key := avalon.Key{Project: "Test", ID: avalon.NewID(doc)}
	store := avalon.NewStore(tr.stage.db.Client(), tr.stage.db.Name())
	route := avalon.Route{From: "studio", To: "gdrive"}
	recorder := counting{store.Recorder(route, func() error { return nil }), tr}
	core, logs := observer.New(zap.InfoLevel)
	q := watcher.NewQueue(10)
	defer q.Close()
	synced := make(chan struct{}, 1)
	up := uploader.New(uploader.Options{
		Rules: avalon.Rules{Route: route, RetryCount: 3,
			Backoff: avalon.ExponentialBackoff(time.Millisecond, time.Millisecond)},
		SourceGracePeriod: time.Minute, Transfers: 1, Direction: config.Up, Budget: uploader.NewBudget(1),
		RemoteRoot:   config.Roots{"": tr.site.roots[0]},
		DrainTimeout: 7 * time.Second, FlushTimeout: 8 * time.Second,
		Queue: q, Store: store, Recorder: recorder, Source: local.New(local.Options{}), Target: tr,
		Log:  zap.New(core),
		Poll: func() { q.Add(key, watcher.Backlog) },
		Synced: func(uploader.SyncedFile) {
			select {
			case synced <- struct{}{}:
			default:
			}
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { up.Run(ctx, t.Context()) })
	defer func() { cancel(); running.Wait() }()
	q.Add(key, watcher.Live)
	for deadline := time.Now().Add(2 * time.Minute); up.Stats().Synced == 0; {
		select {
		case <-synced:
		case <-time.After(50 * time.Millisecond):
		}
		if stats := up.Stats(); stats.FailedFiles > 0 || time.Now().After(deadline) {
			tr.mu.Lock()
			defer tr.mu.Unlock()
			t.Fatalf("not synced: %+v, held %v, uploads came to %v, checks to %v", stats, up.Held(), tr.puts, tr.checks)
		}
	}

	tr.mu.Lock()
	defer tr.mu.Unlock()
	puts, probed := []verdict{want, fine}, want == unavailable
	if want == fine {
		puts = puts[1:]
	}
	if strings.HasPrefix(k.name, "about") {
		puts, probed = []verdict{unavailable, fine}, true
		checks := []verdict{
			want,
			fine,
		} // what is left is asked before the root is unavailable, or for the time being what is large
		if !slices.Equal(tr.checks, checks) {
			t.Errorf("checks came to %v, want %v", tr.checks, checks)
		}
	}
	if !slices.Equal(tr.puts, puts) {
		t.Errorf("uploads came to %v, want %v", tr.puts, puts)
	}
	tries := 0
	if want == fileError {
		tries = 1
	}
	if tr.failed != tries || up.Stats().FailedTries != int64(tries) {
		t.Errorf("%d tries recorded, %d counted, want %d", tr.failed, up.Stats().FailedTries, tries)
	}
	holds, ends := logs.FilterMessageSnippet("uploads are held").Len(), logs.FilterMessageSnippet("uploads go on").Len()
	if probed != (holds == 1 && ends == 1) || !probed && holds+ends > 0 || up.SiteHeld() != nil {
		t.Errorf("held %d times, ended %d times, still %v; want it: %v", holds, ends, up.SiteHeld(), probed)
	}

	rep, err := store.Representation(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	rec, _ := rep.Files[0].RecordFor("gdrive")
	if !rec.Created || rec.Tries != 0 || rec.Error != "" || !rec.LastFailed.IsZero() {
		t.Errorf("the record is %+v", rec)
	}
	tr.wantNothingElse(rec.RemoteID)
}

// wantNothingElse checks that the file is on Drive once, as recorded, and that but for its folders there is nothing
// that no record knows.
func (tr *trial) wantNothingElse(id string) {
	tr.t.Helper()
	for _, f := range tr.Files() {
		switch {
		case f.Trashed: // by a person: sitesync deletes nothing
		case f.Folder && (f.Path == "pub" || f.Path == "pub/new"):
		case f.ID == id:
			if f.Path != path.Join("pub/new", tr.name) || f.MD5 != tr.stage.md5[tr.name] {
				tr.t.Errorf("what was recorded is %+v", f)
			}
		default:
			tr.t.Errorf("nobody knows of %+v", f)
		}
	}
	if found := tr.Find(tr.place, path.Join("pub/new", tr.name)); len(found) != 1 || found[0].ID != id {
		tr.t.Errorf("found %+v, recorded %s", found, id)
	}
	if dup := tr.Duplicates(); len(dup) > 0 {
		tr.t.Error("duplicates:", dup)
	}
}

// shortTimeout is for trials that run into one, five times in a row. It is long enough for a good request on a busy
// machine.
const shortTimeout = 1500 * time.Millisecond

// allAtOnce runs subtests, many at once whatever -parallel says.
func allAtOnce(t *testing.T, tests map[string]func(*testing.T)) {
	var g errgroup.Group
	g.SetLimit(trials)
	for name, test := range tests {
		g.Go(func() error { t.Run(name, test); return nil })
	}
	_ = g.Wait()
}

// Every fault on every kind of request, once and for long: what it costs, what it holds up, and that in the end the
// file is synced and on Drive once.
func TestFaults(t *testing.T) {
	t.Parallel()
	st := newStage(t)
	tests := map[string]func(*testing.T){}
	for _, k := range requests {
		for _, f := range faults {
			if f.never(k) != "" {
				continue
			}
			for _, lasts := range []bool{false, true} {
				want := f.expect(k, lasts)
				if want == untrue || !lasts && want == f.expect(k, true) && want != fine {
					continue // in the latter case the first answer decides, whatever comes after it
				}
				name := strings.Join(
					[]string{k.name, f.name, map[bool]string{false: "once", true: "lasting"}[lasts]},
					"/",
				)
				tests[name] = func(t *testing.T) {
					tr := st.newTrial(t, k)
					if f.slow {
						tr.site.stall.Timeout, tr.site.tokens.timeout = shortTimeout, shortTimeout
					}
					tr.waits = f.slow || f.RetryAfter > 0 || f.Effect == drive.EffectDrip ||
						f.Status == 429 || f.Status == 403 && f.want == transient // the pacer waits
					hit := f.Fault
					hit.Kind, _, _ = strings.Cut(k.name, ",")
					hit.Skip = k.skip
					if !lasts {
						hit.Count = 1
					}
					active := tr.AddFault(hit)
					tr.end = sync.OnceFunc(active.Remove)
					tr.run(want, k)
					if active.Hits() == 0 {
						t.Error("the fault has hit nothing")
					}
				}
			}
		}
	}
	t.Logf("%d combinations", len(tests))
	allAtOnce(t, tests)
}
