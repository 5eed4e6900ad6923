package subscriber

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// From says where to start in topics that already exist. The zero value means the end.
type From struct {
	beginning bool
	time      time.Time
}

// Beginning starts with the oldest event that Kafka keeps.
var Beginning = From{beginning: true}

// UnmarshalText parses "beginning", "end", a time as in RFC 3339, or a duration before now: "10m".
func (f *From) UnmarshalText(text []byte) error {
	switch string(text) {
	case "beginning":
		*f = Beginning
		return nil
	case "end":
		*f = From{}
		return nil
	}
	if at, err := time.Parse(time.RFC3339, string(text)); err == nil {
		*f = From{time: at}
		return nil
	}
	ago, err := time.ParseDuration(string(text))
	if err != nil || ago < 0 {
		return errors.New("want beginning, end, a time such as 2025-01-31T12:00:00Z, or how long ago, such as 10m")
	}
	*f = From{time: time.Now().Add(-ago)}
	return nil
}

// Time returns the time that f stands for; for the end this is the present. The beginning has none.
func (f From) Time() (at time.Time, found bool) {
	if f.time.IsZero() {
		return time.Now(), !f.beginning
	}
	return f.time, true
}

func (f From) offset() kgo.Offset {
	switch {
	case f.beginning:
		return kgo.NewOffset().AtStart()
	case f.time.IsZero():
		return kgo.NewOffset().AtEnd()
	}
	return kgo.NewOffset().AfterMilli(f.time.UnixMilli())
}
