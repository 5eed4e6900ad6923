package chart

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"gopkg.in/yaml.v3"
	kubernetesyaml "sigs.k8s.io/yaml"
)

// examples are files of values in ../examples, each the source of a manifest in deploy/kubernetes.
var examples = []string{"gateway", "publisher", "run"}

// TestREADME holds the chart's README equal to its template and to the comments in values.yaml.
func TestREADME(t *testing.T) {
	page, err := template.ParseFiles(filepath.Join(chartDir, "README.md.gotmpl"))
	if err != nil {
		t.Fatal(err)
	}
	metadata := load(t).Metadata
	var out strings.Builder
	if err := page.Execute(&out, map[string]any{"Chart": metadata, "Values": valuesTable(t)}); err != nil {
		t.Fatal(err)
	}
	compare(t, filepath.Join(chartDir, "README.md"), out.String())
}

// valuesTable is a Markdown table of the values, in the form that helm-docs gives it.
func valuesTable(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartDir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	out := &strings.Builder{}
	out.WriteString("| Key | Type | Default | Description |\n|-----|------|---------|-------------|\n")
	describe(t, out, "", document.Content[0])
	return strings.TrimSuffix(out.String(), "\n")
}

// describe writes a line for each value with a comment. One without has to have commented values in it.
func describe(t *testing.T, out *strings.Builder, prefix string, mapping *yaml.Node) {
	t.Helper()
	for i := 0; i < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		name := prefix + key.Value
		_, comment, found := strings.Cut(key.HeadComment, "# -- ")
		if !found {
			if value.Kind != yaml.MappingNode || len(value.Content) == 0 {
				t.Errorf("values.yaml does not say what %s is", name)
			}
			describe(t, out, name+".", value)
			continue
		}
		var decoded any
		if err := value.Decode(&decoded); err != nil {
			t.Fatal(err)
		}
		shown, err := json.Marshal(decoded)
		if err != nil {
			t.Fatal(err)
		}
		kind := map[string]string{"!!str": "string", "!!int": "int", "!!bool": "bool", "!!map": "object", "!!seq": "list"}[value.Tag]
		fmt.Fprintf(out, "| %s | %s | `%s` | %s |\n", name, kind, shown, strings.ReplaceAll(comment, "\n# ", " "))
	}
}

// TestManifests holds deploy/kubernetes equal to the examples.
func TestManifests(t *testing.T) {
	manifest := func(file, head string, objects []object, keep func(object) bool) {
		out := &strings.Builder{}
		fmt.Fprintf(out, "# Made from deploy/helm by make chart: change it there.\n%s", head)
		for _, o := range objects {
			if !keep(o) {
				continue
			}
			withoutHelm(o)
			text, err := kubernetesyaml.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(out, "---\n%s", text)
		}
		compare(t, filepath.Join("../../kubernetes", file+".yaml"), out.String())
	}
	isSetup := func(o object) bool { return strings.HasSuffix(name(o), "-setup") }
	for _, example := range examples {
		text, err := os.ReadFile(filepath.Join("../examples", example+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(string(text), "\n")
		head = strings.Replace(head, ", with `pgtee setup` before each installation and upgrade", "", 1)
		objects, _, err := render(load(t), "pgtee-"+example, values(t, string(text)), kubernetesVersions[0])
		if err != nil {
			t.Fatal(err)
		}
		manifest(example, head+"\n", objects, func(o object) bool { return !isSetup(o) })
		if example == "publisher" {
			manifest("setup", "# Run it before the others, and again before each upgrade: kubectl replace --force -f setup.yaml\n", objects, isSetup)
		}
	}
	objects, _, err := render(loadApplication(t), "application", nil, kubernetesVersions[0])
	if err != nil {
		t.Fatal(err)
	}
	manifest("sidecar", "# An application whose pods have a proxy as a sidecar, beside the publisher of publisher.yaml.\n", objects, func(object) bool { return true })
}

// withoutHelm removes the namespace and what only Helm understands.
func withoutHelm(value any) {
	switch value := value.(type) {
	case map[string]any:
		if metadata, found := value["metadata"].(map[string]any); found {
			delete(metadata, "namespace")
			for _, field := range []string{"labels", "annotations"} {
				list, _ := metadata[field].(map[string]any)
				for key := range list {
					if strings.HasPrefix(key, "helm.sh/") || key == "app.kubernetes.io/managed-by" {
						delete(list, key)
					}
				}
				if len(list) == 0 {
					delete(metadata, field)
				}
			}
		}
		for _, inner := range value {
			withoutHelm(inner)
		}
	case []any:
		for _, inner := range value {
			withoutHelm(inner)
		}
	}
}

// command is how a pod starts pgtee. The tests of cmd/pgtee parse it with the flags of the binary.
type command struct {
	Case         string            `json:"case"`
	Args         []string          `json:"args"`
	Env          map[string]string `json:"env"` // a reference to a secret has a value of the right form
	Config       string            `json:"config"`
	GraceSeconds int               `json:"graceSeconds,omitempty"` // 0: Kubernetes' default, or the application's
}

// TestCommands holds testdata/commands.json equal to what the cases start.
func TestCommands(t *testing.T) {
	var commands []command
	for _, c := range cases(t) {
		objects, _, err := render(c.chart, "shop", c.values, kubernetesVersions[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range objects {
			pod := podOf(o)
			if pod == nil {
				continue
			}
			for _, container := range containers(pod) {
				if container["name"] == "application" {
					continue
				}
				run := command{Case: c.name + ", " + kind(o), Env: map[string]string{}, Config: configOf(t, pod, objects)}
				for _, arg := range list(container, "args") {
					run.Args = append(run.Args, arg.(string))
				}
				for _, v := range list(container, "env") {
					value, plain := at(v, "value").(string)
					if !plain {
						value = map[string]string{"PGTEE_POSTGRES": "postgres://pgtee@postgres:5432/shop"}[at(v, "name").(string)]
					}
					run.Env[at(v, "name").(string)] = value
				}
				if grace, found := at(pod, "spec", "terminationGracePeriodSeconds").(float64); found {
					run.GraceSeconds = int(grace)
				}
				commands = append(commands, run)
			}
		}
	}
	text, err := json.MarshalIndent(commands, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "testdata/commands.json", string(text)+"\n")
}
