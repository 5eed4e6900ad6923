package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/publisher/avro"
	"github.com/pgtee/pgtee/subscriber/decode"
)

// registryFlags say where the schema registry is, and how to log in. Secrets come from a file or the environment, where they do not appear in process
// listings.
type registryFlags struct {
	SchemaRegistry         []string `help:"Schema registry with Confluent's REST interface; several, if they serve the same schemas. For Apicurio: http://HOST:PORT/apis/ccompat/v7." placeholder:"URL"`
	SchemaRegistryAuthFile string   `help:"File with one line, USER:PASSWORD or Bearer TOKEN, read before each request. Without this flag PGTEE_SCHEMA_REGISTRY_AUTH is used." type:"path" placeholder:"FILE"`
	SchemaRegistryCA       string   `name:"schema-registry-ca" help:"CA of the registry's certificate, PEM; by default the system's." type:"path" placeholder:"FILE"`
	SchemaRegistryCert     string   `name:"schema-registry-cert" help:"Client certificate for the registry, PEM." type:"path" placeholder:"FILE"`
	SchemaRegistryKey      string   `name:"schema-registry-key" help:"Private key of --schema-registry-cert, PEM." type:"path" placeholder:"FILE"`
	AutoRegister           bool     `help:"Register the schemas of tables; otherwise they must already be in the registry." default:"true" negatable:""`
}

// reader returns a reader for Avro; nil if there is no registry.
func (f registryFlags) reader() (*decode.Avro, error) {
	if len(f.SchemaRegistry) == 0 {
		return nil, nil
	}
	files, err := readTLS("--schema-registry", f.SchemaRegistryCA, f.SchemaRegistryCert, f.SchemaRegistryKey)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: files.config, DialTLSContext: files.dial, Proxy: http.ProxyFromEnvironment}}
	return &decode.Avro{URLs: f.SchemaRegistry, Client: client, Authorize: f.authorize}, nil
}

// registry returns the Registry without connecting to it.
func (f registryFlags) registry(log *zap.Logger) (*avro.Registry, error) {
	if len(f.SchemaRegistry) == 0 {
		return nil, errors.New("avro needs a schema registry: add --schema-registry http://HOST:PORT")
	}
	files, err := readTLS("--schema-registry", f.SchemaRegistryCA, f.SchemaRegistryCert, f.SchemaRegistryKey)
	if err != nil {
		return nil, err
	}
	line, err := f.secret()
	if err != nil {
		return nil, err
	}
	if err := authorize(&http.Request{Header: http.Header{}}, line); err != nil {
		return nil, err
	}
	registry, err := avro.NewRegistry(avro.RegistryConfig{
		URLs:      f.SchemaRegistry,
		TLS:       files.config,
		DialTLS:   files.dial,
		Authorize: f.authorize,
		LookUp:    !f.AutoRegister,
		Log:       log,
	})
	if err != nil {
		return nil, fmt.Errorf("--schema-registry: %w", err)
	}
	return registry, nil
}

// authorize adds the current credentials to a request.
func (f registryFlags) authorize(r *http.Request) error {
	line, err := f.secret()
	if err != nil {
		return err
	}
	return authorize(r, line)
}

// secret returns the credentials; empty if there are none.
func (f registryFlags) secret() (string, error) {
	if f.SchemaRegistryAuthFile == "" {
		return strings.TrimSpace(os.Getenv("PGTEE_SCHEMA_REGISTRY_AUTH")), nil
	}
	text, err := os.ReadFile(f.SchemaRegistryAuthFile)
	if err != nil {
		return "", fmt.Errorf("--schema-registry-auth-file: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// authorize never quotes the line in errors, because it is a secret.
func authorize(r *http.Request, line string) error {
	if line == "" {
		return nil
	}
	if strings.ContainsAny(line, "\r\n") {
		return errors.New("the credentials of the schema registry: want one line, USER:PASSWORD or Bearer TOKEN")
	}
	if token, bearer := strings.CutPrefix(line, "Bearer "); bearer {
		r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
		return nil
	}
	user, password, found := strings.Cut(line, ":")
	if !found {
		return errors.New("the credentials of the schema registry: want USER:PASSWORD or Bearer TOKEN")
	}
	r.SetBasicAuth(user, password)
	return nil
}
