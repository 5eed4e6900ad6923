package main

import (
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

// restartPause is the RestartSec of the systemd unit, shortened.
const restartPause = 300 * time.Millisecond

// service is a pgtee process that is restarted whenever it ends, as its unit file would do.
type service struct {
	chaos   *chaos
	command harness.Command

	excused string // text in the log of a process that may end with an exit code of its own; "": no process may

	mu      sync.Mutex
	process *harness.Process // nil between two processes
	victim  *harness.Process // the last process that was killed deliberately
	ended   bool             // it must not be restarted
	kept    sync.WaitGroup
}

func (c *chaos) newService(name string, args ...string) *service {
	s := &service{chaos: c, command: harness.Command{Name: name, Args: args}}
	c.world.OnClose(func() error { s.end(); return nil })
	return s
}

// keep starts the service again and again until end.
func (s *service) keep() {
	s.kept.Go(func() {
		for {
			p, err := s.start()
			if err != nil {
				s.chaos.complain("%v", err)
				return
			}
			if p == nil {
				return
			}
			<-p.Done()
			s.examine(p)
			time.Sleep(restartPause)
		}
	})
}

// start returns nil if the service must end.
func (s *service) start() (*harness.Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, nil
	}
	p, err := harness.Start(s.chaos.dir, s.command)
	s.process, s.ended = p, err != nil
	return p, err
}

// examine complains about an end that was caused neither by the run nor by an unreachable peer.
func (s *service) examine(p *harness.Process) {
	s.mu.Lock()
	killed := s.victim == p || s.ended
	s.process = nil
	s.mu.Unlock()
	log := p.Log()
	for _, bad := range []string{"panic: ", "fatal error: ", "DATA RACE"} {
		if strings.Contains(log, bad) {
			s.chaos.complain("%s crashed: %s", s.command.Name, p.Tail(60))
			return
		}
	}
	if killed {
		return
	}
	if s.excused != "" && strings.Contains(log, s.excused) {
		return
	}
	code, _ := p.Wait(time.Second)
	s.chaos.note("%s exits with %d: %s", s.command.Name, code, p.Tail(1))
	if code != 2 || strings.Contains(p.Log(), "--help") { // 2: a peer was unreachable at startup, or the flags are wrong
		s.chaos.complain("%s exits with %d: %s", s.command.Name, code, p.Tail(3))
	}
}

// kill kills the running process; it waits for one that is about to be started.
func (s *service) kill() {
	for !s.killed() {
		time.Sleep(10 * time.Millisecond)
	}
}

// killed kills the running process. It returns false if there is none now, but another one will be started.
func (s *service) killed() bool {
	s.mu.Lock()
	p, ended := s.process, s.ended
	s.victim = p
	s.mu.Unlock()
	if p == nil || !p.Running() {
		return ended
	}
	p.Kill()
	return true
}

// pause stops the running process for a while.
func (s *service) pause(wait func()) {
	s.mu.Lock()
	p := s.process
	s.mu.Unlock()
	if p == nil || p.Signal(syscall.SIGSTOP) != nil {
		return
	}
	wait()
	_ = p.Signal(syscall.SIGCONT)
}

// end kills the service for good.
func (s *service) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.killed()
	s.kept.Wait()
}

// stop asks the process to end, and complains if it does not do so properly.
func (s *service) stop() {
	s.mu.Lock()
	s.ended = true
	p := s.process
	s.mu.Unlock()
	if p == nil {
		return
	}
	if err := p.Stop(syscall.SIGTERM, 40*time.Second); err != nil {
		s.chaos.complain("%v", err)
	} else if code, err := p.Wait(time.Second); err != nil || code != 0 {
		s.chaos.complain("%s exits with %d after SIGTERM (%v): %s", s.command.Name, code, err, p.Tail(3))
	}
	s.kept.Wait()
}
