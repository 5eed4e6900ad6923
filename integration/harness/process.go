package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Command says how to start a Process.
type Command struct {
	Name string   // of the log file: "proxy", "kafka"
	Args []string // the program and its arguments
	Env  []string // in addition to the environment of the tests
	Dir  string   // working directory; "": that of the tests

	// User is the user as which it is started; nil: that of the tests.
	User *syscall.Credential
	// Death is the signal sent to it when the tests die without stopping it; 0 means SIGKILL.
	Death syscall.Signal
}

// Process is a child process of the tests. It leads a process group of its own, writes stdout and stderr to one log file, and gets Command.Death from
// the kernel when the tests die.
type Process struct {
	Name    string
	Started time.Time

	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when the process has ended and err is set
	err  error
	peak atomic.Int64 // of memory, in bytes
}

// Start starts c, with its log in the folder dir.
func Start(dir string, c Command) (*Process, error) {
	log, err := os.CreateTemp(dir, c.Name+"-*.log")
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	defer log.Close()
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Dir = c.Dir
	cmd.Stdout = log
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: c.User, Pdeathsig: c.Death}
	if c.Death == 0 {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	if err := spawn(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	p := &Process{Name: c.Name, Started: time.Now(), cmd: cmd, log: log.Name(), done: make(chan struct{})}
	go func() { // ends with the process; Wait, Kill and Stop wait for it
		p.err = cmd.Wait()
		close(p.done)
	}()
	go p.watchMemory()
	return p, nil
}

// watchMemory tracks the process's peak memory until it ends. The value of getrusage(2) begins with the memory of the tests themselves when they
// started the process.
func (p *Process) watchMemory() {
	for {
		p.lookAtMemory()
		select {
		case <-p.done:
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// lookAtMemory reads VmHWM of /proc/PID/status (proc(5)), in kilobytes; a process that has ended has none.
func (p *Process) lookAtMemory() {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return
	}
	_, after, found := strings.Cut(string(text), "VmHWM:")
	if fields := strings.Fields(after); found && len(fields) > 0 {
		kilobytes, _ := strconv.ParseInt(fields[0], 10, 64)
		p.peak.Store(max(p.peak.Load(), kilobytes*1024))
	}
}

// The kernel sends the parent death signal when the *thread* that started the child ends (prctl(2), PR_SET_PDEATHSIG). Therefore one goroutine starts
// every child, on a thread that it keeps.
var (
	spawner  sync.Once
	commands = make(chan func())
)

func spawn(cmd *exec.Cmd) error {
	spawner.Do(func() {
		go func() { // runs as long as the tests
			runtime.LockOSThread()
			for start := range commands {
				start()
			}
		}()
	})
	result := make(chan error)
	commands <- func() { result <- cmd.Start() }
	return <-result
}

// Lower lets the process have only the processor time that others leave, as if it ran on another machine.
func (p *Process) Lower() error {
	const niceness = 19
	if err := syscall.Setpriority(syscall.PRIO_PGRP, p.PID(), niceness); err != nil { // of a process group: all of its threads
		return fmt.Errorf("lower the priority of %s: %w", p.Name, err)
	}
	return nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running reports whether the process has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Alive returns an error once the process has ended: waiting for its effects is then pointless. For a process that was never started it returns nil.
func (p *Process) Alive() error {
	if p == nil || p.Running() {
		return nil
	}
	return fmt.Errorf("%s has ended; its log ends with\n%s", p.Name, p.Tail(20))
}

// StopWell asks the process to end, and returns an error unless it does so in time and with exit code 0.
func (p *Process) StopWell() error {
	if err := p.Stop(syscall.SIGTERM, 40*time.Second); err != nil {
		return err
	}
	if code, err := p.Wait(time.Second); err != nil || code != 0 {
		return fmt.Errorf("%s exits with %d after SIGTERM (%v): %s", p.Name, code, err, p.Tail(3))
	}
	return nil
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal to the process, but not to its group.
func (p *Process) Signal(s syscall.Signal) error {
	p.lookAtMemory()
	return p.cmd.Process.Signal(s)
}

// Kill ends the process group with SIGKILL and waits for the process.
func (p *Process) Kill() {
	if p.Running() {
		_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
	}
	<-p.done
}

// Stop sends s and waits for the end; after the timeout it kills the group and returns an error.
func (p *Process) Stop(s syscall.Signal, timeout time.Duration) error {
	if !p.Running() {
		return nil
	}
	if err := p.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.Name, err)
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(timeout):
		p.Kill()
		return fmt.Errorf("stop %s: still running %v after %v, killed", p.Name, timeout, s)
	}
}

// Wait waits for the end and returns the exit code; -1 means that a signal ended the process.
func (p *Process) Wait(timeout time.Duration) (int, error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(timeout):
		return 0, fmt.Errorf("wait for %s: still running after %v; its log ends with\n%s", p.Name, timeout, p.Tail(20))
	}
}

// CPU returns the processor time used by the ended process and its children.
func (p *Process) CPU() time.Duration {
	<-p.done
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// PeakRSS returns the maximum memory of the process, in bytes, as sampled twenty times a second.
func (p *Process) PeakRSS() int64 {
	<-p.done
	return p.peak.Load()
}

// CPUSoFar returns the processor time used by the running process itself.
func (p *Process) CPUSoFar() (time.Duration, error) { return cpuOf(p.PID(), 2) }

// cpuOf adds up a number of fields of /proc/PID/stat, starting with the 14th, in hundredths of a second (proc(5)): utime, stime, and those of
// the children that have ended, cutime and cstime.
func cpuOf(pid, fields int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	all := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(all) < 15 {
		return 0, fmt.Errorf("/proc/%d/stat: only %d fields", pid, len(all))
	}
	var ticks time.Duration
	for _, field := range all[11 : 11+fields] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond, nil
}

// Log returns everything that the process has written.
func (p *Process) Log() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Tail returns the last n lines of the log.
func (p *Process) Tail(n int) string {
	lines := strings.Split(strings.TrimRight(p.Log(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
