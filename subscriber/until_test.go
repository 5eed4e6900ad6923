package subscriber

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// What committed up to a moment is read, and then Follow ends, also where the last records were aborted.
func TestFollowUntil(t *testing.T) {
	w := newWorld(t)
	w.createTopic("shop.audit")
	w.createTopic("shop.none.empty")
	now := time.Now()
	w.produce(kgo.TryCommit, "shop.audit", now.Add(-2*time.Hour), "first")
	w.produce(kgo.TryCommit, "shop.audit", now.Add(-time.Hour), "second", "third")
	w.produce(kgo.TryAbort, "shop.audit", now.Add(-time.Minute), "aborted")
	for name, test := range map[string]struct {
		cfg  Config
		want string
	}{
		"all":             {Config{From: Beginning, Until: now}, "[first second third]"},
		"to a moment":     {Config{From: Beginning, Until: now.Add(-90 * time.Minute)}, "[first]"},
		"between moments": {Config{From: From{time: now.Add(-90 * time.Minute)}, Until: now.Add(-30 * time.Minute)}, "[second third]"},
		"from the end":    {Config{Until: now}, "[]"},
		"nothing":         {Config{From: Beginning, Until: now.Add(-3 * time.Hour)}, "[]"},
		"an empty topic":  {Config{Tables: []string{"none.empty"}, From: Beginning, Until: now}, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			test.cfg.Prefix, test.cfg.Brokers = "shop", w.brokers
			got := []string{}
			err := Follow(w.ctx, test.cfg, func(e Event) error {
				got = append(got, string(e.Value))
				return nil
			})
			if err != nil || fmt.Sprint(got) != test.want {
				t.Errorf("got %v, error %v, want %s", got, err, test.want)
			}
		})
	}
}

// What is not there is told of, with what is.
func TestMissingTopics(t *testing.T) {
	w := newWorld(t)
	w.createTopic("other.progress")
	err := Follow(w.ctx, Config{Brokers: w.brokers, Prefix: "shop", Until: time.Now()}, nil)
	if !errors.Is(err, ErrNoTopics) || err.Error() != "there are no such topics: shop.audit; there are the prefixes: other" {
		t.Errorf("error %v", err)
	}
	told := ""
	w.createTopic("shop.public.orders")
	w.produce(kgo.TryCommit, "shop.public.orders", time.Now(), "enough")
	err = Follow(w.ctx, Config{Brokers: w.brokers, Prefix: "shop", Tables: []string{"orders", "order"}, From: Beginning,
		Missing: func(topics, prefixes []string) { told += fmt.Sprint(topics, prefixes) }}, func(Event) error { return errEnough })
	if !errors.Is(err, errEnough) || told != "[shop.public.order] [other]" {
		t.Errorf("error %v, told %s", err, told)
	}
}
