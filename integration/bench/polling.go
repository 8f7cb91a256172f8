package main

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/zap"

	"sitesync/avalon"
	"sitesync/integration/studio"
	"sitesync/integration/testenv"
	"sitesync/watcher"
)

const (
	waiting     = 300    // pending representations, in all projects together
	failedFiles = 10_000 // that have failed for good, all in one project
)

// polling measures a poll, in this process, of projects with a long history and with a short one in turn.
func (b *bench) polling(ctx context.Context) ([]row, error) {
	// The queue has room for all pending files, and each poll finds them again.
	history := func(synced int) (*isolatedEnv, func() (float64, error), error) {
		h, err := b.newIsolatedEnv(time.Minute)
		if err != nil {
			return nil, nil, err
		}
		progress("%d synced representations in %d projects ...", synced, b.Projects)
		if err := h.insertHistory(ctx, synced); err != nil {
			h.close(ctx)
			return nil, nil, err
		}
		rules := avalon.Rules{Route: avalon.Route{From: "studio", To: testenv.RemoteSite}, RetryCount: 3}
		store := avalon.NewStore(h.db.Client(), h.db.Name())
		(&watcher.IndexEnsurer{Store: store, Route: rules.Route, Log: zap.NewNop()}).Once(ctx)
		poll := watcher.NewPoller(store, rules, watcher.NewQueue(waiting), zap.NewNop())
		once := func() (float64, error) {
			start := time.Now()
			err := poll.Once(ctx)
			return milliseconds(time.Since(start)) / float64(b.Projects), err
		}
		_, err = once()
		if err == nil && poll.Queue.Len(watcher.Backlog) != waiting {
			err = fmt.Errorf("the poll finds %d of %d pending representations", poll.Queue.Len(watcher.Backlog),
				waiting)
		}
		return h, once, err
	}
	short, pollShort, err := history(b.History / 100)
	if err != nil {
		return nil, err
	}
	defer short.close(ctx)
	long, pollLong, err := history(b.History)
	if err != nil {
		return nil, err
	}
	defer long.close(ctx)

	const polls = 10 // a round
	each := row{What: fmt.Sprintf("a poll of %d projects, %d synced, for each", b.Projects, b.History), Unit: "ms",
		Peer: fmt.Sprintf("%d synced", b.History/100), Bar: &bar{Of: ofRatio, Limit: 1.25}}
	failed := row{What: fmt.Sprintf("the same, %d failed for good in one", b.failed()), Unit: "ms", Peer: "without"}
	alternate := func(one, other func() (float64, error)) (ours, theirs []float64, err error) {
		for range b.Rounds {
			var a, b []float64
			for range polls {
				first, err := one()
				if err != nil {
					return nil, nil, err
				}
				second, err := other()
				if err != nil {
					return nil, nil, err
				}
				a, b = append(a, first), append(b, second)
			}
			ours, theirs = append(ours, median(a)), append(theirs, median(b))
		}
		return ours, theirs, nil
	}
	progress("%s ...", each.What)
	if each.Ours, each.Theirs, err = alternate(pollLong, pollShort); err != nil {
		return nil, err
	}
	examined := row{What: fmt.Sprintf("documents and keys examined by a poll, %d pending, %d synced", waiting,
		b.History), Peer: each.Peer, Bar: &bar{Of: ofRatio, Limit: 1}}
	for _, e := range []struct {
		h    *isolatedEnv
		poll func() (float64, error)
		into *[]float64
	}{{long, pollLong, &examined.Ours}, {short, pollShort, &examined.Theirs}} {
		n, err := e.h.examined(ctx, e.poll)
		if err != nil {
			return nil, err
		}
		*e.into = append(*e.into, n)
	}
	progress("%s ...", failed.What)
	if err := short.insertFailed(ctx); err != nil {
		return nil, err
	}
	if failed.Ours, failed.Theirs, err = alternate(pollShort, pollLong); err != nil {
		return nil, err
	}
	return []row{each, examined, failed}, nil
}

// insertHistory inserts synced representations, and a few pending ones among them.
func (e *isolatedEnv) insertHistory(ctx context.Context, synced int) error {
	for i := range e.Projects {
		p, err := e.studio.Project(ctx, fmt.Sprintf("History%03d", i))
		if err != nil {
			return err
		}
		n, pending := synced/e.Projects, waiting/e.Projects
		if i < waiting%e.Projects {
			pending++
		}
		done := studio.Publish{Name: "ma", Synced: true, RecordOnly: true}
		if err := e.insert(ctx, p, numbered{done, 0, n / 2},
			numbered{studio.Publish{Name: "abc", RecordOnly: true}, 0, pending},
			numbered{done, n / 2, n - n/2}); err != nil {
			return err
		}
	}
	return nil
}

// failed is the number of files that have failed for good.
func (b *bench) failed() int { return min(failedFiles, b.History) }

// insertFailed inserts files that have failed for good into the first project.
func (e *isolatedEnv) insertFailed(ctx context.Context) error {
	p, err := e.studio.Project(ctx, "History000")
	if err != nil {
		return err
	}
	failed := studio.Publish{Name: "exr", RecordOnly: true, Change: func(doc bson.D) bson.D {
		for i := range doc {
			if doc[i].Key == "files" {
				file := doc[i].Value.(bson.A)[0].(bson.D)
				sites := file[len(file)-1].Value.(bson.A)
				sites[1] = append(sites[1].(bson.D), bson.E{Key: "tries", Value: int32(3)},
					bson.E{Key: "error", Value: "no space left"},
					bson.E{Key: "last_failed_dt", Value: time.Now().UTC()})
			}
		}
		return doc
	}}
	return e.insert(ctx, p, numbered{failed, 0, e.failed()})
}

// examined asks MongoDB's profiler how many documents and index keys a poll reads.
func (e *isolatedEnv) examined(ctx context.Context, poll func() (float64, error)) (n float64, err error) {
	if err := e.db.CreateCollection(ctx, "system.profile", options.CreateCollection().SetCapped(true).
		SetSizeInBytes(64<<20)); err != nil {
		return 0, err
	}
	if err := e.profile(ctx, 2); err != nil {
		return 0, err
	}
	if _, err := poll(); err != nil {
		return 0, err
	}
	if err := e.profile(ctx, 0); err != nil {
		return 0, err
	}
	cur, err := e.db.Collection("system.profile").
		Find(ctx, bson.D{{Key: "docsExamined", Value: bson.D{{Key: "$exists", Value: true}}}})
	if err != nil {
		return 0, err
	}
	var ops []struct {
		Docs float64 `bson:"docsExamined"`
		Keys float64 `bson:"keysExamined"`
	}
	if err := cur.All(ctx, &ops); err != nil {
		return 0, err
	}
	for _, op := range ops {
		n += op.Docs + op.Keys
	}
	return n, nil
}
