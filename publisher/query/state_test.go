package query

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A state topic is read to its end, however long that takes, unless no record arrives.
func TestReadingTheStateTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &publication{cfg: &Config{Topic: "t"}, seen: map[string]seen{}}
		offset := int64(0)
		poll := func(ctx context.Context) kgo.Fetches {
			if offset == 20 {
				<-ctx.Done()
				return nil
			}
			time.Sleep(askPatience - time.Second)
			record := &kgo.Record{Topic: "t.state", Offset: offset, Key: fmt.Appendf(nil, "row:%d", offset), Value: make([]byte, len(hash{}))}
			offset++
			return kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: "t.state", Partitions: []kgo.FetchPartition{{Records: []*kgo.Record{record}}}}}}}
		}
		if _, err := p.readTo(t.Context(), poll, 0, 20); err != nil || len(p.seen) != 20 {
			t.Errorf("%d rows, %v", len(p.seen), err)
		}
		began := time.Now()
		if _, err := p.readTo(t.Context(), poll, 20, 21); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != askPatience {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}
