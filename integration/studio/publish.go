package studio

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// What every publish has in common.
const (
	hierarchy = "Assets"
	author    = "artist"
	task      = "modeling"

	pathTemplate = "{project[name]}/{hierarchy}/{asset}/publish/{family}/{subset}/v{version:0>3}/" +
		"{project[code]}_{asset}_{subset}_v{version:0>3}<_{output}><.{frame:0>4}>.{representation}"
)

// Publish describes one representation that an artist publishes. The zero value
// of everything but Asset, Subset and Name is what usually happens.
type Publish struct {
	Asset   string // such as "Cylinder"; any characters a file name may have
	Family  string // default "model"
	Subset  string // such as "lookMain"
	Version int    // default 1. One that exists is published again: see Project.Publish
	Name    string // of the representation, and the extension of its files: "ma"

	// Root names the root to publish to, in a studio with several; default
	// "work", or the first by name if there is no such root.
	Root string
	// File is the base name of the file, instead of the usual one. In a sequence
	// the number goes before its extension.
	File string
	// Frames makes it a sequence of so many files, from FirstFrame (default 1001).
	Frames, FirstFrame int
	// Size of each file in bytes.
	Size int64
	// Sparse files are made of holes, but for their first and last kilobyte.
	Sparse bool
	// Seed changes the content, which else is the same for the same path.
	Seed uint64
	// Resources are further files of the representation, such as textures.
	// Publishes made in one PublishAll share resources of the same path.
	Resources []Resource
	// Shared are files of earlier publishes, recorded here once more with the
	// same _id; they are not written again.
	Shared []File

	// RenameAfter is waited between the insert and the renaming of *.tmp files.
	RenameAfter time.Duration
	// Hold leaves the *.tmp files until Representation.Finish.
	Hold bool
	// RenameFails leaves the *.tmp of the last file, as when renaming it failed.
	RenameFails bool
	// NoTmp writes the files under their final name, before the insert.
	NoTmp bool
	// RecordOnly inserts the document and writes no file.
	RecordOnly bool

	// DictSites writes sites in the older form, {NAME: {created_dt}}.
	DictSites bool
	// NoRemote leaves the remote site out, as before it was configured.
	NoRemote bool
	// NoActiveDate leaves created_dt out of the active site's record: the files
	// are not there yet.
	NoActiveDate bool
	// Synced records that the remote site has the files already.
	Synced bool
	// OtherSites are added to sites, without created_dt.
	OtherSites []string

	// Backslashes writes recorded paths with \, as some Windows machines do.
	Backslashes bool
	// ContextRoot replaces context.root, such as "P:/projects" for an artist on
	// Windows or a map for several roots. data.path follows if it is a string.
	ContextRoot any
	// NoSize and NoHash leave the fields out. size is also missing for empty
	// files: IntegrateNew drops a 0.
	NoSize, NoHash bool
	// Int32Size writes size as a 32-bit integer, as Python 3 does.
	Int32Size bool
	// NewID gives a republished representation an _id of its own instead of
	// the one it had.
	NewID bool
	// Change, if set, may alter the document before it is inserted.
	Change func(doc bson.D) bson.D
}

// Resource is an additional file of a representation, in the folder "resources"
// of its version.
type Resource struct {
	Name string
	Size int64
}

// Publish publishes one representation and returns it when its files have their
// final names (or are left as *.tmp on request).
//
// If the version has a representation of that name already, it is published
// again as IntegrateNew does that: the old document is archived and then deleted,
// the new one is inserted with the same _id and new file ids, and the new content
// is copied over the old files in place, leaving the *.tmp files behind.
func (p *Project) Publish(ctx context.Context, pub Publish) (*Representation, error) {
	reps, err := p.PublishAll(ctx, pub)
	if err != nil {
		return nil, err
	}
	return reps[0], nil
}

