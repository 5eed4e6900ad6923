package kafka

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Refusal is an error of Kafka that lasts until an operator changes something in Kafka. The publisher need not be restarted: it retries, and
// logs what to do, for as long as the error lasts.
type Refusal struct {
	Err    error  // with the broker's error message
	Repair string // what to do in Kafka
}

func (r *Refusal) Error() string { return r.Err.Error() + "; " + r.Repair }
func (r *Refusal) Unwrap() error { return r.Err }

// codeWithMessage is an error code with the broker's error message.
type codeWithMessage struct {
	code error
	text string
}

func (s *codeWithMessage) Error() string { return s.code.Error() + " (" + s.text + ")" }
func (s *codeWithMessage) Unwrap() error { return s.code }

// withMessage returns an error code with the broker's error message, if there is one.
func withMessage(code error, text string) error {
	if code == nil || text == "" {
		return code
	}
	return &codeWithMessage{code, text}
}

// reaction says what the publisher and its operator do about an error code of Kafka.
type reaction struct {
	fate   halt.Fate
	repair string // "": no action is required
}

const (
	grantTopic = "grant DESCRIBE, WRITE and READ on the topics of the prefix (with --heartbeat also on __debezium-heartbeat.PREFIX), and CREATE unless they exist"
	grantID    = "grant DESCRIBE and WRITE on the transactional id"
	logIn      = "correct the user's credentials at the broker, or those in --kafka-password-file, which is read at each login"
	replicas   = "bring brokers back, or lower min.insync.replicas of the topic"
	defect     = "this is a bug in pgtee or in the broker: look into the broker's log, and report it"
)

// reactions has the error codes that a producer, a reader of the progress topic or an administrator of topics can get. Others (of consumer
// groups, controllers, elections) are logged and retried.
var reactions = map[*kerr.Error]reaction{
	kerr.ProducerFenced:           {halt.StandBy, ""},
	kerr.InvalidProducerEpoch:     {halt.StandBy, ""},
	kerr.InvalidProducerIDMapping: {halt.StandBy, ""},

	// Credentials and privileges can be corrected while the publisher retries.
	kerr.SaslAuthenticationFailed:           {halt.Retry, logIn},
	kerr.IllegalSaslState:                   {halt.Retry, logIn},
	kerr.UnsupportedSaslMechanism:           {halt.Retry, "enable the mechanism of --kafka-sasl in sasl.enabled.mechanisms of that listener, or start with another one"},
	kerr.SecurityDisabled:                   {halt.Retry, "configure an authorizer at the brokers, or start without --kafka-sasl"},
	kerr.TopicAuthorizationFailed:           {halt.Retry, grantTopic},
	kerr.ClusterAuthorizationFailed:         {halt.Retry, "grant CREATE on the cluster or on topics of the prefix, or create the topic yourself; with --delivery at-least-once before Kafka 3.0 also IDEMPOTENT_WRITE"},
	kerr.TransactionalIDAuthorizationFailed: {halt.Retry, grantID},
	kerr.GroupAuthorizationFailed:           {halt.Retry, "grant READ on the consumer group"},

	// The brokers lack something that can come back, or that an operator can change.
	kerr.NotEnoughReplicas:            {halt.Retry, replicas},
	kerr.NotEnoughReplicasAfterAppend: {halt.Retry, replicas},
	kerr.InvalidReplicationFactor:     {halt.Retry, "bring brokers back, or create the topic yourself with fewer replicas, or start with a lower --replication-factor"},
	kerr.KafkaStorageError:            {halt.Retry, "check the disks of the broker"},
	kerr.LogDirNotFound:               {halt.Retry, "check the disks of the broker"},
	kerr.ThrottlingQuotaExceeded:      {halt.Retry, "raise the quota of the user if this lasts"},
	kerr.PolicyViolation:              {halt.Retry, "create the topic yourself as the policy of the brokers demands, or set partitions, replication-factor and topic-config accordingly"},
	kerr.InvalidConfig:                {halt.Retry, "create the topic yourself, or correct topic-config in the configuration and start again"},
	kerr.InvalidPartitions:            {halt.Retry, "create the topic yourself, or start with other --partitions"},
	kerr.InvalidReplicaAssignment:     {halt.Retry, "create the topic yourself"},
	kerr.InvalidTimestamp:             {halt.Retry, "set the clocks of this machine and of the brokers, or raise message.timestamp.after.max.ms of the topic"},
	kerr.TopicDeletionDisabled:        {halt.Retry, ""},
	kerr.UnknownServerError:           {halt.Retry, "if this lasts, see the broker's log"},
	kerr.TransactionAbortable:         {halt.Retry, ""},
	kerr.ConcurrentTransactions:       {halt.Retry, ""},
	kerr.InvalidTxnState:              {halt.Retry, ""},
	kerr.UnknownProducerID:            {halt.Retry, ""},
	kerr.OutOfOrderSequenceNumber:     {halt.Retry, ""},
	kerr.DuplicateSequenceNumber:      {halt.Retry, ""},
	kerr.TransactionCoordinatorFenced: {halt.Retry, ""},
	kerr.OffsetOutOfRange:             {halt.Retry, ""},
	kerr.CorruptMessage:               {halt.Retry, ""},
	kerr.TopicAlreadyExists:           {halt.Retry, ""},
	kerr.OperationNotAttempted:        {halt.Retry, ""},

	// These require an operator, or a restart with other options.
	kerr.InvalidTransactionTimeout:   {halt.Stop, "raise transaction.max.timeout.ms of the brokers to twice --part-after, or lower that option"},
	kerr.UnsupportedVersion:          {halt.Stop, "use brokers of Kafka 2.5 or newer"},
	kerr.UnsupportedForMessageFormat: {halt.Stop, "remove log.message.format.version from the brokers and message.format.version from the topic"},
	kerr.UnsupportedCompressionType:  {halt.Stop, "set compression.type of the topic to producer"},
	kerr.InvalidTopicException:       {halt.Stop, "delete the topic that is in the way, or use another name: --prefix, or for a table `tables: [{match, topic}]` in the configuration"},
	kerr.InvalidRecord:               {halt.Stop, "look into the broker's log for what it requires of records (schema validation, for example), change that, and start again"},
	kerr.MessageTooLarge:             {halt.Stop, "raise max.message.bytes of the topic"},
	kerr.RecordListTooLarge:          {halt.Stop, "raise segment.bytes of the topic"},
	kerr.InvalidRequiredAcks:         {halt.Stop, defect},
	kerr.InvalidRequest:              {halt.Stop, defect},
	kerr.InvalidFetchSize:            {halt.Stop, defect},
}

