package proxy

import (
	"bytes"
	"testing"
	"time"
)

// A configuration without notes has no key: that they need a restart to go is not a reason to refuse the rest.
func TestReloadWithoutKey(t *testing.T) {
	p, err := New(Config{Servers: []Server{{Address: "server"}}, Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Reload(Config{Outbox: OutboxOff, Limits: Limits{Idle: time.Second}}); err != nil {
		t.Fatal(err)
	}
	if now := p.terms.Load(); now.Outbox == OutboxOff || !bytes.Equal(now.Key, testKey) || now.Limits.Idle != time.Second {
		t.Errorf("outbox %v, key %x, limits %+v", now.Outbox, now.Key, now.Limits)
	}
}