// PublishAll publishes several representations at once, with one insertMany.
func (p *Project) PublishAll(ctx context.Context, pubs ...Publish) (reps []*Representation, err error) {
	shared := make(map[string]File) // resources of this publish, by local path
	defer func() {
		if err != nil { // as IntegrateNew cleans up when it cannot register
			for _, rep := range reps {
				rep.removeTemporary()
			}
			reps = nil
		}
	}()

	var docs []any
	var replaced []bson.ObjectID
	for _, pub := range pubs {
		pub = pub.withDefaults()
		rep, err := p.write(pub, shared)
		reps = append(reps, rep)
		if err != nil {
			return reps, fmt.Errorf("publish %s: %w", rep, err)
		}
		version, err := p.version(ctx, pub)
		if err != nil {
			return reps, fmt.Errorf("publish %s: %w", rep, err)
		}
		archived, err := p.replace(ctx, rep, version)
		if err != nil {
			return reps, fmt.Errorf("publish %s again: %w", rep, err)
		}
		replaced = append(replaced, archived...)
		doc, err := p.document(rep, version)
		if err != nil {
			return reps, fmt.Errorf("publish %s: %w", rep, err)
		}
		docs = append(docs, doc)
	}
	if len(replaced) > 0 {
		if _, err := p.collection.DeleteMany(ctx,
			bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: replaced}}}}); err != nil {
			return reps, fmt.Errorf("delete the archived representations of %s: %w", p.name, err)
		}
	}
	if _, err := p.collection.InsertMany(ctx, docs); err != nil {
		return reps, fmt.Errorf("insert %d representations into %s: %w", len(docs), p.name, err)
	}
	acknowledged := time.Now()
	for _, rep := range reps {
		rep.Acknowledged = acknowledged
	}
	return reps, p.rename(ctx, reps)
}

// rename gives the files their final names, as far as the publishes want that.
func (p *Project) rename(ctx context.Context, reps []*Representation) error {
	for _, rep := range reps {
		if rep.publish.RenameAfter > 0 {
			timer := time.NewTimer(time.Until(rep.Acknowledged.Add(rep.publish.RenameAfter)))
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return fmt.Errorf("rename the files of %s: %w", rep, context.Cause(ctx))
			}
		}
		files := rep.Files
		switch {
		case rep.publish.Hold:
			continue
		case rep.publish.RenameFails:
			files = slices.Clone(files)
			if i := lastTemporary(files); i >= 0 {
				files = slices.Delete(files, i, i+1)
			}
		}
		if err := finish(files); err != nil {
			return fmt.Errorf("rename the files of %s: %w", rep, err)
		}
	}
	return nil
}

// lastTemporary is the index of the last file that was written as *.tmp, or -1.
func lastTemporary(files []File) int {
	for i := len(files) - 1; i >= 0; i-- {
		if files[i].tmp != "" {
			return i
		}
	}
	return -1
}

func (pub Publish) withDefaults() Publish {
	if pub.Family == "" {
		pub.Family = "model"
	}
	if pub.Version == 0 {
		pub.Version = 1
	}
	if pub.FirstFrame == 0 {
		pub.FirstFrame = 1001
	}
	return pub
}

// folder is the version's folder below the root, with slashes.
func (p *Project) folder(pub Publish) string {
	return path.Join(p.name, hierarchy, pub.Asset, "publish", pub.Family, pub.Subset, fmt.Sprintf("v%03d", pub.Version))
}

// baseNames are the names of the representation's own files.
func (p *Project) baseNames(pub Publish) []string {
	stem, ext := fmt.Sprintf("%s_%s_%s_v%03d", p.code, pub.Asset, pub.Subset, pub.Version), "."+pub.Name
	if pub.File != "" {
		ext = path.Ext(pub.File)
		stem = strings.TrimSuffix(pub.File, ext)
	}
	if pub.Frames == 0 {
		return []string{stem + ext}
	}
	var names []string
	for i := range pub.Frames {
		names = append(names, stem+"."+frame(pub.FirstFrame+i)+ext)
	}
	return names
}

func frame(n int) string { return fmt.Sprintf("%04d", n) }

