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

// SignalLog is a Log from which signals can be read, as from Debezium's signal topic: such a signal writes nothing into the database. The progress
// record that contains the result of a signal also contains the offset up to which signals were read, so each signal is executed once.
type SignalLog interface {
	// OpenSignals reads the signal topic from the recorded place on and returns that place. The first time (nil), it reads only new signals.
	OpenSignals(ctx context.Context, recorded *snapshot.SignalPlace) (Signals, *snapshot.SignalPlace, error)
}

// Signals reads signals in the background.
type Signals interface {
	// Take returns the signals read since the last call.
	Take() []QueuedSignal
	Close()
}

// QueuedSignal is a signal that was read and not executed yet.
type QueuedSignal struct {
	*outbox.SignalRecord
	Next int64 // offset after it
}

// readSignals starts to read the signal topic, if one is configured. Signals that were read before but are not covered by the progress record are
// read again.
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

// executeSignals executes the signals read from the topic; the next progress record covers them.
func (p *Publisher) executeSignals() error {
	if p.signals == nil {
		return nil
	}
	for _, s := range p.signals.Take() {
		if err := p.execute(s.SignalRecord); err != nil {
			return err
		}
		p.copier.SetSignals(snapshot.SignalPlace{Topic: p.cfg.SignalTopic, Next: s.Next})
	}
	return nil
}

// execute executes a request. A signal that cannot be executed does not stop the publisher: a log line reports it, and its snapshot is listed among
// the finished ones for clients that wait for it.
func (p *Publisher) execute(s *outbox.SignalRecord) error {
	if s.Missed() {
		resync, err := p.handleMissed(s)
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

// handleMissed counts and logs the tables with missing changes, limits the signal to them, and reports whether a resync will make up for them.
func (p *Publisher) handleMissed(s *outbox.SignalRecord) (resync bool, err error) {
	var tables []string
	for _, name := range s.Tables {
		schema, table, _ := strings.Cut(name, ".")
		if name == snapshot.AllTables || p.cfg.Shape.Includes(schema, table) && !shape.MatchesAny(p.cfg.EventTables, name) { // the copy leaves out the others
			tables = append(tables, name)
		}
	}
	if len(tables) == 0 {
		return false, nil
	}
	p.since.missed += len(tables)
	resync = p.cfg.OnMissed == MissedResync && p.cfg.Snapshot.Open != nil
	if p.cfg.OnMissed == MissedHalt {
		return false, halt.New(halt.ErrMissed, "some UPDATEs and DELETEs of "+strings.Join(tables, ", ")+" before this point are missing",
			"start with --on-missed resync, which publishes these tables again, or with --on-missed warn, which continues without them")
	}
	s.Tables = tables
	text, finding := "changes of tables before this point are missing from the stream, later ones are not", "changes-missed"
	if resync {
		text, finding = text+"; the tables are published again", "changes-resynced"
	}
	p.cfg.Log.Warn(text, zap.String("finding", finding), zap.Strings("tables", tables), zap.String("id", s.ID))
	return resync, nil
}
