package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	saslplain "github.com/twmb/franz-go/pkg/sasl/plain"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// What Kafka refuses is told with what to do about it. What can be mended in Kafka alone is retried meanwhile.
func TestAnswersSayWhatToDo(t *testing.T) {
	for _, test := range []struct {
		code *kerr.Error
		fate halt.Fate
		want string
	}{
		{kerr.InvalidTransactionTimeout, halt.Stop, "--part-after"},
		{kerr.TopicAuthorizationFailed, halt.Retry, "grant"},
		{kerr.TransactionalIDAuthorizationFailed, halt.Retry, "grant"},
		{kerr.ClusterAuthorizationFailed, halt.Retry, "grant CREATE"},
		{kerr.SaslAuthenticationFailed, halt.Retry, "--kafka-password-file"},
		{kerr.UnsupportedSaslMechanism, halt.Retry, "--kafka-sasl"},
		{kerr.PolicyViolation, halt.Retry, "no such name (broker's words)"},
		{kerr.InvalidReplicationFactor, halt.Retry, "--replication-factor"},
		{kerr.NotEnoughReplicas, halt.Retry, "min.insync.replicas"},
		{kerr.InvalidRecord, halt.Stop, "broker's log"},
		{kerr.UnsupportedVersion, halt.Stop, "Kafka 2.5"},
		{kerr.ProducerFenced, halt.StandBy, "another publisher"},
		{kerr.NotLeaderForPartition, halt.Retry, "NOT_LEADER"},
		{kerr.GroupIDNotFound, halt.Retry, "GROUP_ID"},
	} {
		err := classify(fmt.Errorf("create topic t: %w", withMessage(test.code, "no such name (broker's words)")))
		if halt.FateOf(err) != test.fate || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "broker's words") || !errors.Is(err, test.code) && test.fate == halt.Retry {
			t.Errorf("%s: fate %d, %v; want %d and a word about %q", test.code.Message, halt.FateOf(err), err, test.fate, test.want)
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
		a, known := reactions[e]
		switch {
		case known && a.fate == halt.Stop && a.repair == "":
			t.Errorf("%s halts without a repair", e.Message)
		case !known && !e.Retriable && !ofOthers(e):
			t.Errorf("%s is not sorted", e.Message)
		}
	}
}

// ofOthers reports whether an error is one of consumer groups, controllers, tokens or administration that is never asked for.
func ofOthers(e *kerr.Error) bool {
	return e.Code >= 22 && e.Code <= 28 || e.Code == 11 || e.Code == 12 || e.Code >= 60 && e.Code <= 72 || e.Code >= 77 && e.Code != 87 && e.Code != 90 && e.Code != 120
}

// One refused login, or an expired token, is told and tried again; nothing is lost.
func TestRefusedLoginIsTriedAgain(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", "pgtee", "pw"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	var expired atomic.Bool
	expired.Store(true)
	cluster.ControlKey(int16(kmsg.SASLAuthenticate), func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		response := request.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		response.ErrorCode, response.ErrorMessage = kerr.SaslAuthenticationFailed.Code, kmsg.StringPtr("the token has expired")
		return response, nil, expired.Load()
	})
	cfg := testCluster(cluster.ListenAddrs())
	cfg.KafkaOptions = []kgo.Opt{kgo.SASL(saslplain.Auth{User: "pgtee", Pass: "pw"}.AsMechanism())}
	core, logs := observer.New(zap.WarnLevel)
	cfg.Log = zap.New(core)
	source := queueOf(rowEnding(100))
	p, err := publisher.New(cfg.Config, func(context.Context) (publisher.Source, error) { return source, nil }, newLog(cfg), blockFormat{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	await := func(what string, reached func(publisher.Stats) bool) {
		for !reached(p.Stats()) {
			select {
			case err := <-done:
				t.Fatalf("%s: the publisher ends with %v", what, err)
			case <-time.After(time.Millisecond):
			}
		}
	}
	await("an expired token", func(s publisher.Stats) bool { return s.Retries > 2 })
	if s := p.Stats(); s.State == "publishing" || !strings.Contains(s.LastError, "the token has expired") || !strings.Contains(s.LastError, "--kafka-password-file") {
		t.Errorf("%+v", s)
	}
	if told := logs.FilterMessage("retrying").Len(); told != 1 {
		t.Errorf("told %d times", told)
	}
	expired.Store(false)
	await("another one", func(s publisher.Stats) bool { return s.Acked >= 100 && s.LastError == "" })
	cancel()
	<-done
}

// The refusal of the one privilege that only a restart needs names it.
func TestProgressTopicWhoseConfigurationIsHidden(t *testing.T) {
	cluster := fakeKafka(t)
	cfg := testCluster(cluster.ListenAddrs())
	l := newLog(cfg)
	mustFence(t, l)
	l.Close()
	cluster.ControlKey(int16(kmsg.DescribeConfigs), func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		return hiddenConfigs(request.(*kmsg.DescribeConfigsRequest)), nil, true
	})
	_, err := l.Fence(t.Context(), testSystem)
	if halt.FateOf(err) != halt.Retry || !strings.Contains(err.Error(), "grant DESCRIBE_CONFIGS") || strings.Contains(err.Error(), grantTopic) {
		t.Error(err)
	}
}
