//go:build unix && !linux

package mongod

import "syscall"

const (
	sigPause  = syscall.SIGSTOP
	sigResume = syscall.SIGCONT
)

// attributes leaves mongod in the terminal's process group, so that Ctrl-C ends
// it: there is no signal on the parent's death here.
func attributes() *syscall.SysProcAttr { return nil }
