package main

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"sitesync/integration/drive"
	"sitesync/integration/studio"
	"sitesync/integration/testenv"
)

// checker compares the publishes with the records and with Drive.
type checker struct {
	db     *mongo.Database
	server *drive.Server
	folder string                      // the site's root, below that of its shared drive
	reps   map[bson.ObjectID]published // as last published
}

// published is a representation, and where else it is wanted than on Drive.
type published struct {
	*studio.Representation
	from, to string // the sites of the storage that has it, and of the other one
	root     string // of the other storage
}

// arrives is the path of a file on the other storage.
func (p published) arrives(f studio.File) string {
	return filepath.Join(p.root, filepath.FromSlash(f.Rel))
}

// findings are the results of a check. Each list has one text a case.
type findings struct {
	files    int // published, by path
	records  int // of published files: several may be of one path
	bytes    int64
	synced   int // correct records of Drive
	arrived  int // correct records of the other storage
	tries    int64
	lost     []string // records of files that are not on Drive under the record's id, or not on the other storage
	doubled  []string // paths with several files or folders on Drive
	doubles  int      // surplus files and folders of these paths
	wrong    []string // files whose content differs from the storage
	orphaned []string // files that no record names, and folders without a named file
	left     []string // files on the other storage that were not published, such as partial ones
}

// record is the record of a site of one file.
type record struct {
	created bool
	id      string
	tries   int64
	text    string // all of it
}

// records reads the records of every published representation, by id, path and site. Archived ones do not count.
func records(ctx context.Context, db *mongo.Database,
	reps map[bson.ObjectID]published) (map[bson.ObjectID]map[string]map[string]record, error) {
	out := map[bson.ObjectID]map[string]map[string]record{}
	seen := map[string]bool{}
	for _, rep := range reps {
		if seen[rep.Project] {
			continue
		}
		seen[rep.Project] = true
		cursor, err := db.Collection(rep.Project).Find(ctx, bson.D{{Key: "type", Value: "representation"}},
			options.Find().SetProjection(bson.D{{Key: "files.path", Value: 1}, {Key: "files.sites", Value: 1}}))
		if err != nil {
			return nil, fmt.Errorf("read the records: %w", err)
		}
		var docs []struct {
			ID    bson.ObjectID `bson:"_id"`
			Files []struct {
				Path  string
				Sites bson.RawValue
			}
		}
		if err := cursor.All(ctx, &docs); err != nil {
			return nil, fmt.Errorf("read the records: %w", err)
		}
		for _, doc := range docs {
			out[doc.ID] = map[string]map[string]record{}
			for _, f := range doc.Files {
				out[doc.ID][f.Path] = recordsOf(f.Sites)
			}
		}
	}
	return out, nil
}

// recordsOf reads the records of a file's sites, in either form.
func recordsOf(sites bson.RawValue) map[string]record {
	out := map[string]record{}
	if dict, ok := sites.DocumentOK(); ok {
		elements, _ := dict.Elements()
		for _, e := range elements {
			if doc, ok := e.Value().DocumentOK(); ok {
				out[e.Key()] = newRecord(doc)
			}
		}
	} else if list, ok := sites.ArrayOK(); ok {
		values, _ := list.Values()
		for _, v := range values {
			doc, _ := v.DocumentOK()
			if name, ok := doc.Lookup("name").StringValueOK(); ok {
				out[name] = newRecord(doc)
			}
		}
	}
	return out
}

func newRecord(doc bson.Raw) record {
	r := record{text: doc.String()}
	_, r.created = doc.Lookup("created_dt").DateTimeOK()
	r.id, _ = doc.Lookup("id").StringValueOK()
	r.tries, _ = doc.Lookup("tries").AsInt64OK()
	return r
}

// check compares all. Nothing may change meanwhile.
func (c *checker) check(ctx context.Context) (*findings, error) {
	all, err := records(ctx, c.db, c.reps)
	if err != nil {
		return nil, err
	}
	byID, byPath := map[string]drive.File{}, map[string][]drive.File{}
	for _, f := range c.server.Files() {
		byID[f.ID] = f
		if !f.Trashed {
			byPath[f.Path] = append(byPath[f.Path], f)
		}
	}
	found := &findings{}
	named := map[string]bool{}            // ids that records name
	published := map[string]studio.File{} // by path on Drive
	for id, rep := range c.reps {
		for _, f := range rep.Files {
			at := path.Join(c.folder, f.Rel)
			published[at] = f
			found.records++
			r, ok := all[id][f.Path][testenv.RemoteSite]
			found.tries += r.tries
			if r.id != "" {
				named[r.id] = true
			}
			there, onDrive := byID[r.id]
			switch {
			case !ok:
				found.lost = append(found.lost, fmt.Sprintf("%s of %s: it has no record", f.Rel, rep))
			case !r.created:
				found.lost = append(found.lost, fmt.Sprintf("%s of %s: its record is %s; on Drive: %s", f.Rel, rep,
					r.text, describe(byPath[at])))
			case !onDrive || there.Trashed || there.Folder || there.Path != at:
				found.lost = append(found.lost,
					fmt.Sprintf("%s of %s: its record names %q, which is not there; on Drive: %s", f.Rel, rep, r.id,
						describe(byPath[at])))
			default:
				found.synced++
			}
		}
	}
	if err := c.checkArrivals(found, all); err != nil {
		return nil, err
	}
	found.files = len(published)
	for at, f := range published {
		found.bytes += f.Size
		if err := c.compare(ctx, found, f, byPath[at], named); err != nil {
			return nil, err
		}
	}
	for at, there := range byPath {
		if len(there) > 1 {
			found.doubles += len(there) - 1
			found.doubled = append(found.doubled, fmt.Sprintf("%s: on Drive: %s", at, describe(there)))
		}
	}
	needed := c.needed(byID, named)
	for id, f := range byID {
		if !named[id] && !needed[id] {
			found.orphaned = append(found.orphaned, fmt.Sprintf("%s: %s", f.Path, describe([]drive.File{f})))
		}
	}
	for _, cases := range [][]string{found.lost, found.doubled, found.wrong, found.orphaned, found.left} {
		slices.Sort(cases)
	}
	return found, nil
}

