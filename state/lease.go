package state

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/zap"
)

// releaseFor is how long giving a lease back may take.
const releaseFor = 500 * time.Millisecond

// times of a lease. A holder that was killed is replaced within length + standby.
type times struct {
	length  time.Duration // from its last renewal
	renewal time.Duration // from one to the next
	standby time.Duration // from one look to the next while another process holds it
	safety  time.Duration // the holder stops so long before the lease ends, for what is on its way
}

// usual are the times that count. Three renewals may fail.
var usual = times{length: 12 * time.Second, renewal: 3 * time.Second, standby: 500 * time.Millisecond, safety: time.Second}

// Why work under a lease has to stop.
var (
	errExpired = errors.New("the lease can't be renewed")
	errTaken   = errors.New("another process has taken the lease")
	errNotHeld = errors.New("the lease is not held")
)

// Lease makes sure that only one process works on a remote site of an avalon database. Times are those of the
// database's clock; a holder goes by the time that has passed since it asked for the last renewal.
type Lease struct {
	database *Database
	name     string
	self     Holder
	log      *zap.Logger
	report   func() Report
	times    times

	mu    sync.Mutex
	held  bool
	term  int64
	until time.Time // by our clocks; see passed
	other *Holder   // who holds it, while we wait
	told  string    // what was logged last
}

// Report is what the holder of a lease tells others of its work, with each renewal.
type Report struct {
	Stream string `bson:"stream"` // state of the change stream
	Held   []Held `bson:"holds"`  // what holds uploads up
}

// Held is something that holds uploads up.
type Held struct {
	Kind string `bson:"kind"`           // of what is held, as the uploader names it
	Name string `bson:"name,omitempty"` // its path
	From int64  `bson:"from,omitempty"` // the smallest files that are held, bytes
	Hang bool   `bson:"hang,omitempty"` // its storage does not answer
	What string `bson:"what"`           // for people
	Why  string `bson:"why"`
}

// String tells what is held, and why.
func (h Held) String() string { return h.What + ": " + h.Why }

// leaseDoc is a document of the collection leases.
type leaseDoc struct {
	Name    string    `bson:"_id"`
	Term    int64     `bson:"term"` // how often it was taken
	Holder  Holder    `bson:"holder"`
	Expires time.Time `bson:"expires"`
	Report  Report    `bson:"report"`
	Expired bool      `bson:"expired,omitempty"` // by the database's clock; only read
}

// LeaseName names the lease for a remote site of an avalon database.
func LeaseName(avalon, site string) string { return avalon + "/" + site }

// Standing is how a lease stands, for whoever only looks.
type Standing struct {
	Holder  Holder
	Report  Report
	Expired bool // nobody works
}

// Standing reads how a lease stands. It is nil if nobody has ever held it.
func (d *Database) Standing(ctx context.Context, name string) (*Standing, error) {
	doc, err := d.lease(ctx, name)
	if doc == nil || err != nil {
		return nil, err
	}
	return &Standing{doc.Holder, doc.Report, doc.Expired || doc.Holder.isDead()}, nil
}

// lease reads a lease; nil if there is none.
func (d *Database) lease(ctx context.Context, name string) (*leaseDoc, error) {
	var doc leaseDoc
	err := d.db.Collection("leases").FindOne(ctx, bson.D{{Key: "_id", Value: name}}, options.FindOne().SetProjection(bson.D{
		{Key: "holder", Value: 1}, {Key: "report", Value: 1},
		{Key: "expired", Value: bson.D{{Key: "$lte", Value: bson.A{"$expires", "$$NOW"}}}},
	})).Decode(&doc)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, nil
	}
	if err != nil {
		return nil, d.wrap(err, "read the lease")
	}
	return &doc, nil
}

// NewLease returns a lease that is not held. report may be called at any time; it must not block.
func (d *Database) NewLease(name string, self Holder, log *zap.Logger, report func() Report) *Lease {
	return &Lease{database: d, name: name, self: self, log: log, report: report, times: usual}
}

