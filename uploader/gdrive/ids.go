package gdrive

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/semaphore"
	"google.golang.org/api/drive/v3"

	"sitesync/uploader/site"
)

// idBatch is how many ids are asked for at once; Drive gives up to 1000.
const idBatch = 200

// place is a name in a folder.
type place struct{ folder, name string }

// idPool holds ids for files and folders that are about to be created.
type idPool struct {
	generate func(context.Context) ([]string, error)

	mu       *semaphore.Weighted // guards what follows; unlike a Mutex's, its lock can be given up waiting for
	free     []string
	reserved map[place]string
}

func newIDPool(generate func(context.Context) ([]string, error)) *idPool {
	return &idPool{generate: generate, mu: semaphore.NewWeighted(1), reserved: map[place]string{}}
}

// reserve returns the id to create a file or folder with. It is the same until the place is released, so
// that a create whose outcome is not known can be repeated, also much later, without making a second file.
func (p *idPool) reserve(ctx context.Context, at place) (string, error) {
	if err := p.mu.Acquire(ctx, 1); err != nil {
		return "", err
	}
	defer p.mu.Release(1)
	if id := p.reserved[at]; id != "" {
		return id, nil
	}
	if len(p.free) == 0 {
		ids, err := p.generate(ctx)
		if err != nil {
			return "", err
		}
		p.free = ids
	}
	last := len(p.free) - 1
	id := p.free[last]
	p.free = p.free[:last]
	p.reserved[at] = id
	return id, nil
}

// release says that what is at the place is known, so that its id is of no more use.
func (p *idPool) release(at place) {
	_ = p.mu.Acquire(context.Background(), 1) // can't fail without a deadline
	defer p.mu.Release(1)
	delete(p.reserved, at)
}

// generateIDs asks Drive for ids.
func (s *Site) generateIDs(ctx context.Context) ([]string, error) {
	var got *drive.GeneratedIds
	err := s.call(ctx, func(ctx context.Context) (err error) {
		got, err = s.api.Files.GenerateIds().Count(idBatch).Space("drive").Type("files").Context(ctx).Do()
		if err == nil && len(got.Ids) == 0 {
			err = site.Classed(site.Throttled, errors.New("google drive sent none"))
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("generate ids: %w", err)
	}
	return got.Ids, nil
}
