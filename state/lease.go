package state

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/zap"

	"sitesync/avalon"
)

// releaseTimeout bounds giving a lease back.
const releaseTimeout = 500 * time.Millisecond

// leaseTimes are named as in client-go's leader election. A holder that was killed is replaced within
// duration + retryPeriod.
type leaseTimes struct {
	duration      time.Duration // of the lease, from its last renewal
	renewInterval time.Duration
	retryPeriod   time.Duration // between two attempts to acquire it, or to renew it after an error
	skewMargin    time.Duration // the holder stops so long before the lease expires, for what is on its way
}

// defaultTimes let three renewals fail.
var defaultTimes = leaseTimes{
	duration:      12 * time.Second,
	renewInterval: 3 * time.Second,
	retryPeriod:   500 * time.Millisecond,
	skewMargin:    time.Second,
}

var (
	errTaken   = errors.New("another process has taken the lease")
	errOlder   = errors.New("a process of an older version syncs this site")
	errNotHeld = errors.New("the lease is not held")
)

// Lease makes sure that only one process works on a route of an avalon database. Times are those of the database's
// clock; a holder goes by the time that has passed since it asked for the last renewal.
//
// Older versions have one lease for all routes to a site. None of theirs is ever taken here, and nothing works beside a
// process that holds one: it does not know of claims. See Journal.
type Lease struct {
	database *Database
	name     RouteName
	self     Holder
	log      *zap.Logger
	status   func() WorkerStatus
	times    leaseTimes

	mu     sync.Mutex
	held   bool
	token  int64
	until  time.Time // by our clocks; see passed
	other  *Holder   // who holds it, while we wait
	logged string    // what was logged last
}

// WorkerStatus is what other processes can read of the holder's work. It is written with each renewal.
type WorkerStatus struct {
	Stream string `bson:"stream"` // state of the change stream
	Holds  []Hold `bson:"holds"`  // what holds transfers up
}

// Hold is something that holds transfers up.
type Hold struct {
	Kind string `bson:"kind"`           // of what is held, as the uploader names it
	Name string `bson:"name,omitempty"` // its path
	From int64  `bson:"from,omitempty"` // the smallest files that are held, bytes
	Hang bool   `bson:"hang,omitempty"` // its storage does not answer
	Why  string `bson:"why"`            // the error

	// What names what is held. Older versions show it, and some of them write no Kind.
	What string `bson:"what"`
}

// RouteName names the lease, and the pauses, of a route of an avalon database.
type RouteName struct {
	route string // such as: avalon "studio" -> "gdrive"
	older string // the name that older versions have for all routes to the site, such as avalon/gdrive
}

// LeaseName returns the name of a route. The names of sites are quoted, as they can hold any character; a space stands
// in no name of a database, so no two routes share a name, nor does one have that of an older version.
func LeaseName(database string, route avalon.Route) RouteName {
	return RouteName{fmt.Sprintf("%s %q -> %q", database, route.From, route.To), database + "/" + route.To}
}

// LeaseInfo is what any process can read of a lease.
type LeaseInfo struct {
	Holder  Holder       `bson:"holder"`
	Status  WorkerStatus `bson:"report"`
	Expired bool         `bson:"expired"` // by the database's clock
}

// Active reports whether the holder still syncs, as far as is known here.
func (i *LeaseInfo) Active() bool { return !i.Expired && !i.Holder.isDead() }

// expired is true in the database if a lease has expired.
var expired = bson.M{"$lte": bson.A{"$expires", "$$NOW"}}

// LeaseInfo reads the lease of a route, or that of an older version if that is active. It is nil if there is none.
func (d *Database) LeaseInfo(ctx context.Context, name RouteName) (*LeaseInfo, error) {
	own, older, err := d.leases(ctx, name)
	if older != nil && older.Active() || own == nil {
		return older, err
	}
	return own, err
}

// leases reads the lease of a route, and the one that older versions have for it; nil for one that was never held.
func (d *Database) leases(ctx context.Context, name RouteName) (own, older *LeaseInfo, err error) {
	var found []struct {
		Name string    `bson:"_id"`
		Info LeaseInfo `bson:",inline"`
	}
	cur, err := d.db.Collection("leases").Find(ctx, bson.M{"_id": bson.M{"$in": bson.A{name.route, name.older}}},
		options.Find().SetProjection(bson.M{"holder": 1, "report": 1, "expired": expired}))
	if err == nil {
		err = cur.All(ctx, &found)
	}
	if err != nil {
		return nil, nil, d.wrap(err, "read the lease")
	}
	for i := range found {
		if found[i].Name == name.route {
			own = &found[i].Info
		} else {
			older = &found[i].Info
		}
	}
	return own, older, nil
}

// NewLease returns a lease that is not held. status may be called at any time; it must not block.
func (d *Database) NewLease(name RouteName, self Holder, log *zap.Logger, status func() WorkerStatus) *Lease {
	return &Lease{database: d, name: name, self: self, log: log, status: status, times: defaultTimes}
}

