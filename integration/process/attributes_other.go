//go:build !linux

package process

import "syscall"

// attributes leaves sitesync in the terminal's process group, so that Ctrl-C ends it: there is no signal on the
// parent's death here.
func attributes() *syscall.SysProcAttr { return nil }
