package gdrive

import (
	"context"
	"encoding/json"
	"errors"
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

// scopes say what Google's reasons of class [site.Unavailable] concern, where that is not the whole site.
var scopes = map[string]site.Scope{
	"storageQuotaExceeded":            site.LargeOnes,
	"teamDriveFileLimitExceeded":      site.OneRoot, // or Creations, see asCreationError
	"activeItemCreationLimitExceeded": site.OneRoot, // so too
	folderIsFull:                      site.OneRoot, // so too
	"teamDriveMembershipRequired":     site.OneRoot,
}

// folderIsFull is the reason for a folder that takes no more.
const folderIsFull = "numChildrenInNonRootLimitExceeded"

// rootError is an error of class [site.Unavailable] of one root.
func rootError(format string, args ...any) error {
	return site.UnavailableIn(site.OneRoot, fmt.Errorf(format, args...))
}

// asRootError is asSiteError for requests that are about a root, or what is above it.
func asRootError(err error) error {
	if isRefused(err) {
		return site.UnavailableIn(site.OneRoot, errors.New(err.Error()))
	}
	return err
}

// asCreationError says that an error came of creating something in a folder: what is there already can be updated.
func asCreationError(err error, folder string) error {
	var classed *site.Error
	var answer *answerError
	if !errors.As(err, &classed) || !errors.As(err, &answer) {
		return err
	}
	in := ""
	switch answer.reason {
	case folderIsFull:
		in = folder
		err = fmt.Errorf("folder %s: %w", folder, classed.Err)
	case "teamDriveFileLimitExceeded", "activeItemCreationLimitExceeded":
		err = classed.Err
	default:
		return err
	}
	return &site.Error{Class: site.Unavailable, Err: err, Scope: site.Creations, Folder: in}
}

type mayCreateKey struct{}

// withMayCreate has what is created for an upload ask it before; see [site.Upload].
func withMayCreate(ctx context.Context, ask func(folder string) error) context.Context {
	if ask == nil {
		return ctx
	}
	return context.WithValue(ctx, mayCreateKey{}, ask)
}

// mayCreate reports whether something may be created in a folder.
func mayCreate(ctx context.Context, folder string) error {
	if ask, ok := ctx.Value(mayCreateKey{}).(func(string) error); ok {
		return ask(folder)
	}
	return nil
}
