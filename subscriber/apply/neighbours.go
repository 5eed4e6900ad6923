package apply

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/pgtee/pgtee/publisher/record"
)

// neighbour is a publisher whose prefix is below that of the stream, as shop.eu is below shop: several --database make such prefixes. Its topics look
// like ours.
type neighbour struct {
	prefix  string
	sources []string // system/slot, as in event ids
}

// owns reports whether only the neighbour writes to a topic. PREFIX.SCHEMA.TABLE of ours has no further dot, unless it is in the name; if a schema is
// named like the neighbour, its tables are ours.
func (n *neighbour) owns(topic string) bool {
	rest, below := strings.CutPrefix(topic, n.prefix+".")
	return below && (strings.Contains(rest, ".") || record.IsInternal(n.prefix, topic) || rest == "signal")
}

// isForeign reports whether only a neighbour writes to a topic.
func isForeign(neighbours []*neighbour, topic string) bool {
	return slices.ContainsFunc(neighbours, func(n *neighbour) bool { return n.owns(topic) })
}

// neighbours returns the publishers whose progress topics are among the topics.
func (w *watcher) neighbours(ctx context.Context, topics map[string]topic) (list []*neighbour, err error) {
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		prefix, is := strings.CutSuffix(name, ".progress")
		if !is || slices.Contains(w.cfg.Topics, name) {
			continue
		}
		id := topics[name].id
		n, known := w.seen[id]
		if !known {
			if n, known, err = w.neighbour(ctx, prefix, name); err != nil {
				return nil, err
			}
			if known {
				w.seen[id] = n
			}
			if n != nil {
				w.cfg.Log.Info("another publisher has a prefix that begins with this one: its topics are left out", zap.String("prefix", prefix), zap.Strings("sources", n.sources))
			}
		}
		if n != nil {
			list = append(list, n)
		}
	}
	return list, nil
}

// maxIntroduction is how many records of a topic are read to find out what it is.
const maxIntroduction = 100

// neighbour reads the first records of what may be a progress topic; it may also be the topic of a table with that name, and then there is no neighbour.
// known is false if the topic has no record.
func (w *watcher) neighbour(ctx context.Context, prefix, name string) (n *neighbour, known bool, err error) {
	own := []topic{{name: name, partitions: []int32{0}}}
	ends, err := w.ends(ctx, own, readCommitted)
	if err != nil || ends[name][0] == w.blank[name] {
		return nil, false, err
	}
	client, err := w.cfg.newClient(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return nil, false, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	fetches := client.PollRecords(ctx, maxIntroduction)
	if err := fetchError(fetches); err != nil {
		return nil, false, err
	}
	w.blank[name] = ends[name][0] // unless a record is found
	for iterator := fetches.RecordIter(); !iterator.Done(); {
		r := iterator.Next()
		if r.Value == nil {
			continue
		}
		var p progress
		if headerOf(r, headerEventID) != nil || json.Unmarshal(r.Value, &p) != nil || p.Version == 0 || p.Slot == "" {
			return nil, true, nil
		}
		if n == nil {
			n = &neighbour{prefix: prefix}
		}
		if source := p.SystemID + "/" + p.Slot; !slices.Contains(n.sources, source) {
			n.sources = append(n.sources, source)
		}
	}
	return n, n != nil, nil
}
