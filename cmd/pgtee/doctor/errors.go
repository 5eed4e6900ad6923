package doctor

import (
	"errors"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/avro"
	"github.com/pgtee/pgtee/publisher/halt"
)

// byError maps errors to findings. Every error that stops a publisher is in it.
var byError = []struct {
	err error
	id  string
}{
	{halt.ErrOtherSystem, "other-server"},
	{halt.ErrOtherDatabase, "other-database"},
	{halt.ErrDatabaseBehind, "database-behind"},
	{halt.ErrDiverged, "history-diverged"},
	{halt.ErrPublications, "publications-changed"},
	{halt.ErrGap, "transactions-lost"},
	{halt.ErrProgressLost, "progress-lost"},
	{halt.ErrProgressTopic, "progress-topic"},
	{halt.ErrProgressVersion, "progress-newer"},
	{halt.ErrProgressRecord, "progress-unreadable"},
	{halt.ErrTopicCollision, "topic-collision"},
	{halt.ErrShape, "table-misfit"},
	{halt.ErrEncode, "change-unencodable"},
	{halt.ErrText, "text-encoding"},
	{halt.ErrKafkaRefused, "kafka-refuses"},
	{halt.ErrRecordTooLarge, "record-too-large"},
	{halt.ErrSignalTopic, "signal-topic"},
	{halt.ErrNotDurable, "topic-not-durable"},
	{halt.ErrPrefixTaken, "prefix-taken"},
	{halt.ErrMissed, "changes-missed"},
	{halt.ErrUndecodable, "transaction-undecodable"},
	{halt.ErrSnapshotStopped, "snapshot-stopped"},
	{halt.ErrFenced, "fenced"},
	{avro.ErrIncompatible, "registry-incompatible"},
	{avro.ErrSchemaMissing, "registry-schema-missing"},
	{avro.ErrRegistryRefuses, "registry-refuses"},
	{outbox.ErrSourceEncoding, "source-encoding"},
	{outbox.ErrPublicationMissing, "publication-missing"},
	{outbox.ErrPublicationChanged, "publications-changed"},
	{outbox.ErrSlotBusy, "slot-busy"},
	{outbox.ErrSlotMissing, "slot-missing"},
	{outbox.ErrSlotLost, "slot-lost"},
	{outbox.ErrSlotBlocked, "slot-blocked"},
	{outbox.ErrNotSetUp, "not-set-up"},
	{outbox.ErrUndecodable, "value-undecodable"},
	{outbox.ErrServerWarning, "server-warning"},
	{outbox.ErrPooler, "postgres-pooler"},
}

// IDs returns the findings that an error is about; none if it is not a finding.
func IDs(err error) (ids []string) {
	var problems outbox.Problems
	if errors.As(err, &problems) {
		for _, f := range problems {
			ids = append(ids, f.ID)
		}
		return ids
	}
	for _, known := range byError {
		if errors.Is(err, known.err) {
			return []string{known.id}
		}
	}
	return nil
}
