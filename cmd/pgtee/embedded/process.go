package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a running postmaster.
type process struct {
	pid  int
	gone chan struct{} // closed once it has ended and has been waited for
}

// command prepares one of the server's programs, as the server's user and without the environment of this process (PGDATA, PGPORT and the like would
// mislead it).
func (p *Postgres) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.programs.path(program), args...)
	cmd.Dir = p.DataDir()
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = processAttributes(p.owner)
	return cmd
}

// run runs a program to its end; the error contains its last line of output.
func (p *Postgres) run(ctx context.Context, program string, args ...string) error {
	out, err := p.command(ctx, program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s in %s: %w: %s", program, p.config.Dir, err, complaint(out))
	}
	return nil
}

// startProcess starts the postmaster. One goroutine starts it and waits for it, on a thread of its own, because the kernel sends the parent death
// signal when the starting thread ends.
func (p *Postgres) startProcess(args []string) (*process, error) {
	log, err := os.OpenFile(p.LogFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the server's log: %w", err)
	}
	cmd := p.command(context.Background(), "postgres", args...)
	cmd.Stdout, cmd.Stderr = log, log
	started := make(chan error, 1)
	proc := &process{gone: make(chan struct{})}
	go func() {
		runtime.LockOSThread()
		defer log.Close()
		defer close(proc.gone)
		err := cmd.Start()
		if err == nil {
			proc.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			_ = cmd.Wait() // the log says more than the exit status
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	return proc, nil
}

// awaitReady waits until the postmaster's pid file says that it accepts connections.
func (p *Postgres) awaitReady(ctx context.Context, proc *process) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !p.ready(proc.pid) {
		select {
		case <-tick.C:
		case <-proc.gone:
			return p.startError()
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL did not become ready, its log is %s: %w", p.LogFile(), ctx.Err())
		}
	}
	return nil
}

// errPortTaken means that the server found its port in use.
var errPortTaken = errors.New("the port is in use")

// startError returns the server's own message about why it did not start.
func (p *Postgres) startError() error {
	log, _ := os.ReadFile(p.LogFile())
	why := complaint(log)
	if strings.Contains(why, "could not create any TCP/IP sockets") {
		return fmt.Errorf("PostgreSQL did not start on %s: %w", p.Address(), errPortTaken)
	}
	return fmt.Errorf("PostgreSQL did not start, its log is %s: %s", p.LogFile(), why)
}

// ready reads postmaster.pid: line 1 is the pid, line 8 the state (miscadmin.h, LOCK_FILE_LINE_PM_STATUS).
func (p *Postgres) ready(pid int) bool {
	text, err := os.ReadFile(filepath.Join(p.DataDir(), "postmaster.pid"))
	if err != nil {
		return false
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 8 || lines[0] != strconv.Itoa(pid) {
		return false
	}
	state := strings.TrimSpace(lines[7])
	return state == "ready" || state == "standby"
}

func (proc *process) signal(s syscall.Signal) {
	select {
	case <-proc.gone: // the pid may belong to another process by now
	default:
		_ = syscall.Kill(proc.pid, s)
	}
}

// kill ends the postmaster first, so that it does not restart its children, and then the children, which run in sessions of their own.
func (proc *process) kill() {
	children := childrenOf(proc.pid)
	proc.signal(syscall.SIGKILL)
	<-proc.gone
	for _, child := range children {
		_ = syscall.Kill(child, syscall.SIGKILL)
	}
	deadline := time.Now().Add(5 * time.Second)
	for slices.ContainsFunc(children, isRunning) && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond) // they are not children of this process, so their end is not signalled
	}
}

// Signal sends a signal to the postmaster, then to each of its children: SIGSTOP simulates a server that hangs, SIGCONT resumes it.
func (p *Postgres) Signal(s syscall.Signal) {
	if p.process == nil {
		return
	}
	p.process.signal(s)
	for _, child := range childrenOf(p.process.pid) {
		_ = syscall.Kill(child, s)
	}
}

// childrenOf reads Linux's list of child processes. Elsewhere it is empty, and the children end by themselves when they notice that the postmaster
// has ended.
func childrenOf(pid int) []int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var children []int
	for _, field := range strings.Fields(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			children = append(children, child)
		}
	}
	return children
}

// isRunning reads the state in /proc/PID/stat, after the name in parentheses: Z is a process that has ended and has not been waited for.
func isRunning(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	state := text[bytes.LastIndexByte(text, ')')+1:]
	return !bytes.HasPrefix(state, []byte(" Z")) && !bytes.HasPrefix(state, []byte(" X"))
}

// complaint returns the last line of a program's output that contains an error, or the last line.
func complaint(output []byte) string {
	lines := bytes.Split(bytes.TrimSpace(output), []byte("\n"))
	for i := len(lines) - 1; i >= 0; i-- {
		for _, word := range []string{"FATAL:", "error:"} {
			if at := bytes.Index(lines[i], []byte(word)); at >= 0 {
				return strings.TrimSpace(string(lines[i][at+len(word):]))
			}
		}
	}
	return strings.TrimSpace(string(lines[len(lines)-1]))
}
