package gdrive

import (
	"context"
	"strings"

	"google.golang.org/api/drive/v3"
)

// Room is how much space there is for uploads, as far as Google tells.
type Room struct {
	Known bool  // Google tells it for My Drive only, not for shared drives
	Limit int64 // bytes; 0: none
	Used  int64 // bytes, those in the trash included
}

// Room asks how much space is left, in one request, and in none if all roots are on shared drives, where there is no
// such number. It is made at the site's pace, as any other.
func (s *Site) Room(ctx context.Context) (Room, error) {
	mine := false
	for _, root := range s.roots {
		first, _, _ := strings.Cut(strings.TrimPrefix(root, "/"), "/")
		mine = mine || first == myDrive
	}
	if !mine {
		return Room{}, nil
	}
	var about *drive.About
	err := s.call(ctx, func(ctx context.Context) (err error) {
		about, err = s.api.About.Get().Fields("storageQuota(limit,usage)").Context(ctx).Do()
		return err
	})
	if err != nil {
		return Room{}, err
	}
	if about.StorageQuota == nil {
		return Room{}, nil
	}
	return Room{Known: true, Limit: about.StorageQuota.Limit, Used: about.StorageQuota.Usage}, nil
}
