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

	"sitesync/integration/process"
	"sitesync/integration/studio"
	"sitesync/integration/testenv"
)

// isolatedEnv is a studio with its own database and folder on Drive, and a sitesync that keeps running there. It
// reaches Drive without TLS.
type isolatedEnv struct {
	*bench
	db      *mongo.Database
	studio  *studio.Studio
	presets string
	daemon  *process.Process
}

// newIsolatedEnv returns an environment whose sitesync polls at the interval. It must be closed.
func (b *bench) newIsolatedEnv(poll time.Duration) (*isolatedEnv, error) {
	root := b.newRoot()
	name := fmt.Sprintf("bench_%d", b.runs)
	db := b.env.Mongo.Client().Database(name)
	h := &isolatedEnv{bench: b, db: db, presets: filepath.Join(b.dir, name),
		studio: studio.New(db, studio.Options{Root: b.storage, RemoteSite: testenv.RemoteSite})}
	if err := os.Mkdir(h.presets, 0o700); err != nil {
		return nil, err
	}
	return h, process.Presets{LoopDelay: fmt.Sprint(poll.Seconds()),
		Sites: map[string]process.Site{testenv.RemoteSite: {
			Credentials: b.env.Account.Credentials(), Root: "/" + b.env.Show.Name + "/" + root,
			Endpoint: b.env.Drive.URL,
		}}}.Write(h.presets)
}

// start starts sitesync and waits until it watches.
func (e *isolatedEnv) start(ctx context.Context) (err error) {
	e.env.Drive.ResetCalls()
	e.daemon, err = process.Start(process.Options{Binary: e.env.Binary, Presets: e.presets, Mongo: e.env.Mongo.URI(),
		Database: e.db.Name(), State: e.db.Name() + "_state", Args: sitesyncArgs(8)})
	if err != nil {
		return err
	}
	_, err = e.daemon.Wait(ctx, process.Message("change stream open"))
	return err
}

// stop kills sitesync.
func (e *isolatedEnv) stop() {
	if e.daemon != nil {
		e.daemon.Kill()
	}
}

// close kills sitesync and drops the databases.
func (e *isolatedEnv) close(ctx context.Context) {
	e.stop()
	ctx = context.WithoutCancel(ctx)
	_ = e.db.Drop(ctx) // its files are removed with the environment anyway
	_ = e.db.Client().Database(e.db.Name() + "_state").Drop(ctx)
}

// until waits for a condition.
func (b *bench) until(ctx context.Context, what string, ok func() (bool, error)) error {
	const timeout = 5 * time.Minute
	for end := time.Now().Add(timeout); ; {
		done, err := ok()
		if done || err != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("not within %s: %s", timeout, what)
		}
		if err := testenv.Sleep(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
}

// number is the placeholder of a number in what is inserted many times.
const number = "0000000"

// numbered are n representations of a publish with consecutive numbers, which are in the names of folders and files.
type numbered struct {
	studio.Publish
	from, n int
}

// insert inserts representations fast, in this order, without their parents: it makes each publish once, and copies the
// document. Unless it is RecordOnly, each has a file; all files share one content.
func (e *isolatedEnv) insert(ctx context.Context, p *studio.Project, parts ...numbered) error {
	coll := e.db.Collection(p.Name(), options.Collection().SetWriteConcern(writeconcern.W1()))
	var docs []any
	flush := func(minDocs int) error {
		if len(docs) < minDocs {
			return nil
		}
		_, err := coll.InsertMany(ctx, docs)
		docs = docs[:0]
		return err
	}
	type template struct {
		rep *studio.Representation
		doc bson.Raw
	}
	templates := map[string]template{}
	for _, part := range parts {
		part.Asset, part.Subset, part.Size = "Many", "s"+number, size
		key := fmt.Sprint(part.Name, part.Frames)
		m, ok := templates[key]
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
			templates[key] = m
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
					if err := e.link(strings.ReplaceAll(f.Local, number, digits)); err != nil {
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
	// sitesync would wait for files that are older than their publish.
	for i := 0; i*maxLinks < e.links; i++ {
		if err := os.Chtimes(e.content(i), time.Time{}, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// content is the path of a file that has many links.
func (b *bench) content(n int) string { return filepath.Join(b.dir, fmt.Sprintf("content-%d", n)) }

// maxLinks is how many links a file may have; ext4 allows 65,000.
const maxLinks = 50_000

// link creates a small file that shares its content with many others, unless it exists from an earlier round.
func (e *isolatedEnv) link(name string) error {
	if _, err := os.Stat(name); err == nil {
		return nil
	}
	content := e.content(e.links / maxLinks)
	if e.links%maxLinks == 0 {
		if err := os.WriteFile(content, make([]byte, size), 0o600); err != nil {
			return err
		}
	}
	e.links++
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return os.Link(content, name)
}
