package embedded

import "syscall"

// processAttributes puts a server into a process group of its own, so that a Ctrl-C at the terminal reaches only this process, and makes the kernel
// stop the server (fast shutdown) if this process dies without stopping it.
func processAttributes(o *owner) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: o.credential(), Pdeathsig: syscall.SIGINT}
}
