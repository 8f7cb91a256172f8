package gdrive

import (
	"context"
	"strings"

	"google.golang.org/api/drive/v3"

	"sitesync/site"
)

// Quota asks how much space is left, in one request, and in none if all roots are on shared drives, where there is no
// such number. It is made at the site's pace, as any other.
func (s *Site) Quota(ctx context.Context) (site.Quota, error) {
	mine := false
	for _, root := range s.roots {
		first, _, _ := strings.Cut(strings.TrimPrefix(root, "/"), "/")
		mine = mine || first == myDrive
	}
	if !mine {
		return site.Quota{}, nil
	}
	var about *drive.About
	err := s.call(ctx, func(ctx context.Context) (err error) {
		about, err = s.api.About.Get().Fields("storageQuota(limit,usage)").Context(ctx).Do()
		return err
	})
	if err != nil {
		return site.Quota{}, err
	}
	if about.StorageQuota == nil {
		return site.Quota{}, nil
	}
	return site.Quota{Known: true, Limit: about.StorageQuota.Limit, Used: about.StorageQuota.Usage}, nil
}