// LeaseState is what a process knows of its own lease, without a question to the database.
type LeaseState struct {
	Held   bool    // by this process
	Holder *Holder // the other process that holds it; nil if none is known
}

// State returns the state of the lease.
func (l *Lease) State() LeaseState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return LeaseState{Held: l.held && !passed(l.until), Holder: l.other}
}

// Check returns an error if the lease may have ended. What was written to the database before a Check that
// returned nil is seen by the next holder.
func (l *Lease) Check() error {
	_, err := l.FencingToken()
	return err
}

// FencingToken returns a number that grows with each holder. The error is that of Check.
func (l *Lease) FencingToken() (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.held || passed(l.until) {
		return 0, errNotHeld
	}
	return l.token, nil
}

// Confirm asks the database whether the token is still that of the lease, as the clocks of a machine that is paused can
// stand still with it. The error is that of Check.
func (l *Lease) Confirm(ctx context.Context, token int64) error {
	n, err := l.database.db.Collection("leases").CountDocuments(ctx,
		bson.M{"_id": l.name.route, "holder.id": l.self.ID, "term": token})
	if err != nil {
		return l.database.wrap(err, "confirm the lease")
	}
	if n == 0 {
		return errNotHeld
	}
	return l.Check()
}

// passed reports whether a time has come, by either of the two clocks that a [time.Time] has: one of them stands
// still while the machine sleeps, the other can be set.
func passed(t time.Time) bool {
	now := time.Now()
	return !now.Before(t) || !now.Round(0).Before(t.Round(0))
}

// Run calls work whenever the lease is held, until ctx ends or work returns by itself. The context of work ends when
// ctx does; fenced ends as soon as the lease may not be held any more, and then nothing must be written any more.
// Run waits for work, then gives the lease back.
func (l *Lease) Run(ctx context.Context, work func(ctx, fenced context.Context)) {
	for l.acquire(ctx) == nil && !l.hold(ctx, work) {
	}
}

// TryRun is Run, but returns an error if another process holds the lease, and only waits as long as that may be
// one that was killed. Work is called once.
func (l *Lease) TryRun(ctx context.Context, work func(ctx, fenced context.Context)) error {
	waiting, cancel := context.WithTimeout(ctx, l.times.duration+l.times.skewMargin)
	defer cancel()
	if err := l.acquire(waiting); err != nil {
		if other := l.State().Holder; other != nil {
			return fmt.Errorf("%s syncs this site already; stop it first", other)
		}
		return err
	}
	if !l.hold(ctx, work) {
		return errors.New("the lease was lost: another process has taken over, or the database is down; see the log")
	}
	return nil
}

// acquire waits until the lease is held. Its error is the last one of the database if ctx ends before one look at
// the lease has worked, and the context's otherwise.
func (l *Lease) acquire(ctx context.Context) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, l.times.duration)
		held, err := l.try(attempt)
		cancel()
		if held {
			return nil
		}
		l.logWaiting(ctx, err)
		select {
		case <-time.After(l.times.retryPeriod):
		case <-ctx.Done():
			if err != nil && !errors.Is(err, ctx.Err()) {
				return err
			}
			return ctx.Err()
		}
	}
}

// logWaiting logs why the lease is not held, if that has changed.
func (l *Lease) logWaiting(ctx context.Context, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case ctx.Err() != nil:
	case err != nil && l.logged != "error":
		l.logged = "error"
		l.log.Warn("cannot acquire the lease; nothing is synced until it can", zap.Error(err))
	case err == nil && l.other != nil && l.logged != l.other.ID:
		l.logged = l.other.ID
		l.log.Info("standing by: another process syncs this site", zap.Stringer("holder", l.other),
			zap.Time("since", l.other.Since))
	}
}

