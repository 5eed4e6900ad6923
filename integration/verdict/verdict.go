// Package verdict reads topics, and judges whether they contain what the database has committed: each change once, in commit order, with the
// right author. It shares no code with what it judges, neither decoders nor a Kafka client: commit order comes from the WAL itself, contents from
// history triggers, authors from what the backends recorded and from nonces in the rows, and topics from raw batches.
package verdict

import (
	"fmt"
	"strings"
)

// Verdict counts the errors in the topics of one scenario.
type Verdict struct {
	Transactions, Events int // in the truth

	Lost          int // committed, but not in the topic
	Duplicated    int // more than once in the topic
	Reordered     int // not in commit order
	Misattributed int // names another session, user or SQL than the one that wrote it
	Unattributed  int // went through the proxy, but is "direct"
	Invented      int // never committed: rolled back or altered

	Details []string // the first few of them
}

// Clean reports whether there are no errors.
func (v *Verdict) Clean() bool {
	return v.Lost+v.Duplicated+v.Reordered+v.Misattributed+v.Unattributed+v.Invented == 0
}

func (v *Verdict) String() string {
	line := fmt.Sprintf("transactions=%d events=%d lost=%d duplicated=%d reordered=%d misattributed=%d unattributed=%d invented=%d",
		v.Transactions, v.Events, v.Lost, v.Duplicated, v.Reordered, v.Misattributed, v.Unattributed, v.Invented)
	return strings.Join(append([]string{line}, v.Details...), "\n  ")
}

func (v *Verdict) detail(format string, args ...any) {
	if len(v.Details) < 20 {
		v.Details = append(v.Details, fmt.Sprintf(format, args...))
	}
}
