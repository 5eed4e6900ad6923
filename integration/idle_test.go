package integration

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

const (
	someIdle   = 300
	idleBytes  = 15 << 10 // of heap and stacks, for a session that has written and waits
	fixedBytes = 1 << 20  // for all of them: memory pools, tables of sessions
)

// TestIdleSessions opens sessions through the built proxy that write once and wait, all at the same time. SESSIONS is
// how many; make idle-sessions has 2,000.
func TestIdleSessions(t *testing.T) {
	count := someIdle
	if n, err := strconv.Atoi(os.Getenv("SESSIONS")); err == nil {
		count = n
	}
	server, err := world.StartPostgres(15, map[string]string{"max_connections": strconv.Itoa(count + 100)})
	if err != nil {
		t.Fatal(err)
	}
	w := &tap{url: server.URL}
	w.setup(t)
	w.admin(t, t.Context(), tapDatabase, bytesSchema)
	p := startNoting(t, server.URL(tapDatabase))
	before := p.atRest(t)
	sessions := openIdle(t, p.address, count)
	opened := time.Now()
	after := p.atRest(t)
	each := func(name string) int { return int(after[name]-before[name]) / count }
	heap, stack := each("go_memstats_heap_alloc_bytes"), each("go_memstats_stack_inuse_bytes")
	held := heap + stack
	t.Logf("idle sessions=%d heap_bytes_each=%d stack_bytes_each=%d rss_bytes_each=%d rss_mb=%d goroutines_each=%d", count, heap, stack,
		each("process_resident_memory_bytes"), int(after["process_resident_memory_bytes"])>>20, each("go_goroutines"))
	if open := int(after["pgtee_sessions_open"]); open != count {
		t.Errorf("%d sessions are open, want %d", open, count)
	}
	if held > idleBytes+fixedBytes/count {
		t.Errorf("a session holds %d bytes, more than %d", held, idleBytes+fixedBytes/count)
	}
	answer(t, sessions)
	t.Logf("all answer after %v", time.Since(opened).Round(time.Millisecond))
}

// startNoting starts the built proxy with notes.
func startNoting(t *testing.T, url string) *proxyProcess {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(hex.EncodeToString(make([]byte, 32))), 0o600); err != nil {
		t.Fatal(err)
	}
	return startProxy(t, "--postgres", url, "--outbox", "table", "--key", key)
}

// openIdle returns sessions that have written once, in either protocol.
func openIdle(t *testing.T, address string, count int) []*wire {
	sessions := make([]*wire, count)
	t.Cleanup(func() {
		for _, w := range sessions {
			if w != nil {
				w.conn.Close()
			}
		}
	})
	var openers sync.WaitGroup
	for first := range 16 {
		openers.Go(func() {
			for i := first; i < count; i += 16 {
				var err error
				if sessions[i], err = openWriter(address, i%2 == 1); err != nil {
					t.Errorf("session %d: %v", i, err)
					return
				}
			}
		})
	}
	openers.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return sessions
}

func openWriter(address string, extended bool) (*wire, error) {
	w, err := openWire(address, false, 0, tapDatabase)
	if err != nil {
		return nil, err
	}
	const sql = "INSERT INTO t VALUES (1)"
	write := simple(sql).messages
	if extended {
		write = append(once(sql), sync_)
	}
	got, err := w.run(write...)
	if err == nil && !strings.Contains(got, "INSERT 0 1") {
		err = errors.New(got)
	}
	return w, err
}

// answer has each session answer once more.
func answer(t *testing.T, sessions []*wire) {
	for i, w := range sessions {
		if got, err := w.run(simple("SELECT 1").messages...); err != nil || !strings.Contains(got, "SELECT 1") {
			t.Fatalf("session %d: %s (%v)", i, got, err)
		}
	}
}

// atRest returns the proxy's metrics after collections of garbage, which the asking makes: the second one finds the
// memory pools given back, and at the third all that it has found has been swept.
func (p *proxyProcess) atRest(t *testing.T) map[string]float64 {
	const collections, heap = "go_gc_duration_seconds_count", "go_memstats_heap_alloc_bytes"
	var rest map[string]float64
	first := p.values(t)
	deadline := time.Now().Add(30 * time.Second)
	for {
		now := p.values(t)
		switch ran := now[collections] - first[collections]; {
		case ran >= 3:
			return rest
		case ran == 2 && (rest == nil || now[heap] < rest[heap]):
			rest = now
		}
		if time.Now().After(deadline) {
			t.Fatal("the proxy does not collect garbage")
		}
	}
}

// values are those metrics that have no labels.
func (p *proxyProcess) values(t *testing.T) map[string]float64 {
	text, err := harness.Metrics(p.metrics)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if number, err := strconv.ParseFloat(value, 64); err == nil {
			values[name] = number
		}
	}
	return values
}
