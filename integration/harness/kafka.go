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

const kafkaVersion = "4.1.0" // as pinned by integration/kafka/pom.xml

// Kafka is a real Apache Kafka broker, alone or in a cluster: KRaft, without automatic topic creation.
type Kafka struct {
	Address string // HOST:PORT
	Node    int32  // id, starting at 1

	controller string // HOST:PORT of its controller listener
	command    Command
	process    *Process
	dir        string
}

// A topic has as many replicas as there are brokers, and can be written to while one of them is away.
const brokerConfig = `process.roles=broker,controller
node.id=%[1]d
controller.quorum.voters=%[2]s
listeners=%[3]s
advertised.listeners=%[4]s
listener.security.protocol.map=%[5]s
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs=%[6]s
num.partitions=1
auto.create.topics.enable=false
default.replication.factor=%[7]d
min.insync.replicas=%[8]d
offsets.topic.replication.factor=%[7]d
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=%[7]d
transaction.state.log.min.isr=%[8]d
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
`

// StartKafka starts a broker and waits until it responds. A client that connects through one of the relays stays on it: each has a listener of its
// own, which the broker advertises with the relay's address.
func (w *World) StartKafka(relays ...*Relay) (*Kafka, error) {
	extra, err := relayed(relays)
	if err != nil {
		return nil, err
	}
	return w.startOne(extra)
}

// StartShippedKafka starts a broker for measurements, with the JVM settings of Kafka's own scripts.
func (w *World) StartShippedKafka() (*Kafka, error) { return w.startOne(listeners{jvm: shippedJVM}) }

var (
	// quickJVM starts quickly and uses little memory.
	quickJVM = []string{"-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"}
	// shippedJVM has the settings of kafka-server-start.sh and kafka-run-class.sh.
	shippedJVM = []string{"-Xms1g", "-Xmx1g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent"}
)

func (w *World) startOne(extra listeners) (*Kafka, error) {
	brokers, err := w.startCluster(1, extra)
	if err != nil {
		return nil, err
	}
	return brokers[0], nil
}

// listeners are the settings of additional listeners of a broker, beside PLAINTEXT and CONTROLLER.
type listeners struct {
	listen, advertised, protocols string // ",NAME://HOST:PORT", ",NAME:PROTOCOL"
	properties                    string
	format                        []string // arguments of the storage tool
	jvm                           []string // JVM options; nil: quickJVM
}

// StartCluster starts a number of brokers and waits until they respond.
func (w *World) StartCluster(brokers int) ([]*Kafka, error) {
	return w.startCluster(brokers, listeners{})
}

func (w *World) startCluster(n int, extra listeners) ([]*Kafka, error) {
	jars, err := fromMaven(w.Source, "kafka", kafkaVersion, "copy-dependencies")
	if err != nil {
		return nil, err
	}
	jvm := extra.jvm
	if jvm == nil {
		jvm = quickJVM
	}
	java := append([]string{"java", "-cp", filepath.Join(jars, "*"), "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"}, jvm...)
	brokers := make([]*Kafka, n)
	for i := range brokers {
		if brokers[i], err = w.newBroker(int32(i + 1)); err != nil {
			return nil, err
		}
	}
	for _, k := range brokers {
		if err := k.configure(java, brokers, extra); err != nil {
			return nil, err
		}
		end := k.Stop
		if n > 1 { // the last ones would wait for a quorum
			end = func() error { k.Kill(); return nil }
		}
		if err := k.launch(); err != nil { // none responds before most of them are running
			return nil, err
		}
		w.OnClose(end)
	}
	for _, k := range brokers {
		if err := k.awaitAnswer(); err != nil {
			return nil, err
		}
	}
	return brokers, nil
}

func (w *World) newBroker(node int32) (k *Kafka, err error) {
	k = &Kafka{Node: node}
	if k.dir, err = w.Sub("kafka"); err != nil {
		return nil, err
	}
	if k.Address, err = FreeAddress(); err != nil {
		return nil, err
	}
	k.controller, err = FreeAddress()
	return k, err
}

// configure writes the broker's configuration and formats its log folder.
func (k *Kafka) configure(java []string, cluster []*Kafka, extra listeners) error {
	var voters []string
	for _, other := range cluster {
		voters = append(voters, fmt.Sprintf("%d@%s", other.Node, other.controller))
	}
	n := len(cluster)
	text := fmt.Sprintf(brokerConfig, k.Node, strings.Join(voters, ","),
		fmt.Sprintf("PLAINTEXT://%s,CONTROLLER://%s%s", k.Address, k.controller, extra.listen),
		fmt.Sprintf("PLAINTEXT://%s%s", k.Address, extra.advertised), "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"+extra.protocols,
		filepath.Join(k.dir, "data"), n, max(1, n-1)) + extra.properties
	config := filepath.Join(k.dir, "server.properties")
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return err
	}
	format := append(java[:len(java):len(java)], "kafka.tools.StorageTool", "format", "-t", "cGd0ZWUtdGVzdC1rYWZrYQ", "-c", config)
	format = append(format, extra.format...)
	if out, err := exec.Command(format[0], format[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("format Kafka's log folder: %w: %s", err, out)
	}
	k.command = Command{Name: "kafka", Args: append(java[:len(java):len(java)], "kafka.Kafka", config)}
	return nil
}

// relayed starts the relays in front of listeners on free ports, and returns the broker settings for them.
func relayed(relays []*Relay) (l listeners, err error) {
	for i, relay := range relays {
		address, err := FreeAddress()
		if err != nil {
			return l, err
		}
		relay.Serve(address)
		l.listen += fmt.Sprintf(",RELAY%d://%s", i, address)
		l.advertised += fmt.Sprintf(",RELAY%d://%s", i, relay.Address)
		l.protocols += fmt.Sprintf(",RELAY%d:PLAINTEXT", i)
	}
	return l, nil
}

// Start starts a stopped broker with its old address and data.
func (k *Kafka) Start() error {
	if err := k.launch(); err != nil {
		return err
	}
	err := k.awaitAnswer()
	if err != nil {
		k.Kill()
	}
	return err
}

func (k *Kafka) launch() (err error) {
	k.process, err = Start(k.dir, k.command)
	return err
}

// startPatience is long, because a broker that recovers its log on a busy machine takes minutes.
const startPatience = 4 * time.Minute

func (k *Kafka) awaitAnswer() error {
	return Eventually(startPatience, func(ctx context.Context) error {
		if err := k.process.Alive(); err != nil {
			return err
		}
		return k.ping(ctx)
	})
}

// ping queries the cluster's brokers on a connection of its own. The clients of kafka-go would continue to query in the background after the broker
// has stopped, and trust whatever uses its port by then.
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
	for _, broker := range answer.(*metadata.Response).Brokers {
		if broker.NodeID == k.Node {
			return nil
		}
	}
	return fmt.Errorf("Kafka at %s is not registered", k.Address)
}

// Stop stops the broker, as its own stop script does.
func (k *Kafka) Stop() error {
	if k.process == nil {
		return nil
	}
	return k.process.Stop(syscall.SIGTERM, 20*time.Second)
}

// Kill ends the broker as a power loss would.
func (k *Kafka) Kill() { k.process.Kill() }

// Lower lets the running broker have only the processor time that others leave.
func (k *Kafka) Lower() error { return k.process.Lower() }

// CPUSoFar returns the processor time that the running broker has used.
func (k *Kafka) CPUSoFar() (time.Duration, error) { return k.process.CPUSoFar() }

// Signal sends a signal to the broker's process.
func (k *Kafka) Signal(s syscall.Signal) error { return k.process.Signal(s) }
