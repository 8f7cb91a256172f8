package gdrive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"sitesync/site"
)

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
	bytes, known, err = s.storage(ctx)
	return bytes, known, asRootError(err)
}

// storage is how many bytes the account may still store; known is false if there is no limit.
func (s *Site) storage(ctx context.Context) (left int64, known bool, err error) {
	// Google's client cannot tell no limit from the limit 0 of service accounts.
	var about struct {
		StorageQuota struct {
			Limit *int64 `json:"limit,string"`
			Usage int64  `json:"usage,string"`
		}
	}
	err = s.attempt(ctx, func() error {
		res, err := s.send(ctx, http.MethodGet, s.endpoint+"/drive/v3/about?fields=storageQuota", 0, nil, http.Header{})
		if err != nil {
			return err
		}
		defer res.Body.Close()
		return json.NewDecoder(res.Body).Decode(&about)
	})
	if err != nil {
		return 0, false, fmt.Errorf("storage quota: %w", err)
	}
	q := about.StorageQuota
	if q.Limit == nil {
		return 0, false, nil
	}
	return max(*q.Limit-q.Usage, 0), true, nil
}
