package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const connectVersion = "3.3.1.Final" // of Debezium, as pinned by integration/connect/pom.xml

// Connect is a Kafka Connect worker, standalone, with Debezium's sink and transformations.
type Connect struct {
	address string // of its REST interface
	process *Process
}

// Without replace.null.with.default=false, a NULL in a column with a default would be read as that default, because the converter's schemas have
// defaults, as Debezium's do.
const workerConfig = `bootstrap.servers=%[1]s
listeners=http://%[2]s
offset.storage.file.filename=%[3]s
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.replace.null.with.default=false
plugin.discovery=service_load
consumer.isolation.level=read_committed
consumer.auto.offset.reset=earliest
consumer.max.poll.records=500
`

// StartConnect starts a worker with connectors, each a set of properties with a name, and waits until all of their tasks run. Records are JSON with
// Connect schemas.
func (w *World) StartConnect(k *Kafka, connectors ...map[string]string) (*Connect, error) {
	lib, err := fromMaven(w.Source, "connect", connectVersion, "copy-dependencies")
	if err != nil {
		return nil, err
	}
	dir, err := w.Sub("connect")
	if err != nil {
		return nil, err
	}
	c := &Connect{}
	if c.address, err = FreeAddress(); err != nil {
		return nil, err
	}
	args := []string{"java", "-cp", filepath.Join(lib, "*"), "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "org.apache.kafka.connect.cli.ConnectStandalone"}
	worker := fmt.Sprintf(workerConfig, k.Address, c.address, filepath.Join(dir, "offsets"))
	args = append(args, filepath.Join(dir, "worker.properties"))
	if err := os.WriteFile(args[len(args)-1], []byte(worker), 0o644); err != nil {
		return nil, err
	}
	for _, connector := range connectors {
		args = append(args, filepath.Join(dir, connector["name"]+".properties"))
		if err := os.WriteFile(args[len(args)-1], []byte(properties(connector)), 0o644); err != nil {
			return nil, err
		}
	}
	if c.process, err = Start(dir, Command{Name: "connect", Args: args}); err != nil {
		return nil, err
	}
	w.OnClose(func() error { c.Kill(); return nil })
	return c, Eventually(2*time.Minute, func(ctx context.Context) error {
		for _, connector := range connectors {
			if err := c.Check(ctx, connector["name"]); err != nil {
				return err
			}
		}
		return nil
	})
}

// properties returns the text of a Java properties file, in which a backslash is doubled.
func properties(settings map[string]string) string {
	var b strings.Builder
	for name, value := range settings {
		fmt.Fprintf(&b, "%s=%s\n", name, strings.ReplaceAll(value, `\`, `\\`))
	}
	return b.String()
}

// Check returns an error unless a connector and its tasks are running (Kafka Connect, "REST API").
func (c *Connect) Check(ctx context.Context, connector string) error {
	if err := c.process.Alive(); err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.address+"/connectors/"+connector+"/status", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var status struct {
		Tasks []struct{ State, Trace string }
	}
	if err := json.NewDecoder(answer.Body).Decode(&status); err != nil {
		return fmt.Errorf("status of connector %s: %w", connector, err)
	}
	if len(status.Tasks) == 0 {
		return fmt.Errorf("connector %s has no task yet", connector)
	}
	for _, task := range status.Tasks {
		if task.State != "RUNNING" {
			return fmt.Errorf("a task of connector %s is %s: %s", connector, task.State, task.Trace)
		}
	}
	return nil
}

// Kill ends the worker.
func (c *Connect) Kill() { c.process.Kill() }

// Tail returns the last n lines of the worker's output.
func (c *Connect) Tail(n int) string { return c.process.Tail(n) }
