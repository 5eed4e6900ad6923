package publisher

import (
	"context"
	"strings"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/shape"
	"github.com/pgtee/pgtee/publisher/snapshot"
)

// SignalLog is a Log that signals come through, too, as Debezium's do: for them nothing is written into the database. How far
// they are read is in the progress record that has what came of them, so each signal is obeyed once.
type SignalLog interface {
	// OpenSignals reads the topic of signals from the recorded place on, and returns that place; the first time (nil), what
	// comes from now on.
	OpenSignals(ctx context.Context, recorded *snapshot.SignalPlace) (Signals, *snapshot.SignalPlace, error)
}

// Signals are read in the background.
type Signals interface {
	// Take returns those that were read since the last call.
	Take() []QueuedSignal
	Close()
}

// QueuedSignal is one that was read and not obeyed yet.
type QueuedSignal struct {
	*outbox.SignalRecord
	Next int64 // offset behind it
}

// readSignals begins to read the topic, if there is one. What was read before and is not in the progress record comes again.
func (p *Publisher) readSignals(ctx context.Context) (err error) {
	log, ok := p.log.(SignalLog)
	if p.cfg.SignalTopic == "" || !ok {
		return nil
	}
	var place *snapshot.SignalPlace
	if p.signals, place, err = log.OpenSignals(ctx, p.copier.Signals()); err != nil {
		return err
	}
	p.copier.SetSignals(*place)
	return nil
}

func (p *Publisher) closeSignals() {
	if p.signals != nil {
		p.signals.Close()
		p.signals = nil
	}
}

// obeySignals has what came through the topic carried out, for the next progress record.
func (p *Publisher) obeySignals() error {
	if p.signals == nil {
		return nil
	}
	for _, s := range p.signals.Take() {
		if err := p.signal(s.SignalRecord); err != nil {
			return err
		}
		p.copier.SetSignals(snapshot.SignalPlace{Topic: p.cfg.SignalTopic, Next: s.Next})
	}
	return nil
}

// signal obeys a request. One that cannot be obeyed stops nothing: a line in the log tells of it, and what waits for the
// snapshot finds it among those that ended.
func (p *Publisher) signal(s *outbox.SignalRecord) error {
	if s.Missed() {
		resync, err := p.tellMissed(s)
		if err != nil || !resync {
			return err
		}
	}
	why := s.Refused
	if why == "" {
		why = p.copier.Obey(s)
	}
	fields := []zap.Field{zap.String("id", s.ID), zap.String("type", s.Type), zap.String("user", s.User)}
	if why != "" {
		p.cfg.Log.Warn("signal refused", append(fields, zap.String("finding", "signal-refused"), zap.String("reason", why))...)
		if snapshot.AsksForRows(s) && s.ID != "" && !p.copier.Knows(s.ID) {
			p.copier.Remember(snapshot.FinishedCopy{ID: s.ID, Stopped: true, Why: why})
		}
		return nil
	}
	p.cfg.Log.Info("signal", fields...)
	return nil
}

// tellMissed says what is missing, and reports whether a resync is to make up for it.
func (p *Publisher) tellMissed(s *outbox.SignalRecord) (resync bool, err error) {
	var tables []string
	for _, name := range s.Tables {
		if schema, table, _ := strings.Cut(name, "."); p.cfg.Shape.Includes(schema, table) && !shape.MatchesAny(p.cfg.EventTables, name) {
			tables = append(tables, name)
		}
	}
	if len(tables) == 0 {
		return false, nil
	}
	p.since.missed += len(tables)
	resync = p.cfg.OnMissed == MissedResync && p.cfg.Snapshot.Open != nil
	if p.cfg.OnMissed == MissedHalt {
		return false, halt.New(halt.ErrMissed, "of "+strings.Join(tables, ", ")+" some UPDATE and DELETE are missing up to here",
			"start with --on-missed resync, which publishes these tables afresh, or with --on-missed warn, which goes on without")
	}
	s.Tables = tables
	text := "changes of tables are not in the stream up to here, from here on they are"
	if resync {
		text += "; the tables are published afresh"
	}
	p.cfg.Log.Warn(text, zap.String("finding", "changes-resynced"), zap.Strings("tables", tables), zap.String("id", s.ID))
	return resync, nil
}
