package gdrive

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"sitesync/site"
)

// Quota is part of [site.Quotaer]. It is one request, and none if all roots are on shared drives, which have no such
// number.
func (s *Site) Quota(ctx context.Context) (site.Quota, error) {
	mine := false
	for _, root := range s.roots {
		first, _, _ := strings.Cut(strings.TrimPrefix(root, "/"), "/")
		mine = mine || first == myDrive
	}
	if !mine {
		return site.Quota{}, nil
	}
	q, _, err := s.storage(ctx)
	return q, err
}

// Left is part of [site.Backend]. Google reports it for what the account owns, so not for shared drives.
func (s *Site) Left(ctx context.Context, root string) (bytes int64, known bool, err error) {
	f, err := s.folders.resolve(ctx, root)
	if err != nil {
		return 0, false, err
	}
	got, err := s.get(ctx, f.id, "driveId")
	if err != nil || got.DriveId != "" {
		return 0, false, asRootError(err)
	}
	q, limited, err := s.storage(ctx)
	return max(q.Limit-q.Used, 0), limited, asRootError(err)
}

// storage returns the storage of the account, and whether it has a limit, which is 0 for service accounts.
func (s *Site) storage(ctx context.Context) (q site.Quota, limited bool, err error) {
	// Google's client cannot tell no limit from the limit 0.
	var about struct {
		StorageQuota *struct {
			Limit *int64 `json:"limit,string"`
			Usage int64  `json:"usage,string"`
		}
	}
	err = s.attempt(ctx, func() error {
		address := s.endpoint + "/drive/v3/about?fields=storageQuota(limit,usage)"
		res, err := s.send(ctx, http.MethodGet, address, 0, nil, http.Header{})
		if err != nil {
			return err
		}
		defer res.Body.Close()
		return json.NewDecoder(res.Body).Decode(&about)
	})
	switch got := about.StorageQuota; {
	case err != nil:
		return site.Quota{}, false, fmt.Errorf("storage quota: %w", err)
	case got == nil:
		return site.Quota{}, false, nil
	case got.Limit == nil:
		return site.Quota{Known: true, Used: got.Usage}, false, nil
	default:
		return site.Quota{Known: true, Limit: *got.Limit, Used: got.Usage}, true, nil
	}
}
