package harness

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const registryVersion = "2.6.13.Final" // as pinned by integration/registry/pom.xml

// Registry is a real schema registry, Apicurio, which keeps its schemas in memory.
type Registry struct {
	Address string // HOST:PORT

	command Command
	process *Process
	dir     string
}

// StartRegistry starts a schema registry and waits until it responds. As in Confluent's registry, a new schema of a subject must be backward
// compatible.
func (w *World) StartRegistry() (*Registry, error) {
	files, err := fromMaven(w.Source, "registry", registryVersion, "unpack-dependencies")
	if err != nil {
		return nil, err
	}
	dir, err := w.Sub("registry")
	if err != nil {
		return nil, err
	}
	address, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	host, port, _ := net.SplitHostPort(address) // for a listener
	r := &Registry{Address: address, dir: dir, command: Command{
		Name: "registry",
		Args: []string{"java", "-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
			"-jar", filepath.Join(files, "apicurio-registry-app-"+registryVersion+"-runner.jar")},
		Env: []string{"QUARKUS_HTTP_HOST=" + host, "QUARKUS_HTTP_PORT=" + port},
		Dir: dir,
	}}
	w.OnClose(r.Stop)
	return r, r.Start()
}

// URL returns the root of Confluent's REST interface.
func (r *Registry) URL() string { return "http://" + r.Address + "/apis/ccompat/v7" }

// Start starts a stopped registry. Its schemas are lost.
func (r *Registry) Start() error {
	p, err := Start(r.dir, r.command)
	if err != nil {
		return err
	}
	r.process = p
	return Eventually(60*time.Second, func(ctx context.Context) error {
		if err := p.Alive(); err != nil {
			return err
		}
		return r.SetCompatibility(ctx, "", "BACKWARD")
	})
}

// Stop ends the registry.
func (r *Registry) Stop() error {
	if r.process == nil {
		return nil
	}
	return r.process.Stop(syscall.SIGTERM, 20*time.Second)
}

// SetCompatibility sets which new versions of a subject the registry accepts; "" stands for every subject.
func (r *Registry) SetCompatibility(ctx context.Context, subject, level string) error {
	url := strings.TrimSuffix(r.URL()+"/config/"+subject, "/")
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, url, strings.NewReader(`{"compatibility":"`+level+`"}`))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusOK {
		return fmt.Errorf("registry: set the compatibility: %s: %s (%v)", answer.Status, text, err)
	}
	return nil
}
