package chart

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"
)

// kubernetesVersions are the releases whose schemas the objects must satisfy: the oldest for which the chart is, the newest, and one between.
var kubernetesVersions = []string{"v1.29.6", "v1.34.4", "v1.37.2"}

// definitions are the types of one version of Kubernetes.
type definitions struct {
	compiler *jsonschema.Compiler
	names    map[string]string // apiVersion and kind -> name of the definition
	compiled map[string]*jsonschema.Schema
}

// readDefinitions reads the OpenAPI document in the source of Kubernetes, which it downloads if the module cache does not have it.
func readDefinitions(t *testing.T, version string) *definitions {
	t.Helper()
	command := exec.Command("go", "mod", "download", "-json", "k8s.io/kubernetes@"+version)
	out, err := command.Output()
	var module struct{ Dir, Error string }
	if err := errors.Join(err, json.Unmarshal(out, &module)); err != nil || module.Error != "" {
		t.Fatalf("%s: %v %s", command, err, module.Error)
	}
	file, err := os.ReadFile(filepath.Join(module.Dir, "api/openapi-spec/swagger.json"))
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	types := at(document, "definitions").(map[string]any)
	d := &definitions{jsonschema.NewCompiler(), map[string]string{}, map[string]*jsonschema.Schema{}}
	for name, definition := range types {
		definition := definition.(map[string]any)
		for _, group := range list(definition, "x-kubernetes-group-version-kind") {
			version := fmt.Sprint(at(group, "version"))
			if group := at(group, "group"); group != "" {
				version = fmt.Sprintf("%s/%s", group, version)
			}
			d.names[version+" "+fmt.Sprint(at(group, "kind"))] = name
		}
		if definition["properties"] != nil && definition["additionalProperties"] == nil {
			definition["additionalProperties"] = false
		}
	}
	// Both are texts in the document, but numbers, too, in YAML.
	for _, name := range []string{"io.k8s.apimachinery.pkg.util.intstr.IntOrString", "io.k8s.apimachinery.pkg.api.resource.Quantity"} {
		types[name] = map[string]any{"type": []any{"string", "number"}}
	}
	if err := d.compiler.AddResource("kubernetes.json", map[string]any{"definitions": types}); err != nil {
		t.Fatal(err)
	}
	return d
}

// validate checks one object strictly: an unknown field is an error, as is one that has another type or is missing.
func (d *definitions) validate(o object) error {
	id := fmt.Sprintf("%s %s", o["apiVersion"], o["kind"])
	switch id {
	case "monitoring.coreos.com/v1 PodMonitor":
		return decode(o, &monitoring.PodMonitor{})
	case "monitoring.coreos.com/v1 PrometheusRule":
		return decode(o, &monitoring.PrometheusRule{})
	}
	schema := d.compiled[id]
	if schema == nil {
		name, known := d.names[id]
		if !known {
			return fmt.Errorf("there is no %s", id)
		}
		var err error
		if schema, err = d.compiler.Compile("kubernetes.json#/definitions/" + name); err != nil {
			return err
		}
		d.compiled[id] = schema
	}
	return schema.Validate(o)
}

// decode checks an object of the Prometheus operator against its Go type.
func decode(o object, into any) error {
	text, err := yaml.Marshal(o)
	if err != nil {
		return err
	}
	return yaml.UnmarshalStrict(text, into)
}
