package verdict

import (
	"fmt"
	"testing"
	"time"
)

// Each way to tear a source transaction must be told apart from a whole one.
func TestTornTellsTearsApart(t *testing.T) {
	at := time.UnixMilli
	progress := []Record{
		{Value: []byte(`{"end_lsn":"0/10"}`), Producer: 1, Epoch: 1, Marker: 3, Time: at(15), Decided: at(20)},
		{Value: []byte(`{"end_lsn":"0/30"}`), Producer: 1, Epoch: 2, Marker: 5, Time: at(35), Decided: at(40)},
		{Value: []byte(`{"end_lsn":"0/30"}`), Producer: 1, Epoch: 3, Marker: 7}, // a new timeline
	}
	event := func(topic, end string, epoch int16, marker int64) Record {
		return Record{Topic: topic, Epoch: epoch, Producer: 1, Marker: marker, Time: at(int64(epoch)*20 - 7), Decided: at(int64(epoch)*20 + 2), Headers: map[string]string{"pgtee-event-id": fmt.Sprintf("1/s/1/%s/0", end)}}
	}
	late, early := event("a", "0/20", 2, 6), event("a", "0/20", 2, 6)
	late.Time, early.Decided = at(41), at(34)
	cases := []struct {
		name   string
		events []Record
		torn   int
	}{
		{"whole", []Record{event("a", "0/8", 1, 2), event("a", "0/20", 2, 6), event("a", "0/28", 2, 6), event("b", "0/28", 2, 9)}, 0},
		{"in two Kafka transactions", []Record{event("a", "0/20", 2, 2), event("a", "0/20", 2, 6)}, 1},
		{"with another position", []Record{event("a", "0/8", 1, 2), event("a", "0/20", 2, 2)}, 1},
		{"by another producer", []Record{event("a", "0/20", 1, 2), event("b", "0/20", 2, 2)}, 1},
		{"written after the position was decided", []Record{late}, 1},
		{"decided before the position was written", []Record{early}, 1},
		{"beyond the position", []Record{event("a", "0/40", 2, 2)}, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			byTopic := map[string][]Record{}
			for _, r := range c.events {
				byTopic[r.Topic] = append(byTopic[r.Topic], r)
			}
			torn, details, err := Torn(progress, byTopic)
			if err != nil || torn != c.torn {
				t.Errorf("torn=%d (%v): %q; want %d", torn, err, details, c.torn)
			}
		})
	}
	if _, _, err := Torn([]Record{progress[1], progress[0]}, nil); err == nil {
		t.Error("a falling position is not an error")
	}
}
