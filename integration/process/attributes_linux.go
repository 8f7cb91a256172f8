package process

import "syscall"

// attributes lets sitesync stop with the process that started it, however that one ends, and keeps Ctrl-C in a
// terminal from reaching it before its owner.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}
