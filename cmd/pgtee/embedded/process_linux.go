package embedded

import "syscall"

// processAttributes puts a server into a process group of its own, so that a Ctrl-C at the terminal
// reaches only us, and has the kernel stop it (fast shutdown) if we die without stopping it.
func processAttributes(o *owner) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: o.credential(), Pdeathsig: syscall.SIGINT}
}
