package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// save writes what would be lost with the servers: the documents, the files on Drive, the requests to it, and the logs
// of MongoDB.
func (c *chaos) save(dir string) error {
	var errs []error
	write := func(name string, content any) {
		data, err := json.MarshalIndent(content, "", "  ")
		errs = append(errs, err, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	write("drive.json", c.env.Drive.Files())
	write("requests.json", c.env.Drive.Log())
	for i, m := range c.env.Mongo.Members() {
		errs = append(errs, os.WriteFile(filepath.Join(dir, fmt.Sprintf("mongod%d.log", i)), []byte(m.Log(100<<20)),
			0o600))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, database := range []string{"avalon", "sitesync"} {
		errs = append(errs, c.dump(ctx, database, filepath.Join(dir, database+".json")))
	}
	return errors.Join(errs...)
}

// dump writes each document of a database on a line of its own.
func (c *chaos) dump(ctx context.Context, database, path string) error {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	db := c.env.Mongo.Client().Database(database)
	names, err := db.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		return err
	}
	for _, name := range names {
		cursor, err := db.Collection(name).Find(ctx, bson.D{})
		if err != nil {
			return err
		}
		for cursor.Next(ctx) {
			text, err := bson.MarshalExtJSON(cursor.Current, false, false)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "%s %s\n", name, text)
		}
		if err := cursor.Err(); err != nil {
			return err
		}
	}
	return nil
}
