package main

import (
	"context"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/integration/harness"
)

// lane injects one fault after another; lanes run concurrently, so that faults coincide.
type lane struct {
	name   string
	every  time.Duration // average time between the end of one fault and the start of the next
	faults []fault
}

// fault breaks something and repairs it before it returns.
type fault struct {
	name   string
	weight int
	make   func(*rand.Rand, between)
}

// between draws a time within the bounds, and returns a function that waits for this time or until the storm has ended.
type between func(low, high time.Duration) (wait func())

func (c *chaos) lanes() []lane {
	lanes := []lane{
		{"postgres", 10 * time.Second, c.serverFaults()},
		{"kafka", 15 * time.Second, c.brokerFaults()},
		{"proxy", 4 * time.Second, serviceFaults(c.proxy)},
		{"network-clients", 12 * time.Second, networkFaults(c.clients)},
		{"network-proxy", 12 * time.Second, networkFaults(c.backends)},
	}
	for _, p := range c.publishers {
		lanes = append(lanes, lane{p.command.Name, 2 * time.Second, c.publisherFaults(p)})
	}
	for i, r := range c.decoders {
		lanes = append(lanes, lane{fmt.Sprintf("network-postgres-%d", i+1), 10 * time.Second, networkFaults(r)})
	}
	for i, r := range c.producers {
		lanes = append(lanes, lane{fmt.Sprintf("network-kafka-%d", i+1), 10 * time.Second, networkFaults(r)})
	}
	return c.chosen(lanes)
}

// chosen returns the lanes that the options name.
func (c *chaos) chosen(lanes []lane) []lane {
	return slices.DeleteFunc(lanes, func(l lane) bool {
		named := func(name string) bool { return strings.HasPrefix(l.name, name) }
		return !slices.ContainsFunc(strings.Split(c.options.lanes, ","), named)
	})
}

// drive injects the faults of a lane until ctx ends. Now and then it rests, so that a process that is killed often is also exposed to the faults of
// others.
func (c *chaos) drive(ctx context.Context, l lane, random *rand.Rand) {
	draw := func(low, high time.Duration) func() {
		d := low + time.Duration(random.Int63n(int64(high-low)))
		return func() { sleep(ctx, d) }
	}
	for {
		draw(l.every/5, l.every*9/5)()
		if random.Intn(12) == 0 {
			draw(5*time.Second, 40*time.Second)()
		}
		f := pick(l.faults, random)
		if ctx.Err() != nil {
			return
		}
		c.note("%s: %s", l.name, f.name)
		f.make(random, draw)
		c.note("%s: %s is over", l.name, f.name)
		c.count(l.name + " " + f.name)
	}
}

func pick(faults []fault, random *rand.Rand) fault {
	total := 0
	for _, f := range faults {
		total += f.weight
	}
	n := random.Intn(total)
	for _, f := range faults {
		if n -= f.weight; n < 0 {
			return f
		}
	}
	panic("weights do not add up")
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// The names of the faults that are SIGKILLs and SIGSTOPs.
const (
	kill  = "kill"
	pause = "pause"
)

func serviceFaults(s *service) []fault {
	return []fault{
		{kill, 10, func(*rand.Rand, between) { s.kill() }},
		{pause, 2, func(_ *rand.Rand, draw between) {
			s.pause(draw(100*time.Millisecond, 16*time.Second))
		}},
	}
}

// publisherFaults include kills in the middle of a giant transaction, which would rarely happen by chance.
func (c *chaos) publisherFaults(s *service) []fault {
	return append(serviceFaults(s), fault{"giant-" + kill, 3, func(_ *rand.Rand, draw between) {
		progress := draw(0, 2*time.Second)
		select {
		case <-c.nextGiant():
			progress()
		case <-time.After(15 * time.Second):
		}
		s.kill()
	}})
}

func (c *chaos) serverFaults() []fault { return c.faultsOf(c.server) }

func (c *chaos) faultsOf(server *embedded.Postgres) []fault {
	return []fault{
		{kill, 7, func(_ *rand.Rand, draw between) {
			down := draw(0, 3*time.Second)
			server.Kill()
			down()
			c.restart("PostgreSQL", func() error { return server.Start(context.Background()) })
		}},
		{pause, 3, func(_ *rand.Rand, draw between) {
			hung := draw(100*time.Millisecond, 16*time.Second)
			server.Signal(syscall.SIGSTOP)
			hung()
			server.Signal(syscall.SIGCONT)
		}},
	}
}

func (c *chaos) brokerFaults() []fault {
	if c.cluster > 1 {
		return c.clusterFaults()
	}
	broker := c.brokers[0]
	return []fault{
		{kill, 7, func(_ *rand.Rand, draw between) {
			down := draw(0, 5*time.Second)
			broker.Kill()
			down()
			c.restart("Kafka", broker.Start)
		}},
		{pause, 3, func(_ *rand.Rand, draw between) {
			hung := draw(100*time.Millisecond, 16*time.Second)
			_ = broker.Signal(syscall.SIGSTOP)
			hung()
			_ = broker.Signal(syscall.SIGCONT)
		}},
	}
}

// restart tries until it succeeds, because a killed process may take a moment to end.
func (c *chaos) restart(name string, start func() error) {
	var err error
	for range 5 {
		if err = start(); err == nil {
			return
		}
		c.note("%s does not start: %v", name, err)
		time.Sleep(time.Second)
	}
	c.complain("%s does not start again: %v", name, err)
}

// networkFaults returns the faults of one relay.
func networkFaults(r *harness.Relay) []fault {
	lasting := func(begin func(*rand.Rand)) func(*rand.Rand, between) {
		return func(random *rand.Rand, draw between) {
			begin(random)
			draw(200*time.Millisecond, 14*time.Second)()
			r.Heal()
		}
	}
	return []fault{
		{"cut", 4, func(random *rand.Rand, _ between) { r.Cut(random.Intn(20_000)) }},
		{"reset", 2, func(*rand.Rand, between) { r.Cut(0) }},
		{"forget", 2, func(*rand.Rand, between) { r.Forget() }},
		{"delay", 2, lasting(func(random *rand.Rand) { r.Delay(time.Duration(5+random.Intn(200)) * time.Millisecond) })},
		{"black-hole", 2, lasting(func(*rand.Rand) { r.Freeze(harness.Upstream, harness.Downstream) })},
		{"one-way", 2, lasting(func(random *rand.Rand) { r.Freeze(harness.Direction(random.Intn(2))) })},
		{"vanish", 2, lasting(func(random *rand.Rand) { r.Vanish(harness.Direction(random.Intn(2))) })},
	}
}
