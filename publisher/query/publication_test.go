package query

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/pgtee/pgtee/publisher/record"
)

// A topic that accepts large records gets them; a row that is larger halts with the setting that it needs.
func TestLargeRows(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	cfg := &Config{Brokers: cluster.ListenAddrs(), Topic: "docs", Log: zap.NewNop()}
	client, err := kgo.NewClient(kgo.SeedBrokers(cfg.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 1, 1, map[string]*string{"max.message.bytes": kadm.StringPtr("3000000")}, cfg.Topic); err != nil {
		t.Fatal(err)
	}
	p, err := cfg.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer p.client.Close()
	publish := func(bytes int) error {
		err := p.produce(t.Context(), &Run{}, cfg.Topic, nil, make([]byte, bytes))
		if err := p.client.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		return errors.Join(err, p.failed)
	}
	if err := publish(2_000_000); err != nil {
		t.Errorf("2 MB: %v", err)
	}
	if err := publish(4_000_000); !errors.As(err, &Halt{}) || !strings.Contains(err.Error(), "topic docs accepts 3000000 ") || !strings.Contains(err.Error(), record.AlterTopic(cfg.Brokers, "docs", "max.message.bytes=4001024")) {
		t.Errorf("4 MB: %v", err)
	}
	if got, want := cfg.keepRows("docs"), "run "+record.AlterTopic(cfg.Brokers, "docs", "cleanup.policy=compact"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
