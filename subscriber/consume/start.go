package consume

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Start is where a group starts in a topic that it has not consumed before. The zero value is the beginning.
type Start struct {
	end     bool
	time    time.Time
	offsets map[int32]int64
}

// UnmarshalText reads beginning, end, a time as in RFC 3339, a duration before now (10m), or offsets of partitions (0:1200,1:1180); partitions that
// are not listed start at their beginning.
func (s *Start) UnmarshalText(text []byte) error {
	switch string(text) {
	case "beginning":
		*s = Start{}
		return nil
	case "end":
		*s = Start{end: true}
		return nil
	}
	if at, err := time.Parse(time.RFC3339, string(text)); err == nil {
		*s = Start{time: at}
		return nil
	}
	if ago, err := time.ParseDuration(string(text)); err == nil && ago >= 0 {
		*s = Start{time: time.Now().Add(-ago)}
		return nil
	}
	offsets := map[int32]int64{}
	for pair := range strings.SplitSeq(string(text), ",") {
		partition, offset, found := strings.Cut(pair, ":")
		p, err := strconv.ParseInt(partition, 10, 32)
		o, failed := strconv.ParseInt(offset, 10, 64)
		if !found || err != nil || failed != nil || p < 0 || o < 0 {
			return errors.New("want beginning, end, a time such as 2025-01-31T12:00:00Z, how long ago, such as 10m, or offsets of partitions, such as 0:1200,1:1180")
		}
		offsets[int32(p)] = o
	}
	*s = Start{offsets: offsets}
	return nil
}

// resolve determines the offsets. If the group is not fresh, the partitions are new ones, added to the topic since: they start at their beginning.
func (s Start) resolve(ctx context.Context, admin *kadm.Client, topic *topic, fresh bool) (map[int32]int64, error) {
	if fresh && s.end {
		listed, err := admin.ListCommittedOffsets(ctx, topic.name)
		return offsetsOf(topic.name, listed, err)
	}
	if fresh && !s.time.IsZero() {
		listed, err := admin.ListOffsetsAfterMilli(ctx, s.time.UnixMilli(), topic.name)
		return offsetsOf(topic.name, listed, err)
	}
	listed, err := admin.ListStartOffsets(ctx, topic.name)
	offsets, err := offsetsOf(topic.name, listed, err)
	if err != nil || !fresh {
		return offsets, err
	}
	var ends map[int32]int64
	if len(s.offsets) > 0 {
		listed, err := admin.ListEndOffsets(ctx, topic.name)
		if ends, err = offsetsOf(topic.name, listed, err); err != nil {
			return nil, err
		}
	}
	for number, at := range s.offsets {
		begins, there := offsets[number]
		if !there {
			return nil, Halt{fmt.Sprintf("--from names partition %d, which topic %s does not have", number, topic.name), "correct the flag"}
		}
		if at < begins {
			return nil, Halt{fmt.Sprintf("--from names offset %d of partition %d, which begins at %d", at, number, begins), "correct the flag"}
		}
		if at > ends[number] {
			return nil, Halt{fmt.Sprintf("--from names offset %d of partition %d, which ends at %d", at, number, ends[number]), "correct the flag"}
		}
		offsets[number] = at
	}
	return offsets, nil
}
