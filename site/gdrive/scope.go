package gdrive

import (
	"context"
	"errors"
	"fmt"

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
