package main

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/zap"

	"sitesync/avalon"
	"sitesync/integration/stage"
	"sitesync/integration/studio"
	"sitesync/watcher"
)

// What polls find.
const (
	waiting     = 300    // pending representations, in all projects together
	failedFiles = 10_000 // that have failed for good, all in one project
)

// polling measures sitesync's own poll, in this process, in projects with a long history and with a short one in turn.
func (b *bench) polling(ctx context.Context) ([]row, error) {
	// The queue has room for all that is found, and it is found again by each poll.
	history := func(synced int) (*house, func() (float64, error), error) {
		h, err := b.newHouse(time.Minute)
		if err != nil {
			return nil, nil, err
		}
		progress("%d synced representations in %d projects ...", synced, b.Projects)
		if err := h.remember(ctx, synced); err != nil {
			h.close(ctx)
			return nil, nil, err
		}
		rules := avalon.Rules{Route: avalon.Route{From: "studio", To: stage.RemoteSite}, RetryCount: 3}
		store := avalon.NewStore(h.db.Client(), h.db.Name())
		(&watcher.Index{Store: store, Route: rules.Route, Log: zap.NewNop()}).Once(ctx)
		poll := watcher.NewPoll(store, rules, watcher.NewQueue(waiting), zap.NewNop())
		once := func() (float64, error) {
			start := time.Now()
			err := poll.Once(ctx)
			return milliseconds(time.Since(start)) / float64(b.Projects), err
		}
		_, err = once()
		if err == nil && poll.Queue.Len(watcher.Backlog) != waiting {
			err = fmt.Errorf("the poll finds %d of %d pending representations", poll.Queue.Len(watcher.Backlog), waiting)
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
	turns := func(one, other func() (float64, error)) (ours, theirs []float64, err error) {
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
	if each.Ours, each.Theirs, err = turns(pollLong, pollShort); err != nil {
		return nil, err
	}
	examined := row{What: fmt.Sprintf("documents and keys examined by a poll, %d pending, %d synced", waiting, b.History),
		Peer: each.Peer, Bar: &bar{Of: ofRatio, Limit: 1}}
	for _, e := range []struct {
		h    *house
		poll func() (float64, error)
		into *[]float64
	}{{long, pollLong, &examined.Ours}, {short, pollShort, &examined.Theirs}} {
		n, err := e.h.examines(ctx, e.poll)
		if err != nil {
			return nil, err
		}
		*e.into = append(*e.into, n)
	}
	progress("%s ...", failed.What)
	if err := short.fail(ctx); err != nil {
		return nil, err
	}
	if failed.Ours, failed.Theirs, err = turns(pollShort, pollLong); err != nil {
		return nil, err
	}
	return []row{each, examined, failed}, nil
}

// remember inserts a history: synced representations, and a few pending ones among them.
func (h *house) remember(ctx context.Context, synced int) error {
	for i := range h.Projects {
		p, err := h.studio.Project(ctx, fmt.Sprintf("History%03d", i))
		if err != nil {
			return err
		}
		n, pending := synced/h.Projects, waiting/h.Projects
		if i < waiting%h.Projects {
			pending++
		}
		done := studio.Publish{Name: "ma", Synced: true, RecordOnly: true}
		if err := h.insert(ctx, p, numbered{done, 0, n / 2},
			numbered{studio.Publish{Name: "abc", RecordOnly: true}, 0, pending}, numbered{done, n / 2, n - n/2}); err != nil {
			return err
		}
	}
	return nil
}

// failed is how many files have failed for good.
func (b *bench) failed() int { return min(failedFiles, b.History) }

// fail inserts files that have failed for good, in the first project.
func (h *house) fail(ctx context.Context) error {
	p, err := h.studio.Project(ctx, "History000")
	if err != nil {
		return err
	}
	failed := studio.Publish{Name: "exr", RecordOnly: true, Change: func(doc bson.D) bson.D {
		for i := range doc {
			if doc[i].Key == "files" {
				file := doc[i].Value.(bson.A)[0].(bson.D)
				sites := file[len(file)-1].Value.(bson.A)
				sites[1] = append(sites[1].(bson.D), bson.E{Key: "tries", Value: int32(3)}, bson.E{Key: "error", Value: "no space left"},
					bson.E{Key: "last_failed_dt", Value: time.Now().UTC()})
			}
		}
		return doc
	}}
	return h.insert(ctx, p, numbered{failed, 0, h.failed()})
}

// examines asks MongoDB's profiler how many documents and keys of indexes a poll reads.
func (h *house) examines(ctx context.Context, poll func() (float64, error)) (n float64, err error) {
	if err := h.db.CreateCollection(ctx, "system.profile", options.CreateCollection().SetCapped(true).SetSizeInBytes(64<<20)); err != nil {
		return 0, err
	}
	if err := h.profile(ctx, 2); err != nil {
		return 0, err
	}
	if _, err := poll(); err != nil {
		return 0, err
	}
	if err := h.profile(ctx, 0); err != nil {
		return 0, err
	}
	cur, err := h.db.Collection("system.profile").Find(ctx, bson.D{{Key: "docsExamined", Value: bson.D{{Key: "$exists", Value: true}}}})
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
