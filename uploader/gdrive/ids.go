package gdrive

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/api/drive/v3"
)

// idBatch is how many ids are asked for at once; Drive gives up to 1000.
const idBatch = 200

// idPool holds ids for files and folders that are about to be created.
type idPool struct {
	generate func(ctx context.Context, n int64) ([]string, error)

	mu  sync.Mutex
	ids []string
}

// take hands out an id. Whoever finds the pool empty fills it; the others wait for that.
func (p *idPool) take(ctx context.Context) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ids) == 0 {
		ids, err := p.generate(ctx, idBatch)
		if err != nil {
			return "", err
		}
		p.ids = ids
	}
	id := p.ids[len(p.ids)-1]
	p.ids = p.ids[:len(p.ids)-1]
	return id, nil
}

func (s *Site) generateIDs(ctx context.Context, n int64) ([]string, error) {
	var got *drive.GeneratedIds
	err := s.call(ctx, func(ctx context.Context) (err error) {
		got, err = s.api.Files.GenerateIds().Count(n).Space("drive").Type("files").Context(ctx).Do()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("generate ids: %w", err)
	}
	if len(got.Ids) == 0 {
		return nil, fmt.Errorf("generate ids: google drive sent none")
	}
	return got.Ids, nil
}
