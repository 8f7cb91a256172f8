//go:build !linux

package mongod

import (
	"context"
	"fmt"
	"runtime"
)

// fetch has nothing to download outside Linux.
func fetch(context.Context, string) error {
	return fmt.Errorf("there is no download for %s/%s", runtime.GOOS, runtime.GOARCH)
}
