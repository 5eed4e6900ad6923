package embedded

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"
)

// BrokerConfig says where a broker listens and keeps its data.
type BrokerConfig struct {
	Dir  string // its data survive Close and a kill; "": in memory
	Port int    // on 127.0.0.1; 0: any free port
}

// Broker implements the Kafka protocol in this process: transactions, read_committed, consumer groups. It is a single node, for demos and tests; its
// fencing is weaker than Kafka's.
type Broker struct {
	cluster *kfake.Cluster
	address string
}

// StartBroker starts a broker with the topics in Dir.
func StartBroker(config BrokerConfig) (*Broker, error) {
	options := []kfake.Opt{kfake.Ports(config.Port), kfake.DefaultNumPartitions(1)}
	if config.Dir != "" {
		options = append(options, kfake.DataDir(config.Dir))
	}
	cluster, err := kfake.NewCluster(options...)
	if err != nil {
		return nil, fmt.Errorf("start the broker on port %d: %w", config.Port, err)
	}
	return &Broker{cluster, strings.Join(cluster.ListenAddrs(), ",")}, nil
}

// Address returns the bootstrap host:port.
func (b *Broker) Address() string { return b.address }

// Close stops the broker.
func (b *Broker) Close() { b.cluster.Close() }
