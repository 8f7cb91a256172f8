package mongod

import "syscall"

// Windows cannot pause a process by signal: sending these fails, and says so.
const (
	sigPause  = syscall.Signal(-1)
	sigResume = syscall.Signal(-1)
)

func attributes() *syscall.SysProcAttr { return nil }
