package harness

import (
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Direction is one of the two directions of a Relay.
type Direction int

const (
	Upstream   Direction = iota // from the client to the target
	Downstream                  // from the target to the client
)

// Relay is a TCP hop on loopback that simulates a faulty network. It forwards bytes unless one of its faults is in effect; Heal ends the lasting
// ones.
type Relay struct {
	Address string // HOST:PORT to connect to

	listener net.Listener
	target   string
	done     chan struct{} // closed by Close
	closing  sync.Once
	running  sync.WaitGroup

	mu     sync.Mutex
	links  map[*link]bool
	delay  time.Duration
	frozen [2]chan struct{} // by Direction; nil: bytes pass, otherwise closed when they pass again
}

// link is one connection through the relay.
type link struct {
	ends [2]*net.TCPConn // the client, the target

	mu     sync.Mutex
	cutIn  int  // number of bytes until the link is cut
	doomed bool // cutIn is in effect
	lost   bool // nothing passes any more, and neither side is notified
}

// NewRelay opens the listener; Serve sets the target.
func NewRelay() (*Relay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a relay: %w", err)
	}
	return &Relay{Address: listener.Addr().String(), listener: listener, done: make(chan struct{}), links: map[*link]bool{}}, nil
}

// Serve forwards connections to target until Close.
func (r *Relay) Serve(target string) {
	r.target = target
	r.running.Go(func() {
		for {
			client, err := r.listener.Accept()
			if err != nil {
				return
			}
			r.running.Go(func() { r.connect(client.(*net.TCPConn)) })
		}
	})
}

// connect opens the second half of a link and forwards both ways.
func (r *Relay) connect(client *net.TCPConn) {
	server, err := net.DialTimeout("tcp", r.target, 5*time.Second)
	if err != nil {
		reset(client)
		return
	}
	l := &link{ends: [2]*net.TCPConn{client, server.(*net.TCPConn)}}
	r.mu.Lock()
	r.links[l] = true
	r.mu.Unlock()
	select {
	case <-r.done: // Close may not have seen it
		l.reset()
	default:
	}
	var both sync.WaitGroup
	both.Go(func() { r.forward(l, Upstream) })
	both.Go(func() { r.forward(l, Downstream) })
	both.Wait()
	l.reset()
	r.mu.Lock()
	delete(r.links, l)
	r.mu.Unlock()
}

// forward copies one direction to its end. While the direction is frozen, everything waits, including the end.
func (r *Relay) forward(l *link, d Direction) {
	from, to := l.ends[d], l.ends[1-d]
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		r.wait(d)
		if l.isLost() {
			if err != nil {
				return
			}
			continue
		}
		n, cut := l.allow(n)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				cut = true
			}
		}
		switch {
		case cut || err != nil && err != io.EOF:
			l.reset()
			return
		case err != nil:
			_ = to.CloseWrite()
			return
		}
	}
}

// wait returns when the direction is not frozen, and after the delay.
func (r *Relay) wait(d Direction) {
	for {
		r.mu.Lock()
		gate, delay := r.frozen[d], r.delay
		r.mu.Unlock()
		if gate == nil {
			if delay > 0 {
				r.sleep(delay)
			}
			return
		}
		select {
		case <-gate:
		case <-r.done:
			return
		}
	}
}

func (r *Relay) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.done:
	}
}

// allow returns how many of n bytes may still pass, and whether the link must be cut after them.
func (l *link) allow(n int) (int, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.doomed {
		return n, false
	}
	n = min(n, l.cutIn)
	l.cutIn -= n
	return n, l.cutIn == 0
}

func (l *link) isLost() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

func (l *link) reset() {
	reset(l.ends[0])
	reset(l.ends[1])
}

// reset closes a connection so that the peer receives a reset (tcp(7), SO_LINGER of 0).
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// Cut resets every open link after that many more bytes, even in the middle of a message; 0: immediately.
func (r *Relay) Cut(after int) {
	r.each(func(l *link) {
		l.mu.Lock()
		l.doomed, l.cutIn = true, after
		l.mu.Unlock()
		if after == 0 {
			l.reset()
		}
	})
}

// Freeze turns these directions into a black hole until Heal: connections stay, new ones are accepted, nothing arrives.
func (r *Relay) Freeze(directions ...Direction) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range directions {
		if r.frozen[d] == nil {
			r.frozen[d] = make(chan struct{})
		}
	}
}

// Vanish ends the connections of one side as if its machine had lost power: the other side is not notified until Heal. Upstream: the clients vanish;
// Downstream: the target does.
func (r *Relay) Vanish(side Direction) {
	r.Freeze(Upstream, Downstream)
	r.each(func(l *link) { reset(l.ends[side]) })
}

// Forget loses every open link for good, like a firewall that loses its state: both ends stay open and receive nothing any more, not even each
// other's end. New connections work.
func (r *Relay) Forget() {
	r.each(func(l *link) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.lost = true
	})
}

// Delay delays all data by this time until Heal.
func (r *Relay) Delay(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay = d
}

// Heal ends Freeze, Vanish and Delay.
func (r *Relay) Heal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay = 0
	for d, gate := range r.frozen {
		if gate != nil {
			close(gate)
			r.frozen[d] = nil
		}
	}
}

func (r *Relay) each(f func(*link)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := range r.links {
		f(l)
	}
}

// Close ends every connection and waits for all goroutines.
func (r *Relay) Close() (err error) {
	r.closing.Do(func() {
		close(r.done)
		err = r.listener.Close()
		r.each(func(l *link) { l.reset() })
		r.running.Wait()
	})
	return err
}
