package proxy

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// cluster is two servers whose roles the test decides.
type cluster struct {
	mu    sync.Mutex
	roles map[string]Role // an address that is not here does not answer
}

func (c *cluster) set(address string, role Role) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.roles[address] = role
}

func (c *cluster) remove(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.roles, address)
}

func (c *cluster) servers(addresses ...string) (list []Server) {
	for _, address := range addresses {
		list = append(list, Server{Address: address, Role: func(context.Context) (Role, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			role, ok := c.roles[address]
			if !ok {
				return role, errors.New("does not answer")
			}
			return role, nil
		}})
	}
	return list
}

func TestTargets(t *testing.T) {
	standby, readOnly := Role{Standby: true}, Role{ReadOnly: true}
	for target, want := range map[Target]string{
		TargetAny: "a b c", TargetReadWrite: "c", TargetReadOnly: "a b", TargetPrimary: "b c", TargetStandby: "a", TargetPreferStandby: "a b c",
	} {
		synctest.Test(t, func(t *testing.T) {
			c := cluster{roles: map[string]Role{"a": standby, "b": readOnly, "c": {}}}
			h := newHouse(t, Config{Servers: c.servers("a", "b", "c"), Target: target}).proxy.hosts
			time.Sleep(time.Millisecond) // all have been asked
			list, err := h.choose(t.Context(), time.Second)
			got := ""
			for _, server := range list {
				got += " " + server.Address
			}
			if strings.TrimSpace(got) != want || err != nil {
				t.Errorf("%s: %s (%v), want %s", target, got, err, want)
			}
		})
	}
}

// A session waits for a promotion, but not for ever; and one that a standby is promoted under is refused.
func TestFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster{roles: map[string]Role{"a": {Standby: true}}}
		h := newHouse(t, Config{Servers: c.servers("a", "b"), Target: TargetPrimary})
		early := h.knock(annInShop)
		time.Sleep(11 * time.Second)
		if got, _ := early.client.heard(); !strings.Contains(string(got), "08001") || !strings.Contains(string(got), "a: standby") || !strings.Contains(string(got), "b: does not answer") {
			t.Errorf("after ten seconds: %q", got)
		}
		ann := h.knock(annInShop)
		time.Sleep(3 * time.Second)
		c.set("a", Role{})
		ann.meet()
		ann.answers("Authentication 0", "ParameterStatus in_hot_standby on", "ReadyForQuery I")
		if got, _ := ann.heard(); !strings.Contains(got, "57P03") {
			t.Errorf("at a server that is a standby all the same: %q", got)
		}
	})
}

// That a server is the primary is what it said up to a second ago: when it dies or shuts down, who comes meanwhile waits for
// the next one.
func TestPrimaryDies(t *testing.T) {
	for name, die := range map[string]func(*guest){
		"dies": func(g *guest) { g.server.conn.Close() },
		"shuts down": func(g *guest) {
			g.answers(`ErrorResponse S=FATAL V=FATAL C=57P03 "M=the database system is shutting down"`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := cluster{roles: map[string]Role{"a": {}, "b": {Standby: true}}}
				h := newHouse(t, Config{Servers: c.servers("a", "b"), Target: TargetPrimary})
				time.Sleep(time.Millisecond) // both have been asked
				ann := h.knock(annInShop)
				ann.meet()
				c.remove("a")
				die(ann)
				time.Sleep(3 * time.Second)
				if got, _ := ann.client.heard(); len(got) > 0 || len(h.dialed) > 0 {
					t.Errorf("while there is no primary the client hears %q", got)
				}
				c.set("b", Role{})
				if time.Sleep(2 * time.Second); len(h.dialed) == 0 {
					got, _ := ann.client.heard()
					t.Fatalf("no session at the next primary; the client hears %q", got)
				}
				ann.meet()
				ann.welcome("abcd")
				if got, _ := ann.heard(); !strings.HasSuffix(got, "Z\x00\x00\x00\x05I") {
					t.Errorf("the client hears %q", got)
				}
			})
		})
	}
}
