//go:build !linux

package uploader

import "os"

func openBelow(root, rel string) (*os.File, error) { return openInRoot(root, rel) }