// LeaseState is how a lease stands.
type LeaseState struct {
	Held   bool    // by this process
	Holder *Holder // the other process that holds it; nil if none is known
}

// State tells how the lease stands.
func (l *Lease) State() LeaseState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return LeaseState{Held: l.held && !passed(l.until), Holder: l.other}
}

// Check returns an error if the lease may have ended. What was written to the database before a Check that
// returned nil is there for whoever holds the lease next.
func (l *Lease) Check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.held || passed(l.until) {
		return errNotHeld
	}
	return nil
}

// Term returns a number that is higher with each holder. The error is that of Check.
func (l *Lease) Term() (int64, error) {
	if err := l.Check(); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term, nil
}

// Confirm asks the database whether the lease is still that of the term, as the clocks of a machine that is paused
// can stand still with it.
func (l *Lease) Confirm(ctx context.Context, term int64) error {
	n, err := l.database.db.Collection("leases").CountDocuments(ctx,
		bson.D{{Key: "_id", Value: l.name}, {Key: "holder.id", Value: l.self.ID}, {Key: "term", Value: term}})
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
	for {
		if l.acquire(ctx) != nil {
			return
		}
		if l.hold(ctx, work) {
			return
		}
	}
}

// TryRun is Run, but returns an error if another process holds the lease, and only waits as long as that may be
// one that was killed. Work is called once.
func (l *Lease) TryRun(ctx context.Context, work func(ctx, fenced context.Context)) error {
	waiting, cancel := context.WithTimeout(ctx, l.times.length+l.times.safety)
	defer cancel()
	if err := l.acquire(waiting); err != nil {
		if other := l.State().Holder; other != nil {
			return fmt.Errorf("%s syncs this site already; stop it first", other)
		}
		return err
	}
	if !l.hold(ctx, work) {
		return errors.New("another process may have taken over the site, or the database is away; see above")
	}
	return nil
}

// acquire waits until the lease is held. Its error is the last one of the database if ctx ends before one look at
// the lease has worked, and the context's otherwise.
func (l *Lease) acquire(ctx context.Context) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, l.times.length)
		held, err := l.try(attempt)
		cancel()
		if held {
			return nil
		}
		l.waits(ctx, err)
		select {
		case <-time.After(l.times.standby):
		case <-ctx.Done():
			if err != nil && !errors.Is(err, ctx.Err()) {
				return err
			}
			return ctx.Err()
		}
	}
}

// waits tells why the lease is not held, if that has changed.
func (l *Lease) waits(ctx context.Context, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	var what string
	switch {
	case err != nil:
		what = "error"
	case l.other != nil:
		what = l.other.ID
	}
	if what == l.told || what == "" {
		return
	}
	l.told = what
	if err != nil {
		l.log.Warn("the lease of the site can't be had; nothing is synced meanwhile", zap.Error(err))
	} else {
		l.log.Info("standing by: another process syncs this site", zap.Stringer("holder", l.other),
			zap.Time("since", l.other.Since))
	}
}

// try takes the lease if nobody has it.
func (l *Lease) try(ctx context.Context) (bool, error) {
	found, err := l.database.lease(ctx, l.name)
	if err != nil {
		return false, err
	}
	isNew := found == nil
	// It is ours already if the answer to the last attempt was lost.
	if !isNew && !found.Expired && found.Holder.ID != l.self.ID && !found.Holder.isDead() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.other = &found.Holder
		return false, nil
	}
	// Whoever has it now is who had it when we looked.
	filter := bson.D{{Key: "_id", Value: l.name}}
	if isNew {
		filter = append(filter, bson.E{Key: "holder.id", Value: bson.D{{Key: "$exists", Value: false}}})
	} else {
		filter = append(filter, bson.E{Key: "holder.id", Value: found.Holder.ID})
	}
	if !isNew && found.Expired {
		filter = append(filter, bson.E{Key: "$expr", Value: bson.D{{Key: "$lte", Value: bson.A{"$expires", "$$NOW"}}}})
	}
	holder := l.self
	holder.Since = time.Now().UTC()
	asked := time.Now()
	var taken leaseDoc
	err = l.database.db.Collection("leases").FindOneAndUpdate(ctx, filter, l.extended(
		bson.E{Key: "holder", Value: bson.D{{Key: "$literal", Value: holder}}},
		bson.E{Key: "term", Value: bson.D{{Key: "$add", Value: bson.A{bson.D{{Key: "$ifNull", Value: bson.A{"$term", 0}}}, 1}}}},
	), options.FindOneAndUpdate().SetUpsert(isNew).SetReturnDocument(options.After)).Decode(&taken)
	if mongo.IsDuplicateKeyError(err) || errors.Is(err, mongo.ErrNoDocuments) {
		return false, nil // somebody was faster
	}
	if err != nil {
		return false, l.database.wrap(err, "take the lease")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held, l.term, l.until, l.other = true, taken.Term, asked.Add(l.times.length-l.times.safety), nil
	if l.told != "" {
		l.log.Info("the lease of the site is held; syncing")
	}
	l.told = ""
	return true, nil
}

