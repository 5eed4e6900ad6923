package doctor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	saslplain "github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/kafka"
)

// granted are ACLs that allow operations on the topics shop.*, and everything on transactional ids.
func granted(operations ...kmsg.ACLOperation) []kfake.ACL {
	acls := []kfake.ACL{{Resource: kmsg.ACLResourceTypeTransactionalId, Name: "*", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationAll, Allow: true}}
	for _, operation := range operations {
		acls = append(acls, kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: "shop.", Pattern: kmsg.ACLResourcePatternTypePrefixed, Operation: operation, Allow: true})
	}
	return acls
}

// TestPrivileges: each privilege that the publisher lacks is found, and nothing is found if it has all of them.
func TestPrivileges(t *testing.T) {
	const read, write, create, describe, configs = kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationCreate, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs
	own := []string{"shop.progress", "shop.audit", "shop.public.orders"}
	for name, test := range map[string]struct {
		topics []string
		acls   []kfake.ACL
		want   []string // severity and text of the findings
	}{
		"all":             {own, granted(read, write, create, configs), nil},
		"all, no topics":  {nil, granted(read, write, create, configs), []string{"warning there are no topics shop.* yet"}},
		"no WRITE":        {own, granted(read, create, configs), []string{"problem the user lacks WRITE on topic shop.audit and 2 more"}},
		"no READ":         {own, granted(write, create, configs), []string{"problem the user lacks READ on topic shop.audit and 2 more"}},
		"only DESCRIBE":   {own[:1], granted(describe, create, configs), []string{"problem the user lacks READ, WRITE on topic shop.progress"}},
		"no CREATE":       {own, granted(read, write, configs), []string{"warning the user may not create topics"}},
		"no CREATE yet":   {nil, granted(read, write, configs), []string{"problem the user may not create topics", "warning there are no topics"}},
		"nothing is seen": {own, granted(create), []string{"problem the user may not see topic shop.audit and 6 more: whether they exist is not known"}},
	} {
		t.Run(name, func(t *testing.T) {
			options := []kfake.Opt{kfake.NumBrokers(1), kfake.EnableSASL(), kfake.EnableACLs(), kfake.User("PLAIN", "pgtee", "pw", test.acls...), kfake.Superuser("PLAIN", "admin", "pw")}
			if test.topics != nil {
				options = append(options, kfake.SeedTopics(1, test.topics...))
			}
			cluster, err := kfake.NewCluster(options...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(cluster.Close)
			cfg := kafka.Config{Brokers: cluster.ListenAddrs(), KafkaOptions: []kgo.Opt{kgo.SASL(saslplain.Auth{User: "pgtee", Pass: "pw"}.AsMechanism())},
				Config: publisher.Config{Prefix: "shop", Database: "orders", Slot: "pgtee"}}
			cfg.TransactionTimeout = time.Minute
			found, err := Kafka(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			found = slices.DeleteFunc(found, func(f outbox.Finding) bool { return f.ID == "topic-not-durable" || f.ID == "progress-topic" }) // of the seeded topics
			var got []string
			for _, f := range found {
				got = append(got, f.Severity.String()+" "+f.Text)
			}
			if !slices.EqualFunc(got, test.want, strings.HasPrefix) {
				t.Errorf("found are %q, want %q", got, test.want)
			}
		})
	}
}
