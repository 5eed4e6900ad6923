package publisher

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

// What Kafka refuses is told with what to do about it. What can be mended in Kafka alone is retried meanwhile.
func TestAnswersSayWhatToDo(t *testing.T) {
	for _, test := range []struct {
		code *kerr.Error
		fate fate
		want string
	}{
		{kerr.InvalidTransactionTimeout, halt, "--part-after"},
		{kerr.TopicAuthorizationFailed, retry, "grant"},
		{kerr.TransactionalIDAuthorizationFailed, retry, "grant"},
		{kerr.ClusterAuthorizationFailed, retry, "grant CREATE"},
		{kerr.SaslAuthenticationFailed, retry, "--kafka-password-file"},
		{kerr.UnsupportedSaslMechanism, retry, "--kafka-sasl"},
		{kerr.PolicyViolation, retry, "no such name (broker's words)"},
		{kerr.InvalidReplicationFactor, retry, "--replication-factor"},
		{kerr.NotEnoughReplicas, retry, "min.insync.replicas"},
		{kerr.InvalidRecord, halt, "broker's log"},
		{kerr.UnsupportedVersion, halt, "Kafka 2.5"},
		{kerr.ProducerFenced, standBy, "another publisher"},
		{kerr.NotLeaderForPartition, retry, "NOT_LEADER"},
		{kerr.GroupIDNotFound, retry, "GROUP_ID"},
	} {
		err := classify(fmt.Errorf("create topic t: %w", inWords(test.code, "no such name (broker's words)")))
		if fateOf(err) != test.fate || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "broker's words") || !errors.Is(err, test.code) && test.fate == retry {
			t.Errorf("%s: fate %d, %v; want %d and a word about %q", test.code.Message, fateOf(err), err, test.fate, test.want)
		}
	}
}

// Each code that a producer may get is sorted, and what stops the publisher says what to do.
func TestEachAnswerIsSorted(t *testing.T) {
	for code := int16(-1); code < 137; code++ {
		var e *kerr.Error
		if !errors.As(kerr.ErrorForCode(code), &e) {
			continue
		}
		a, known := answers[e]
		switch {
		case known && a.fate == halt && a.repair == "":
			t.Errorf("%s halts without a repair", e.Message)
		case !known && !e.Retriable && !ofOthers(e):
			t.Errorf("%s is not sorted", e.Message)
		}
	}
}

// ofOthers says whether an error is one of consumer groups, controllers, tokens or administration that is never asked for.
func ofOthers(e *kerr.Error) bool {
	return e.Code >= 22 && e.Code <= 28 || e.Code == 11 || e.Code == 12 || e.Code >= 60 && e.Code <= 72 || e.Code >= 77 && e.Code != 87 && e.Code != 90 && e.Code != 120
}
