//go:build unix && !linux

package embedded

import "syscall"

// processAttributes puts a server into a process group of its own, so that a Ctrl-C at the terminal reaches only this process.
func processAttributes(o *owner) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: o.credential()}
}