// checkArrivals compares the storages with each other.
func (c *checker) checkArrivals(found *findings, all map[bson.ObjectID]map[string]map[string]record) error {
	roots, known := map[string]bool{}, map[string]bool{}
	for id, rep := range c.reps {
		if rep.to == "" {
			continue
		}
		roots[rep.root] = true
		for _, f := range rep.Files {
			at := rep.arrives(f)
			known[at], known[f.Local], known[f.Local+".tmp"] = true, true, true // publishing again leaves the *.tmp
			r := all[id][f.Path][rep.to]
			found.tries += r.tries
			want, err := f.Sum()
			if err != nil {
				return err
			}
			got, err := sumOf(at)
			switch {
			case err != nil || !r.created:
				found.lost = append(found.lost, fmt.Sprintf("%s of %s on %s: its record is %s, the file %v", f.Rel, rep,
					rep.to, r.text, err))
			case got != want:
				found.wrong = append(found.wrong, fmt.Sprintf("%s of %s on %s: MD5 %s, that of %s has %s", f.Rel, rep,
					rep.to, got, rep.from, want))
			case r.id != filepath.Base(at):
				found.lost = append(found.lost, fmt.Sprintf("%s of %s on %s: its record names %q", f.Rel, rep, rep.to,
					r.id))
			default:
				found.arrived++
			}
		}
	}
	for root := range roots {
		err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !known[name] {
				found.left = append(found.left, name)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sumOf is the MD5 of a file.
func sumOf(name string) (string, error) { return studio.File{Local: name}.Sum() }

// compare compares the content of a path on Drive with the storage. Of several files, those that records name count.
func (c *checker) compare(ctx context.Context, found *findings, f studio.File, there []drive.File,
	named map[string]bool) error {
	sum, err := f.Sum()
	if err != nil {
		return err
	}
	var wrong string
	for _, t := range there {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if t.Folder || len(there) > 1 && !named[t.ID] {
			continue
		}
		got, err := c.sum(t.ID)
		if err != nil {
			return err
		}
		if got != sum || t.MD5 != sum {
			wrong = fmt.Sprintf("%s: MD5 %s on the storage, %s of what Drive holds; on Drive: %s", f.Rel, sum, got,
				describe(there))
		}
	}
	if wrong != "" {
		found.wrong = append(found.wrong, wrong)
	}
	return nil
}

// sum reads a file on Drive and returns its MD5.
func (c *checker) sum(id string) (string, error) {
	content, err := c.server.Content(id)
	if err != nil {
		return "", err
	}
	defer content.Close()
	h := md5.New()
	_, err = io.Copy(h, content)
	return hex.EncodeToString(h.Sum(nil)), err
}

// needed are the folders of named files, the root, and what is above it.
func (c *checker) needed(byID map[string]drive.File, named map[string]bool) map[string]bool {
	out := map[string]bool{}
	for id := range named {
		for f, ok := byID[byID[id].Parent]; ok && !out[f.ID]; f, ok = byID[f.Parent] {
			out[f.ID] = true
		}
	}
	for id, f := range byID {
		if f.Folder && strings.HasPrefix(c.folder+"/", f.Path+"/") {
			out[id] = true
		}
	}
	return out
}

// describe describes the files on Drive at a path.
func describe(there []drive.File) string {
	if len(there) == 0 {
		return "nothing"
	}
	var out []string
	for _, f := range there {
		kind := fmt.Sprintf("%d bytes with MD5 %s, written %d times", f.Size, f.MD5, f.Revision)
		if f.Folder {
			kind = "a folder"
		}
		if f.Trashed {
			kind += " in the trash"
		}
		out = append(out, fmt.Sprintf("%s (%s, in %s since %s)", f.ID, kind, f.Parent,
			f.CreatedTime.Format(time.TimeOnly+".000")))
	}
	return strings.Join(out, ", ")
}

// violation is a kind of defect, and how often it was found.
type violation struct {
	name  string
	n     int
	what  string
	cases []string
}

// violations are all kinds of defects.
func (f *findings) violations() []violation {
	return []violation{
		{"lost", len(f.lost),
			"records of files that are not on Drive under the recorded id, or not on the other storage",
			f.lost},
		{"doubled", f.doubles, "surplus files and folders of the same path", f.doubled},
		{"wrong MD5", len(f.wrong), "files whose content differs from the storage", f.wrong},
		{"orphaned", len(f.orphaned), "files that no record names, and folders without such a file", f.orphaned},
		{"left", len(f.left), "files on a storage that were not published, such as partial ones", f.left},
	}
}
