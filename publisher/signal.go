package publisher

import (
	"sync"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
)

// signal obeys a request. One that cannot be obeyed stops nothing: a line in the log tells of it.
func (p *Publisher) signal(s *outbox.SignalRecord) {
	if s.Refused == "" {
		s.Refused = "this publisher takes no snapshots"
	}
	p.cfg.Log.Warn("signal refused", zap.String("id", s.ID), zap.String("type", s.Type), zap.String("user", s.User), zap.String("reason", s.Refused))
}

// signals are those that came from beside the log and were not obeyed yet.
type signals struct {
	mu   sync.Mutex
	list []*outbox.SignalRecord
}

func (q *signals) add(s *outbox.SignalRecord) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = append(q.list, s)
}