// write puts the files of a publish into the studio's storage and returns the
// representation to be.
func (p *Project) write(pub Publish, shared map[string]File) (*Representation, error) {
	rep := &Representation{
		ID:         bson.NewObjectID(),
		Project:    p.name,
		Name:       pub.Name,
		collection: p.collection,
		publish:    pub,
		dictSites:  pub.DictSites,
	}
	root, placeholder, _, err := p.studio.root(pub.Root)
	if err != nil {
		return rep, err
	}
	folder := p.folder(pub)
	add := func(name string, size int64) error {
		f := File{ID: bson.NewObjectID(), Rel: path.Join(folder, name), Size: size}
		f.Path = pub.separators(placeholder + "/" + f.Rel)
		f.Local = filepath.Join(root, filepath.FromSlash(f.Rel))
		if !pub.RecordOnly {
			if err := f.write(pub); err != nil {
				return err
			}
		}
		rep.Files = append(rep.Files, f)
		return nil
	}
	for _, name := range p.baseNames(pub) {
		if err := add(name, pub.Size); err != nil {
			return rep, err
		}
	}
	for _, resource := range pub.Resources {
		name := path.Join("resources", resource.Name)
		local := filepath.Join(root, filepath.FromSlash(path.Join(folder, name)))
		if f, ok := shared[local]; ok {
			rep.Files = append(rep.Files, f)
			continue
		}
		if err := add(name, resource.Size); err != nil {
			return rep, err
		}
		shared[local] = rep.Files[len(rep.Files)-1]
	}
	for _, f := range pub.Shared {
		f.tmp = "" // renaming it is up to the publish that wrote it
		rep.Files = append(rep.Files, f)
	}
	return rep, nil
}

