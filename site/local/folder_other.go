//go:build !linux

package local

import "os"

func openRootBelow(root, rel string) (*os.Root, error) { return openRootStepwise(root, rel) }
