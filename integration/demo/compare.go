package main

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"path"

	"sitesync/integration/stage"
	"sitesync/integration/studio"
)

// compareAll compares every synced file on the storage with what Drive has.
func (s *show) compareAll(ctx context.Context) error {
	s.board.enter(comparing)
	for _, it := range s.board.toCompare() {
		if err := s.compare(ctx, it); err != nil {
			return err
		}
	}
	for _, name := range s.stage.Drive.Duplicates() {
		s.board.wrong(name + " is on Drive more than once")
	}
	for _, text := range s.stage.Drive.Violations() {
		s.board.wrong("a request that Drive does not allow: " + text)
	}
	return nil
}

// compare compares the files of a publish.
func (s *show) compare(ctx context.Context, it *item) error {
	var problems []string
	for i, f := range it.rep.Files {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		record, err := it.rep.Record(ctx, i, stage.RemoteSite)
		if err != nil {
			return err
		}
		id, _ := record.Lookup("id").StringValueOK()
		if err := s.compareFile(f, id, path.Join(driveFolders[it.root], f.Rel)); err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", f.Rel, err))
		}
	}
	s.board.compared(it, problems)
	return nil
}

// compareFile compares a file on the storage with the one on Drive that has the id of the record.
func (s *show) compareFile(f studio.File, id, drivePath string) error {
	remote, ok := s.stage.Drive.Get(id)
	if !ok || remote.Trashed {
		return fmt.Errorf("no file on Drive has the id %q of the record", id)
	}
	if remote.Path != drivePath {
		return fmt.Errorf("on Drive it is %s instead of %s", remote.Path, drivePath)
	}
	content, err := s.stage.Drive.Content(id)
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
