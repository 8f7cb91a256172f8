package main

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"path"

	"sitesync/integration/studio"
	"sitesync/integration/testenv"
)

// compareAll compares every synced file on the storage with what Drive has.
func (r *runner) compareAll(ctx context.Context) error {
	r.tracker.enter(comparing)
	for _, it := range r.tracker.toCompare() {
		if err := r.compare(ctx, it); err != nil {
			return err
		}
	}
	for _, name := range r.env.Drive.Duplicates() {
		r.tracker.addProblem(name + " is on Drive more than once")
	}
	for _, text := range r.env.Drive.Violations() {
		r.tracker.addProblem("a request that Drive does not allow: " + text)
	}
	return nil
}

// compare compares the files of a publish.
func (r *runner) compare(ctx context.Context, it *item) error {
	var problems []string
	for i, f := range it.rep.Files {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		record, err := it.rep.Record(ctx, i, testenv.RemoteSite)
		if err != nil {
			return err
		}
		id, _ := record.Lookup("id").StringValueOK()
		if err := r.compareFile(f, id, path.Join(driveFolders[it.root], f.Rel)); err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", f.Rel, err))
		}
	}
	r.tracker.compared(it, problems)
	return nil
}

// compareFile compares a file on the storage with the one on Drive that has the id of the record.
func (r *runner) compareFile(f studio.File, id, drivePath string) error {
	remote, ok := r.env.Drive.Get(id)
	if !ok || remote.Trashed {
		return fmt.Errorf("no file on Drive has the id %q of the record", id)
	}
	if remote.Path != drivePath {
		return fmt.Errorf("on Drive it is %s instead of %s", remote.Path, drivePath)
	}
	content, err := r.env.Drive.Content(id)
	if err != nil {
		return err
	}
	defer content.Close()
	sum := md5.New()
	if _, err := io.Copy(sum, content); err != nil {
		return err
	}
	local, err := f.Sum()
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != local || remote.MD5 != local {
		return fmt.Errorf("MD5 %s on the storage, %s of what Drive holds, %s as Drive says", local, got, remote.MD5)
	}
	return nil
}
