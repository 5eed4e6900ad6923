package publisher

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// A failure that turns into another one, or lasts, is told again; one that comes again is not.
func TestTroublesAreTold(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	now := time.Unix(0, 0)
	p := newPublisher(Config{Prefix: "shop", Log: zap.New(core)}.WithDefaults(), nil, nil, tableFormat{})
	p.now = func() time.Time { return now }
	for _, test := range []struct {
		after time.Duration
		err   error
		told  int
	}{
		{0, fmt.Errorf("dial: %w", errors.New("refused")), 1},
		{5 * time.Second, fmt.Errorf("dial 127.0.0.1:%d: %w", 5, errors.New("refused")), 1},
		{5 * time.Second, fmt.Errorf("produce: %w", kerr.NotEnoughReplicas), 2},
		{5 * time.Second, fmt.Errorf("produce to t: %w", saying{kerr.NotEnoughReplicas, "t"}), 2},
		{5 * time.Second, fmt.Errorf("produce to u: %w", saying{kerr.NotEnoughReplicas, "u"}), 2},
		{5 * time.Minute, fmt.Errorf("produce: %w", kerr.NotEnoughReplicas), 3},
	} {
		now = now.Add(test.after)
		p.logTrouble("retrying", test.err)
		if logs.Len() != test.told {
			t.Errorf("%v at %v: told %d times, want %d", test.err, now, logs.Len(), test.told)
		}
	}
}

// A failure of every publication is one trouble, though the fence succeeds each time.
func TestTroubleLastsUntilSomethingIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		log := &refusingLog{}
		source := listOf(rowAt(100))
		p := newPublisher(Config{Prefix: "shop", Slot: "pgtee", Log: zap.New(core)}.WithDefaults(), func(context.Context) (Source, error) { return source, nil }, log, tableFormat{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		time.Sleep(4 * time.Minute)
		if n := logs.FilterMessage("retrying").Len(); n != 1 {
			t.Errorf("told %d times in four minutes", n)
		}
		log.kind.Store(true)
		time.Sleep(time.Minute)
		if n := logs.FilterMessage("publishing again").Len(); n != 1 || p.Stats().Published != 100 {
			t.Errorf("%d times at work again, %+v", n, p.Stats())
		}
		cancel()
		<-done
	})
}

// refusingLog takes no records until it is kind.
type refusingLog struct {
	memoryLog
	kind atomic.Bool
}

func (l *refusingLog) Publish(ctx context.Context, b *record.Batch, p Position) error {
	if !l.kind.Load() {
		return fmt.Errorf("produce to shop.s.t: %w", kerr.TopicAuthorizationFailed)
	}
	return l.memoryLog.Publish(ctx, b, p)
}

// saying is an error code with words of the broker, which change.
type saying struct {
	code error
	text string
}

func (s saying) Error() string { return s.code.Error() + " (" + s.text + ")" }
func (s saying) Unwrap() error { return s.code }

// What the server cannot decode for half a minute, at one place and in one way, no retry will cure; anything else may pass.
func TestUndecodableTransaction(t *testing.T) {
	now := time.Unix(0, 0)
	var decoding undecodable
	at := func(lsn, message string) error {
		return fmt.Errorf("slot s, after %s: %w: %s", lsn, outbox.ErrDecoding, message)
	}
	for i, test := range []struct {
		after time.Duration
		err   error
		halts bool
	}{
		{0, at("0/1", "unexpected duplicate"), false},
		{25 * time.Second, at("0/1", "unexpected duplicate"), false},
		{10 * time.Second, at("0/1", "cache lookup failed"), false},
		{25 * time.Second, at("0/2", "cache lookup failed"), false},
		{25 * time.Second, at("0/2", "cache lookup failed"), false},
		{10 * time.Second, at("0/2", "cache lookup failed"), true},
	} {
		now = now.Add(test.after)
		if err := decoding.haltIfPersistent(test.err, now); errors.Is(err, halt.ErrUndecodable) != test.halts || (halt.FateOf(err) == halt.Stop) != test.halts {
			t.Errorf("%d: %v, halts: want %t", i, err, test.halts)
		}
	}
}
