package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Cached returns the path of a file or folder of that name in the cache folder. If it is not there, make makes it under
// another path, and it gets its name when it is complete. Test processes of several packages arrive here at the same
// time: a file lock lets one make it and the others wait.
func Cached(ctx context.Context, name string, make func(path string) error) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache folder for %s (set HOME or XDG_CACHE_HOME): %w", name, err)
	}
	dir := filepath.Join(cache, "sitesync")
	path := filepath.Join(dir, name)
	if exists(path) {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, path+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(path) {
		return path, nil
	}
	temp, err := os.MkdirTemp(dir, name+".*.tmp")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	unfinished := filepath.Join(temp, name)
	if err := make(unfinished); err != nil {
		return "", err
	}
	return path, os.Rename(unfinished, path)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist)
}
