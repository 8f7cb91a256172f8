//go:build !linux

package local

import "os"

func openBelow(root, rel string) (*os.File, error) { return openInRoot(root, rel) }

func openRootBelow(root, rel string) (*os.Root, error) { return openRootStepwise(root, rel) }
