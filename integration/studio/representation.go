package studio

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Representation is what was published.
type Representation struct {
	ID      bson.ObjectID
	Project string
	Name    string
	// Files are its own files in order, then resources, then shared files.
	Files []File
	// Acknowledged is when the server had acknowledged the insert.
	Acknowledged time.Time

	collection *mongo.Collection
	publish    Publish
	dictSites  bool
}

// String names the representation for people: project, asset, subset, version and
// id.
func (rep *Representation) String() string {
	return fmt.Sprintf("%s %s %s v%03d %s (%s)", rep.Project, rep.publish.Asset, rep.publish.Subset,
		rep.publish.Version, rep.Name, rep.ID.Hex())
}

// Finish renames the *.tmp files that Hold or RenameFails have left.
func (rep *Representation) Finish() error { return finish(rep.Files) }

// Document reads the document as it stands in the database.
func (rep *Representation) Document(ctx context.Context) (bson.Raw, error) {
	doc, err := rep.collection.FindOne(ctx, bson.D{{Key: "_id", Value: rep.ID}}).Raw()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", rep, err)
	}
	return doc, nil
}

// Record reads the record of a site for the file at this index. It is nil when
// there is none.
func (rep *Representation) Record(ctx context.Context, file int, site string) (bson.Raw, error) {
	doc, err := rep.Document(ctx)
	if err != nil {
		return nil, err
	}
	return rep.record(doc, file, site), nil
}

// Records reads the records of a site for all files, nil where there is none.
func (rep *Representation) Records(ctx context.Context, site string) ([]bson.Raw, error) {
	doc, err := rep.Document(ctx)
	if err != nil {
		return nil, err
	}
	records := make([]bson.Raw, len(rep.Files))
	for i := range records {
		records[i] = rep.record(doc, i, site)
	}
	return records, nil
}

func (rep *Representation) record(doc bson.Raw, file int, site string) bson.Raw {
	sites := doc.Lookup("files", strconv.Itoa(file), "sites")
	if dict, ok := sites.DocumentOK(); ok {
		record, _ := dict.Lookup(site).DocumentOK()
		return record
	}
	list, _ := sites.ArrayOK()
	values, _ := list.Values()
	for _, value := range values {
		if record, ok := value.DocumentOK(); ok {
			if name, ok := record.Lookup("name").StringValueOK(); ok && name == site {
				return record
			}
		}
	}
	return nil
}

// Resync removes created_dt from a site's record: a person's way of asking for
// the upload of a file that is synced already. Without indexes it does so for all
// files.
func (rep *Representation) Resync(ctx context.Context, site string, files ...int) error {
	return rep.change(ctx, "$unset", site, bson.D{{Key: "created_dt", Value: ""}}, files)
}

// Retry removes tries from a site's record: a person's way of saying that the
// cause of the failures is repaired. Without indexes it does so for all files.
func (rep *Representation) Retry(ctx context.Context, site string, files ...int) error {
	return rep.change(ctx, "$unset", site, bson.D{{Key: "tries", Value: ""}}, files)
}

// Set writes fields into a site's record, as another writer would, such as tries
// and error. Without indexes it does so for all files.
func (rep *Representation) Set(ctx context.Context, site string, fields bson.D, files ...int) error {
	return rep.change(ctx, "$set", site, fields, files)
}

// AddSite pushes the skeleton of a site into all files, as in "sync what was
// published before the site was configured".
func (rep *Representation) AddSite(ctx context.Context, site string) error {
	update := bson.D{{Key: "$push", Value: bson.D{{Key: "files.$[].sites", Value: bson.D{{Key: "name", Value: site}}}}}}
	if rep.dictSites {
		update = bson.D{{Key: "$set", Value: bson.D{{Key: "files.$[].sites." + site, Value: bson.D{}}}}}
	}
	return rep.update(ctx, update)
}

// RemoveSite removes a site's record from all files.
func (rep *Representation) RemoveSite(ctx context.Context, site string) error {
	update := bson.D{{Key: "$pull", Value: bson.D{{Key: "files.$[].sites", Value: bson.D{{Key: "name", Value: site}}}}}}
	if rep.dictSites {
		update = bson.D{{Key: "$unset", Value: bson.D{{Key: "files.$[].sites." + site, Value: ""}}}}
	}
	return rep.update(ctx, update)
}

// Delete deletes the document, not the files.
func (rep *Representation) Delete(ctx context.Context) error {
	if _, err := rep.collection.DeleteOne(ctx, bson.D{{Key: "_id", Value: rep.ID}}); err != nil {
		return fmt.Errorf("delete %s: %w", rep, err)
	}
	return nil
}

// change applies an operator to fields of one site's record, in some files or all.
func (rep *Representation) change(ctx context.Context, operator, site string, fields bson.D, files []int) error {
	places := []string{"files.$[]"}
	if len(files) > 0 {
		places = nil
		for _, i := range files {
			places = append(places, "files."+strconv.Itoa(i))
		}
	}
	var paths bson.D
	for _, place := range places {
		record := place + ".sites.$[site]."
		if rep.dictSites {
			record = place + ".sites." + site + "."
		}
		for _, field := range fields {
			paths = append(paths, bson.E{Key: record + field.Key, Value: field.Value})
		}
	}
	update := bson.D{{Key: operator, Value: paths}}
	if rep.dictSites {
		return rep.update(ctx, update)
	}
	return rep.update(ctx, update, bson.D{{Key: "site.name", Value: site}})
}

func (rep *Representation) update(ctx context.Context, update bson.D, arrayFilters ...any) error {
	o := options.UpdateOne()
	if len(arrayFilters) > 0 {
		o.SetArrayFilters(arrayFilters)
	}
	result, err := rep.collection.UpdateOne(ctx, bson.D{{Key: "_id", Value: rep.ID}}, update, o)
	if err != nil {
		return fmt.Errorf("update %s: %w", rep, err)
	}
	if result.MatchedCount == 0 {
		return fmt.Errorf("update %s: the document is gone", rep)
	}
	return nil
}

// removeTemporary deletes the *.tmp files.
func (rep *Representation) removeTemporary() {
	for _, f := range rep.Files {
		if f.tmp != "" {
			_ = os.Remove(f.tmp) // already renamed, or a leftover at worst
		}
	}
}
