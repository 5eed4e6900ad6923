package proxy

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func kindsOf(p *pending) (kinds string) {
	for {
		e, ok := p.first()
		if !ok {
			return kinds
		}
		kinds += string(e.kind)
		p.pop()
	}
}

func pushAll(t *testing.T, p *pending, kinds string) {
	t.Helper()
	for _, kind := range []byte(kinds) {
		if err := p.push(entry{kind: kind}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPendingSkips(t *testing.T) {
	p := newPending()
	failed, kept := &statement{}, &statement{}
	p.push(entry{kind: 'P', statement: failed})
	pushAll(t, p, "BEQ")
	p.skip()
	p.push(entry{kind: 'P', statement: failed}) // while the server still skips
	pushAll(t, p, "SB")
	p.push(entry{kind: 'P', statement: kept})
	if got := kindsOf(p); got != "SBP" || !failed.failed.Load() || kept.failed.Load() {
		t.Errorf("%q is left, failed %t, kept %t", got, failed.failed.Load(), !kept.failed.Load())
	}
}

func TestPendingEndsCopy(t *testing.T) {
	for _, test := range []struct{ pushed, succeeded, failed string }{ // d: copy data
		{"ES", "E", "ES"}, {"ESd", "E", "E"}, {"EdS", "E", "ES"}, {"EcS", "ES", "ES"}, {"ESc", "E", "E"},
		{"ESScSQ", "ESQ", "ESQ"}, {"ESdScSQ", "ESQ", "ESQ"}, {"ESSdS", "E", "ES"}, {"ESdSd", "E", "E"}, {"QScScQ", "QSQ", "QSQ"}, {"QccSQ", "QSQ", "QSQ"},
		{"ESPBES", "EPBES", "ESPBES"}, {"ESdPBES", "EPBES", "EPBES"}, {"EPBESc", "EPBES", "EPBES"}, {"QQScS", "QQSS", "QQSS"}, {"ESQdcQ", "EQQ", "ESQQ"},
	} {
		for failed, want := range map[bool]string{false: test.succeeded, true: test.failed} {
			p := newPending()
			for _, kind := range test.pushed {
				if kind == 'd' {
					p.dataSent()
				} else {
					pushAll(t, p, string(kind))
				}
			}
			p.endCopy(failed)
			if got := kindsOf(p); got != want {
				t.Errorf("%s, failed %v: %s is left, want %s", test.pushed, failed, got, want)
			}
		}
	}
}

func TestPendingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPending()
		for p.hasRoom() {
			pushAll(t, p, "B")
		}
		if p.size != maxPending {
			t.Fatalf("%d entries, want %d", p.size, maxPending)
		}
		waited := make(chan struct{})
		go func() {
			p.awaitRoom()
			close(waited)
		}()
		synctest.Wait()
		select {
		case <-waited:
			t.Fatal("there is no room")
		default:
		}
		p.pop()
		<-waited
	})
}

// What the server leaves without a reply must not fill the queue: a session would wait for ever, and outlive
// its client.
func TestPendingHoldsWhatGetsNoReply(t *testing.T) {
	p := newPending()
	pushAll(t, p, "E")
	for group := range uint32(2 * maxPending) {
		p.push(entry{kind: 'S', group: group})
	}
	for range 2 * maxPending {
		p.push(entry{kind: copyEnd})
	}
	if !p.hasRoom() {
		t.Fatal("the queue is full")
	}
	p.pop()
	for group := range uint32(2 * maxPending) {
		if head, ok := p.first(); !ok || head.kind != 'S' {
			t.Fatalf("%c awaits the reply to Sync %d", head.kind, group)
		}
		if p.readyForQuery('I'); p.answered != group {
			t.Fatalf("group %d is answered, want %d", p.answered, group)
		}
	}
	if left := kindsOf(p); left != "" {
		t.Errorf("%q is left", left)
	}
}

func TestPendingEndsEachCopyOfAQuery(t *testing.T) {
	p := newPending()
	pushAll(t, p, "QccSS")
	p.endCopy(true)
	p.endCopy(true)
	p.pop()
	p.readyForQuery('I')
	if left := kindsOf(p); left != "S" {
		t.Errorf("%q is left, want the second Sync", left)
	}
}

// A server that does not answer the proxy's question keeps no CancelRequest waiting for longer than its own time.
func TestCancelDoesNotWaitForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPending()
		p.status = 'I'
		if err := p.push(entry{kind: 'Q', visibility: hush, question: &question{}}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if p.startCancel(ctx) || ctx.Err() == nil {
			t.Error("it is sent although the question is running")
		}
	})
}
