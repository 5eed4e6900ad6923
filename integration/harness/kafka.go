package harness

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

const (
	kafkaVersion = "4.1.0" // as integration/kafka/pom.xml pins it
	copyGoal     = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
)

// Kafka is a real Apache Kafka broker: one node, KRaft, no topic made by itself.
type Kafka struct {
	Address string // HOST:PORT

	world   *World
	command Command
	process *Process
	dir     string
}

const brokerConfig = `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%[2]s
listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s%[4]s
advertised.listeners=PLAINTEXT://%[1]s%[5]s
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT%[6]s
log.dirs=%[3]s
num.partitions=1
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
`

// StartKafka starts a broker and waits until it answers. Whoever connects by way of one of the relays
// stays on it: each has a listener of its own, which the broker advertises by the relay's address.
func (w *World) StartKafka(relays ...*Relay) (*Kafka, error) {
	jars, err := kafkaJars(w.Source)
	if err != nil {
		return nil, err
	}
	dir, err := w.Sub("kafka")
	if err != nil {
		return nil, err
	}
	broker, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	controller, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "server.properties")
	listeners, advertised, protocols, err := relayed(relays)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf(brokerConfig, broker, controller, filepath.Join(dir, "data"), listeners, advertised, protocols)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return nil, err
	}
	java := []string{"java", "-cp", filepath.Join(jars, "*"), "-Xms256m", "-Xmx512m", "-XX:+UseSerialGC",
		"-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"}
	format := append(java[:len(java):len(java)], "kafka.tools.StorageTool", "format", "-t", "cGd0ZWUtdGVzdC1rYWZrYQ", "-c", config)
	if out, err := exec.Command(format[0], format[1:]...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("format Kafka's log folder: %w: %s", err, out)
	}
	k := &Kafka{Address: broker, world: w, dir: dir,
		command: Command{Name: "kafka", Args: append(java[:len(java):len(java)], "kafka.Kafka", config)}}
	w.OnClose(k.Stop)
	return k, k.Start()
}

// relayed starts the relays before listeners that are free to take, and returns what the broker's
// configuration says of them.
func relayed(relays []*Relay) (listeners, advertised, protocols string, err error) {
	for i, relay := range relays {
		address, err := FreeAddress()
		if err != nil {
			return "", "", "", err
		}
		relay.Serve(address)
		listeners += fmt.Sprintf(",RELAY%d://%s", i, address)
		advertised += fmt.Sprintf(",RELAY%d://%s", i, relay.Address)
		protocols += fmt.Sprintf(",RELAY%d:PLAINTEXT", i)
	}
	return listeners, advertised, protocols, nil
}

// Start starts a stopped broker on its old address and data.
func (k *Kafka) Start() error {
	p, err := Start(k.dir, k.command)
	if err != nil {
		return err
	}
	k.process = p
	return Eventually(60*time.Second, func(ctx context.Context) error {
		if err := gone(p); err != nil {
			return err
		}
		return k.ping(ctx)
	})
}

// ping asks for the cluster's brokers on a connection of its own. kafka-go's clients would go on asking in the
// background after the broker has stopped, and believe whoever has its port by then.
func (k *Kafka) ping(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", k.Address)
	if err != nil {
		return fmt.Errorf("Kafka: %w", err)
	}
	defer conn.Close()
	asker := protocol.NewConn(conn, "harness")
	asker.SetVersions(map[protocol.ApiKey]int16{protocol.Metadata: 8})
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	answer, err := asker.RoundTrip(&metadata.Request{TopicNames: []string{}})
	if err != nil {
		return fmt.Errorf("Kafka at %s: %w", k.Address, err)
	}
	if brokers := answer.(*metadata.Response).Brokers; len(brokers) != 1 {
		return fmt.Errorf("Kafka at %s: %d brokers registered, want 1", k.Address, len(brokers))
	}
	return nil
}

// Stop ends the broker, as its own stop script does.
func (k *Kafka) Stop() error {
	if k.process == nil {
		return nil
	}
	return k.process.Stop(syscall.SIGTERM, 20*time.Second)
}

// Kill ends the broker as a power loss of the process would.
func (k *Kafka) Kill() { k.process.Kill() }

// Signal sends a signal to the broker's process.
func (k *Kafka) Signal(s syscall.Signal) error { return k.process.Signal(s) }

// kafkaJars returns the folder of the broker's jars, fetched by Maven once.
func kafkaJars(source string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	dir := filepath.Join(cache, "pgtee", "kafka-"+kafkaVersion)
	if _, err := os.Stat(filepath.Join(dir, "complete")); err == nil {
		return dir, nil
	}
	pom := filepath.Join(source, "integration", "kafka", "pom.xml")
	out, err := exec.Command("mvn", "-q", "-B", "-f", pom, copyGoal, "-DincludeScope=runtime", "-DoutputDirectory="+dir).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("fetch Kafka with Maven: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return dir, os.WriteFile(filepath.Join(dir, "complete"), nil, 0o644)
}