// separators writes a path with the separators of the publish.
func (pub Publish) separators(path string) string {
	if pub.Backslashes {
		return strings.ReplaceAll(path, "/", `\`)
	}
	return path
}

// replace enters the representation as its version's one of that name. If there
// was one, it does what IntegrateNew does: it deletes the old document, inserts it
// again as archived_representation, whose id it returns, and takes over the old id.
func (p *Project) replace(ctx context.Context, rep *Representation,
	version bson.ObjectID) (archived []bson.ObjectID, err error) {
	at := place{version, "representation", rep.Name}
	p.mu.Lock()
	old, published := p.ids[at]
	if published && !rep.publish.NewID {
		rep.ID = old
	}
	p.ids[at] = rep.ID
	p.mu.Unlock()
	if !published {
		return nil, nil
	}
	var doc bson.D
	err = p.collection.FindOneAndDelete(ctx, bson.D{{Key: "_id", Value: old}}).Decode(&doc)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, nil // it was deleted
	}
	if err != nil {
		return nil, err
	}
	id := bson.NewObjectID()
	for i := range doc {
		switch doc[i].Key {
		case "_id":
			doc[i].Value = id
		case "type":
			doc[i].Value = "archived_representation"
		}
	}
	_, err = p.collection.InsertOne(ctx, append(doc, bson.E{Key: "orig_id", Value: old}))
	return []bson.ObjectID{id}, err
}

// document is the representation as IntegrateNew inserts it.
func (p *Project) document(rep *Representation, version bson.ObjectID) (bson.D, error) {
	pub := rep.publish
	root, placeholder, contextRoot, err := p.studio.root(pub.Root)
	if err != nil {
		return nil, err
	}
	if pub.ContextRoot != nil {
		contextRoot = pub.ContextRoot
		if text, ok := contextRoot.(string); ok {
			root = text
		}
	}
	first := rep.Files[0]
	context := bson.D{
		{Key: "root", Value: contextRoot},
		{Key: "project", Value: bson.D{{Key: "name", Value: p.name}, {Key: "code", Value: p.code}}},
		{Key: "hierarchy", Value: hierarchy},
		{Key: "asset", Value: pub.Asset},
		{Key: "family", Value: pub.Family},
		{Key: "subset", Value: pub.Subset},
		{Key: "version", Value: int32(pub.Version)},
		{Key: "representation", Value: pub.Name},
		{Key: "task", Value: task},
		{Key: "username", Value: author},
		{Key: "ext", Value: pub.Name},
	}
	if pub.Frames > 0 {
		context = append(context, bson.E{Key: "frame", Value: frame(pub.FirstFrame)})
	}
	var files bson.A
	for _, f := range rep.Files {
		file, err := p.fileDocument(f, pub)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	doc := bson.D{
		{Key: "_id", Value: rep.ID},
		{Key: "schema", Value: "pype:representation-2.0"},
		{Key: "type", Value: "representation"},
		{Key: "parent", Value: version},
		{Key: "name", Value: pub.Name},
		{Key: "data", Value: bson.D{
			{Key: "path", Value: pub.separators(strings.TrimSuffix(root, "/") + "/" + first.Rel)},
			{Key: "template", Value: pub.separators(placeholder + "/" + pathTemplate)},
		}},
		{Key: "dependencies", Value: bson.A{}},
		{Key: "context", Value: context},
		{Key: "files", Value: files},
	}
	if pub.Change != nil {
		doc = pub.Change(doc)
	}
	return doc, nil
}

// fileDocument is one element of files.
func (p *Project) fileDocument(f File, pub Publish) (bson.D, error) {
	doc := bson.D{{Key: "_id", Value: f.ID}, {Key: "path", Value: f.Path}}
	if f.Size > 0 && !pub.NoSize {
		var size any = f.Size
		if pub.Int32Size {
			size = int32(f.Size)
		}
		doc = append(doc, bson.E{Key: "size", Value: size})
	}
	if !pub.NoHash {
		hash, err := f.hash()
		if err != nil {
			return nil, err
		}
		doc = append(doc, bson.E{Key: "hash", Value: hash})
	}
	return append(doc, bson.E{Key: "sites", Value: p.studio.sites(pub, time.Now())}), nil
}

// hash identifies a file by name, time of modification and size, with commas for
// dots because MongoDB once refused dots in keys.
func (f File) hash() (string, error) {
	modified := time.Now()
	for _, name := range []string{f.tmp, f.Local} {
		if info, err := os.Stat(name); err == nil {
			modified = info.ModTime()
			break
		} else if !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	// Python 2 prints a float with two decimals here, and at least one.
	seconds := strconv.FormatFloat(float64(modified.UnixMilli())/1000, 'f', 2, 64)
	seconds = strings.TrimSuffix(seconds, "0")
	return strings.ReplaceAll(fmt.Sprintf("%s|%s|%d", path.Base(f.Rel), seconds, f.Size), ".", ","), nil
}

// sites is the site records of one file, in the form of the publish.
func (s *Studio) sites(pub Publish, now time.Time) any {
	type record struct {
		name   string
		fields bson.D
	}
	date := bson.E{Key: "created_dt", Value: s.wallTime(now)}
	active := record{name: s.options.ActiveSite}
	if !pub.NoActiveDate {
		active.fields = bson.D{date}
	}
	records := []record{active}
	if !pub.NoRemote {
		remote := record{name: s.options.RemoteSite}
		if pub.Synced {
			id := "synced-" + bson.NewObjectID().Hex()
			remote.fields = bson.D{{Key: "created_dt", Value: bson.NewDateTimeFromTime(now)}, {Key: "id", Value: id}}
		}
		records = append(records, remote)
	}
	for _, name := range pub.OtherSites {
		records = append(records, record{name: name})
	}
	if pub.DictSites {
		dict := bson.D{}
		for _, r := range records {
			dict = append(dict, bson.E{Key: r.name, Value: append(bson.D{}, r.fields...)})
		}
		return dict
	}
	list := bson.A{}
	for _, r := range records {
		list = append(list, slices.Concat(bson.D{{Key: "name", Value: r.name}}, r.fields))
	}
	return list
}
