package gdrive

import (
	"context"
	"errors"
	"fmt"
	"sync"

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
	filling  *semaphore.Weighted // one asks for ids, the others wait for that

	mu       sync.Mutex
	free     []string
	reserved map[place]string
}

func newIDPool(generate func(context.Context) ([]string, error)) *idPool {
	return &idPool{generate: generate, filling: semaphore.NewWeighted(1), reserved: map[place]string{}}
}

// reserve returns the id to create a file or folder with. It is the same until the place is released, so
// that a create whose outcome is not known can be repeated, also much later, without making a second file.
func (p *idPool) reserve(ctx context.Context, at place) (string, error) {
	for {
		if id := p.take(at); id != "" {
			return id, nil
		}
		if err := p.fill(ctx); err != nil {
			return "", err
		}
	}
}

// take returns the id of the place, or reserves one. It returns "" if there is none.
func (p *idPool) take(at place) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reserved[at] == "" && len(p.free) > 0 {
		p.reserved[at] = p.free[0]
		p.free = p.free[1:]
	}
	return p.reserved[at]
}

// fill gets more ids if there are none.
func (p *idPool) fill(ctx context.Context) error {
	if err := p.filling.Acquire(ctx, 1); err != nil {
		return err
	}
	defer p.filling.Release(1)
	p.mu.Lock()
	n := len(p.free)
	p.mu.Unlock()
	if n > 0 {
		return nil
	}
	ids, err := p.generate(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = ids
	return nil
}

// release says that what is at the place is known, so that its id is of no more use.
func (p *idPool) release(at place) {
	p.mu.Lock()
	defer p.mu.Unlock()
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
