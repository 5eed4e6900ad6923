//go:build unix

package archive

import (
	"os"
	"syscall"
)

// lockFile locks a file against other processes until it is closed.
func lockFile(file *os.File) error {
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
