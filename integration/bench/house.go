package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"sitesync/integration/daemon"
	"sitesync/integration/stage"
	"sitesync/integration/studio"
)

// house is a studio with a database and a folder on Drive of its own, and a sitesync that goes on working there. It
// reaches Drive without TLS.
type house struct {
	*bench
	db      *mongo.Database
	studio  *studio.Studio
	presets string
	daemon  *daemon.Daemon
}

// newHouse founds a studio whose sitesync polls so often. It must be closed.
func (b *bench) newHouse(poll time.Duration) (*house, error) {
	root := b.newRoot()
	name := fmt.Sprintf("bench_%d", b.runs)
	db := b.stage.Mongo.Client().Database(name)
	h := &house{bench: b, db: db, presets: filepath.Join(b.dir, name),
		studio: studio.New(db, studio.Options{Root: b.storage, RemoteSite: stage.RemoteSite})}
	if err := os.Mkdir(h.presets, 0o700); err != nil {
		return nil, err
	}
	return h, daemon.Presets{LoopDelay: fmt.Sprint(poll.Seconds()), Sites: map[string]daemon.Site{stage.RemoteSite: {
		Credentials: b.stage.Account.Credentials(), Root: "/" + b.stage.Show.Name + "/" + root, Endpoint: b.stage.Drive.URL,
	}}}.Write(h.presets)
}

// start starts sitesync and waits until it watches.
func (h *house) start(ctx context.Context) (err error) {
	h.stage.Drive.ResetCalls()
	h.daemon, err = daemon.Start(daemon.Options{Binary: h.stage.Binary, Presets: h.presets, Mongo: h.stage.Mongo.URI(),
		Database: h.db.Name(), State: h.db.Name() + "_state", Args: sitesyncArgs(8)})
	if err != nil {
		return err
	}
	_, err = h.daemon.Wait(ctx, daemon.Message("change stream open"))
	return err
}

// stop ends sitesync at once, whatever it is doing.
func (h *house) stop() {
	if h.daemon != nil {
		h.daemon.Kill()
	}
}

// close leaves nothing behind.
func (h *house) close(ctx context.Context) {
	h.stop()
	ctx = context.WithoutCancel(ctx)
	_ = h.db.Drop(ctx) // it all goes with the stage at last
	_ = h.db.Client().Database(h.db.Name() + "_state").Drop(ctx)
}

// until waits for a condition.
func (b *bench) until(ctx context.Context, what string, ok func() (bool, error)) error {
	const patience = 5 * time.Minute
	for end := time.Now().Add(patience); ; {
		done, err := ok()
		if done || err != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("not within %s: %s", patience, what)
		}
		if err := stage.Pause(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
}

// number stands in what is inserted many times for its number.
const number = "0000000"

// numbered are n representations as the publish makes them, from a number on; where they stand is in the names of the
// folder and the file.
type numbered struct {
	studio.Publish
	from, n int
}

// insert inserts representations fast, in this order, without the documents above them: the publish is made once, and
// copied. It has files if it is not RecordOnly: all share one content.
func (h *house) insert(ctx context.Context, p *studio.Project, parts ...numbered) error {
	coll := h.db.Collection(p.Name(), options.Collection().SetWriteConcern(writeconcern.W1()))
	var docs []any
	flush := func(least int) error {
		if len(docs) < least {
			return nil
		}
		_, err := coll.InsertMany(ctx, docs)
		docs = docs[:0]
		return err
	}
	type model struct {
		rep *studio.Representation
		doc bson.Raw
	}
	models := map[string]model{}
	for _, part := range parts {
		part.Asset, part.Subset, part.Size = "Many", "s"+number, size
		key := fmt.Sprint(part.Name, part.Frames)
		m, ok := models[key]
		if !ok {
			pub := part.Publish
			pub.RecordOnly = true
			rep, err := p.Publish(ctx, pub)
			if err != nil {
				return err
			}
			if m.doc, err = rep.Document(ctx); err != nil {
				return err
			}
			if err := rep.Delete(ctx); err != nil {
				return err
			}
			m.rep = rep
			models[key] = m
		}
		for i := part.from; i < part.from+part.n; i++ {
			digits := fmt.Sprintf("%0*d", len(number), i)
			doc := bytes.ReplaceAll(m.doc, []byte(number), []byte(digits))
			renew := func(old bson.ObjectID) {
				id := bson.NewObjectID()
				copy(doc[bytes.Index(doc, old[:]):], id[:])
			}
			renew(m.rep.ID)
			for _, f := range m.rep.Files {
				renew(f.ID)
				if !part.RecordOnly {
					if err := h.link(strings.ReplaceAll(f.Local, number, digits)); err != nil {
						return err
					}
				}
			}
			docs = append(docs, bson.Raw(doc))
			if err := flush(2000); err != nil {
				return err
			}
		}
	}
	if err := flush(1); err != nil {
		return err
	}
	// What is older than published would be waited for.
	for i := 0; i*linksOfOne < h.links; i++ {
		if err := os.Chtimes(h.content(i), time.Time{}, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// content is a file that has many names.
func (b *bench) content(n int) string { return filepath.Join(b.dir, fmt.Sprintf("content-%d", n)) }

// linksOfOne is how many names one file may have; ext4 allows 65,000.
const linksOfOne = 50_000

// link makes a small file that shares its content with many others. It is there already if it was made in an earlier
// round.
func (h *house) link(name string) error {
	if _, err := os.Stat(name); err == nil {
		return nil
	}
	content := h.content(h.links / linksOfOne)
	if h.links%linksOfOne == 0 {
		if err := os.WriteFile(content, make([]byte, size), 0o600); err != nil {
			return err
		}
	}
	h.links++
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return os.Link(content, name)
}
