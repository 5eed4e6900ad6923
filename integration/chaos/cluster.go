package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/integration/harness"
)

// clusterFaults kills, in turn, the leader of each partition and the coordinator of the publishers' transactions. The next one follows when every
// partition has all of its replicas again: of three brokers, two must be running for Kafka to accept records.
func (c *chaos) clusterFaults() []fault {
	turn := 0
	return []fault{{kill, 1, func(_ *rand.Rand, draw between) {
		down := draw(0, 6*time.Second)
		what, broker, err := c.nextBroker(turn)
		if err != nil {
			c.complain("find the broker to kill: %v", err)
			return
		}
		turn++
		c.note("kafka: broker %d, %s", broker.Node, what)
		broker.Kill()
		down()
		c.restart("Kafka", broker.Start)
		if err := harness.Eventually(time.Minute, c.allInSync); err != nil {
			c.complain("the replicas do not come back: %v", err)
		}
	}}}
}

// nextBroker returns the broker whose turn it is, and its role.
func (c *chaos) nextBroker(turn int) (what string, broker *harness.Kafka, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err = c.askCluster(func(admin *kadm.Client) error {
		topics, err := admin.ListTopics(ctx)
		if err != nil {
			return err
		}
		leaders := map[string]int32{}
		for _, topic := range topics.Sorted() {
			for _, p := range topic.Partitions.Sorted() {
				if strings.HasPrefix(p.Topic, prefix+".") && !strings.Contains(p.Topic, ".made_") {
					leaders[fmt.Sprintf("leader of %s/%d", p.Topic, p.Partition)] = p.Leader
				}
			}
		}
		coordinator := admin.FindTxnCoordinators(ctx, transactionalID)[transactionalID]
		if coordinator.Err != nil {
			return coordinator.Err
		}
		roles := slices.Sorted(maps.Keys(leaders))
		what = "coordinator"
		leader := coordinator.NodeID
		if len(roles) > 0 && turn%3 > 0 {
			what = roles[turn%len(roles)]
			leader = leaders[what]
		}
		if leader < 1 || int(leader) > len(c.brokers) {
			return fmt.Errorf("the %s is broker %d", what, leader)
		}
		broker = c.brokers[leader-1]
		return nil
	})
	return what, broker, err
}

// allInSync returns an error while a replica lags behind.
func (c *chaos) allInSync(ctx context.Context) error {
	return c.askCluster(func(admin *kadm.Client) error {
		topics, err := admin.ListTopicsWithInternal(ctx)
		if err != nil {
			return err
		}
		for _, topic := range topics {
			for _, p := range topic.Partitions {
				if len(p.ISR) < len(p.Replicas) {
					return fmt.Errorf("%s/%d: in sync are %v of %v", p.Topic, p.Partition, p.ISR, p.Replicas)
				}
			}
		}
		return nil
	})
}

func (c *chaos) askCluster(ask func(*kadm.Client) error) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(c.brokerAddresses()...))
	if err != nil {
		return err
	}
	defer client.Close()
	return ask(kadm.NewClient(client))
}

func (c *chaos) brokerAddresses() []string {
	var addresses []string
	for _, k := range c.brokers {
		addresses = append(addresses, k.Address)
	}
	return addresses
}