// try takes the lease if it is free.
func (l *Lease) try(ctx context.Context) (bool, error) {
	found, older, err := l.database.leases(ctx, l.name)
	if err != nil {
		return false, err
	}
	isNew := found == nil
	for _, info := range []*LeaseInfo{older, found} {
		// It is ours already if the answer to the last attempt was lost.
		if info != nil && info.Active() && info.Holder.ID != l.self.ID {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.other = &info.Holder
			return false, nil
		}
	}
	// The holder must still be the one that was read.
	filter := bson.M{"_id": l.name.route, "holder.id": bson.M{"$exists": false}}
	if !isNew {
		filter["holder.id"] = found.Holder.ID
		if found.Expired {
			filter["$expr"] = expired
		}
	}
	holder := l.self
	holder.Since = time.Now().UTC()
	asked := time.Now()
	var taken struct {
		Token int64 `bson:"term"` // how often the lease was taken
	}
	err = l.database.db.Collection("leases").FindOneAndUpdate(ctx, filter, l.renewal(bson.M{
		"holder": bson.M{"$literal": holder},
		"term":   bson.M{"$add": bson.A{bson.M{"$ifNull": bson.A{"$term", 0}}, 1}},
	}), options.FindOneAndUpdate().SetUpsert(isNew).SetReturnDocument(options.After)).Decode(&taken)
	if mongo.IsDuplicateKeyError(err) || errors.Is(err, mongo.ErrNoDocuments) {
		return false, nil // another process was faster
	}
	if err != nil {
		return false, l.database.wrap(err, "take the lease")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held, l.token, l.until, l.other = true, taken.Token, asked.Add(l.times.duration-l.times.skewMargin), nil
	if l.logged != "" {
		l.log.Info("acquired the lease; syncing")
	}
	l.logged = ""
	return true, nil
}

// renewal is an update that extends the lease, and sets more.
func (l *Lease) renewal(more bson.M) mongo.Pipeline {
	set := bson.M{"expires": bson.M{"$add": bson.A{"$$NOW", l.times.duration.Milliseconds()}},
		"report": bson.M{"$literal": l.status()}}
	maps.Copy(set, more)
	return mongo.Pipeline{{{Key: "$set", Value: set}}}
}

// hold works for as long as the lease is held, and reports whether the work has ended by itself or by ctx.
func (l *Lease) hold(ctx context.Context, work func(ctx, fenced context.Context)) bool {
	fenced, lose := context.WithCancelCause(context.WithoutCancel(ctx))
	defer lose(nil)
	working, stop := context.WithCancel(ctx)
	defer stop()
	context.AfterFunc(fenced, stop)
	renewing, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var renewal sync.WaitGroup
	renewal.Go(func() {
		if err := l.renew(renewing); err != nil {
			lose(err)
		}
	})
	work(working, fenced)
	lost := fenced.Err() != nil
	end()
	renewal.Wait()
	l.mu.Lock()
	l.held = false
	l.mu.Unlock()
	if lost {
		return ctx.Err() != nil
	}
	l.release()
	return true
}

// renew renews the lease until ctx ends, or the lease does.
func (l *Lease) renew(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(l.times.renewInterval):
		}
		l.mu.Lock()
		until := l.until
		l.mu.Unlock()
		attempt, cancel := context.WithDeadline(ctx, until)
		err := l.extend(attempt)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errOlder):
			l.log.Error("a process of an older version has begun to sync this site, and does not know how to work " +
				"beside others; stopping all transfers until it ends: update it")
			return err
		case errors.Is(err, errTaken):
			l.log.Error("another process has taken over this site, as this one did not renew its lease in time; " +
				"stopping all transfers")
			return err
		case err != nil && passed(until):
			l.log.Warn("cannot renew the lease, so another process may take over; "+
				"transfers stop until it is acquired again", zap.Error(err))
			l.mu.Lock()
			l.logged = "error"
			l.mu.Unlock()
			return err
		}
	}
}

// extend renews the lease once. A failure is tried again until ctx ends.
func (l *Lease) extend(ctx context.Context) error {
	for {
		asked := time.Now()
		res, err := l.database.db.Collection("leases").UpdateOne(ctx,
			bson.M{"_id": l.name.route, "holder.id": l.self.ID}, l.renewal(nil))
		if err == nil && res.MatchedCount == 0 {
			return errTaken
		}
		if err == nil {
			if _, older, _ := l.database.leases(ctx, l.name); older != nil && older.Active() {
				return errOlder // an error here is that of the next renewal too
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.until = asked.Add(l.times.duration - l.times.skewMargin)
			return nil
		}
		select {
		case <-time.After(l.times.retryPeriod):
		case <-ctx.Done():
			return l.database.wrap(err, "renew the lease")
		}
	}
}

// release gives the lease back, so that another process need not wait.
func (l *Lease) release() {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	_, err := l.database.db.Collection("leases").UpdateOne(ctx,
		bson.M{"_id": l.name.route, "holder.id": l.self.ID},
		// Without the id, so that a renewal which is still on its way does nothing.
		mongo.Pipeline{{{Key: "$set", Value: bson.M{"expires": "$$NOW", "holder.id": ""}}}})
	if err != nil {
		l.log.Warn("cannot release the lease; another process has to wait until it expires", zap.Error(err))
	}
}

// Holder is a process that holds a lease.
type Holder struct {
	ID      string    `bson:"id"` // of this run of the process
	Host    string    `bson:"host"`
	PID     int       `bson:"pid"`
	Since   time.Time `bson:"since"` // when it got the lease
	System  string    `bson:"system"`
	Started string    `bson:"started"`
}

// Self is this process as a holder.
func Self() Holder {
	host, _ := os.Hostname() // for people only
	pid := os.Getpid()
	return Holder{ID: bson.NewObjectID().Hex(), Host: host, PID: pid, System: thisSystem(), Started: startOf(pid)}
}

// String names the process for people.
func (h Holder) String() string { return fmt.Sprintf("process %d on %s", h.PID, h.Host) }

// isDead reports whether the process is known to have ended: it ran on this system, and no longer exists. So a process
// that is started after a crash on the same machine need not wait for the lease to expire.
func (h Holder) isDead() bool {
	return h.System != "" && h.System == thisSystem() && h.Started != "" && hasEnded(h.PID, h.Started)
}
