// Package harness starts what the integration tests and the benchmarks drive: the built binary, real PostgreSQL servers, a real Apache Kafka broker.
// Everything listens on loopback, on free ports, and keeps its data in one temporary folder, which is removed when the process ends, however it ends.
package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// World is the temporary folder and everything that runs in it.
type World struct {
	Dir    string // temporary; removed at the end
	Source string // the repository's root

	mu      sync.Mutex
	closers []func() error // in starting order
	janitor *os.File
}

// Open creates the temporary folder. A small janitor process removes it even if the tests are killed.
func Open() (*World, error) {
	source, err := sourceRoot()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pgtee-test-")
	if err != nil {
		return nil, fmt.Errorf("make the temporary folder: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL runs as another user
		return nil, fmt.Errorf("make the temporary folder: %w", err)
	}
	w := &World{Dir: dir, Source: source}
	if err := w.startJanitor(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return w, nil
}

// startJanitor starts a shell that waits for the end of its standard input, which the kernel closes when this process dies, and then removes the
// folder; it tries for ten seconds, because the servers may still be ending.
func (w *World) startJanitor() error {
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start the janitor: %w", err)
	}
	defer read.Close()
	cmd := exec.Command("sh", "-c", `cat; for i in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$1" && exit; sleep 1; done`, "sh", w.Dir)
	cmd.Stdin = read
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the janitor: %w", errors.Join(err, write.Close()))
	}
	w.janitor = write
	return nil
}

// OnClose makes Close call f, in reverse order of registration.
func (w *World) OnClose(f func() error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closers = append(w.closers, f)
}

// Close ends everything that runs in w and removes the folder.
func (w *World) Close() error {
	w.mu.Lock()
	closers := w.closers
	w.closers = nil
	w.mu.Unlock()
	var errs []error
	for i := len(closers) - 1; i >= 0; i-- {
		errs = append(errs, closers[i]())
	}
	return errors.Join(append(errs, os.RemoveAll(w.Dir), w.janitor.Close())...)
}

// Sub creates the folder name, or name with a number appended, in the temporary folder.
func (w *World) Sub(name string) (string, error) {
	dir, err := os.MkdirTemp(w.Dir, name+"-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// sourceRoot finds go.mod above the working directory.
func sourceRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("no go.mod above the working directory: run the tests inside the repository")
}

// FreeAddress returns a loopback address on which nothing was listening a moment ago.
func FreeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// DeadAddress returns a loopback address that refuses connections, and continues to do so until it is released.
func DeadAddress() (address string, release func() error, err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return "", nil, err
	}
	bound := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	name, err := syscall.Getsockname(fd)
	if err := errors.Join(bound, err); err != nil {
		return "", nil, errors.Join(err, syscall.Close(fd))
	}
	in4 := name.(*syscall.SockaddrInet4)
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(in4.Port)), func() error { return syscall.Close(fd) }, nil
}

// Eventually calls f until it returns nil, and at the deadline gives up with its last error.
func Eventually(timeout time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", timeout, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