// extended is an update that has the lease end later, and sets more.
func (l *Lease) extended(more ...bson.E) mongo.Pipeline {
	set := append(bson.D{
		{Key: "expires", Value: bson.D{{Key: "$add", Value: bson.A{"$$NOW", l.times.length.Milliseconds()}}}},
		{Key: "report", Value: bson.D{{Key: "$literal", Value: l.report()}}},
	}, more...)
	return mongo.Pipeline{{{Key: "$set", Value: set}}}
}

// hold works for as long as the lease is held, and reports whether the work has ended by itself or by ctx.
func (l *Lease) hold(ctx context.Context, work func(ctx, fenced context.Context)) bool {
	fenced, lose := context.WithCancelCause(context.WithoutCancel(ctx))
	defer lose(nil)
	working, stop := context.WithCancel(ctx)
	defer stop()
	context.AfterFunc(fenced, stop)
	done := make(chan struct{})
	go func() {
		defer close(done)
		work(working, fenced)
	}()
	renewing, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		if err := l.renew(renewing); err != nil {
			lose(err)
		}
	}()
	<-done
	lost := fenced.Err() != nil
	end()
	<-renewed
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
		case <-time.After(l.times.renewal):
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
		case errors.Is(err, errTaken):
			l.log.Error("another process has taken over this site, as this one did not answer for a while; stopping all uploads")
			return err
		case err != nil && passed(until):
			l.log.Warn("the lease of the site can't be renewed, so another process may take over; uploads stop until it is held again",
				zap.Error(err))
			l.mu.Lock()
			l.told = "error"
			l.mu.Unlock()
			return errExpired
		}
	}
}

// extend renews the lease once. A failure is tried again until ctx ends.
func (l *Lease) extend(ctx context.Context) error {
	for {
		asked := time.Now()
		res, err := l.database.db.Collection("leases").UpdateOne(ctx,
			bson.D{{Key: "_id", Value: l.name}, {Key: "holder.id", Value: l.self.ID}}, l.extended())
		if err == nil && res.MatchedCount == 0 {
			return errTaken
		}
		if err == nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.until = asked.Add(l.times.length - l.times.safety)
			return nil
		}
		select {
		case <-time.After(l.times.standby):
		case <-ctx.Done():
			return l.database.wrap(err, "renew the lease")
		}
	}
}

// release gives the lease back, so that another process need not wait.
func (l *Lease) release() {
	ctx, cancel := context.WithTimeout(context.Background(), releaseFor)
	defer cancel()
	_, err := l.database.db.Collection("leases").UpdateOne(ctx,
		bson.D{{Key: "_id", Value: l.name}, {Key: "holder.id", Value: l.self.ID}},
		// Without the id, so that a renewal which is still on its way does nothing.
		mongo.Pipeline{{{Key: "$set", Value: bson.D{{Key: "expires", Value: "$$NOW"}, {Key: "holder.id", Value: ""}}}}})
	if err != nil {
		l.log.Warn("the lease can't be given back; another process has to wait for its end", zap.Error(err))
	}
}