// isTopicError reports whether an error lasts for one topic while others can be used. The application chooses the topics of its events, so these
// errors must not stop the rest of the stream.
func isTopicError(err error) bool {
	return slices.ContainsFunc([]error{
		kerr.InvalidTopicException, kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed, // of creating it
		kerr.InvalidRecord, kerr.UnsupportedForMessageFormat, kerr.UnsupportedCompressionType, // of its settings
	}, func(code error) bool { return errors.Is(err, code) })
}

// reactionTo returns the reaction to the error code that err wraps; false if it wraps none.
func reactionTo(err error) (reaction, bool) {
	var code *kerr.Error
	if !errors.As(err, &code) {
		return reaction{}, false
	}
	a, known := reactions[code]
	if !known {
		a = reaction{fate: halt.Retry}
	}
	return a, true
}

// classify turns an error of Kafka into one of the three fates of the loop.
func classify(err error) error {
	var h *halt.Halt
	var r *Refusal
	var unusable *publisher.UnusableTopic
	var small *publisher.SmallTopic // for both of these the publisher knows the remedy
	if errors.As(err, &h) || errors.As(err, &r) || errors.As(err, &unusable) || errors.As(err, &small) {
		return err
	}
	a, known := reactionTo(err)
	switch {
	case !known:
		return err
	case a.fate == halt.StandBy:
		return fmt.Errorf("%w: %w", halt.ErrFenced, err)
	case a.fate == halt.Stop:
		return halt.New(halt.ErrKafkaRefused, err.Error(), a.repair)
	case a.repair != "":
		return &Refusal{err, a.repair}
	}
	return err
}
