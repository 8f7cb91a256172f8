package mongod

import "syscall"

const (
	sigPause  = syscall.SIGSTOP
	sigResume = syscall.SIGCONT
)

// attributes lets mongod die with the process that started it, however that one
// ends, and keeps Ctrl-C in a terminal from reaching it before its owner.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
