// Package chart tests the Helm chart beside it: every mode and toggle is rendered, and each object is compared with the schemas of several versions of
// Kubernetes. It is a module of its own, because the product needs none of Helm.
package chart

import (
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite README.md of the chart, deploy/kubernetes and testdata/commands.json")

const (
	chartDir       = "../pgtee"
	applicationDir = "../examples/application"
)

// object is one object of Kubernetes, as decoded from YAML.
type object = map[string]any

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // Helm tells of each symbolic link
	os.Exit(m.Run())
}

func values(t *testing.T, text string) map[string]any {
	t.Helper()
	var values map[string]any
	if err := yaml.UnmarshalStrict([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	return values
}

func load(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// loadApplication returns the example of a chart whose dependency is pgtee.
func loadApplication(t *testing.T) *chart.Chart {
	t.Helper()
	app, err := loader.Load(applicationDir)
	if err != nil {
		t.Fatal(err)
	}
	pgtee := load(t)
	if want := app.Metadata.Dependencies[0]; want.Name != pgtee.Name() || want.Version != pgtee.Metadata.Version {
		t.Fatalf("the application depends on %s %s, the chart is %s %s", want.Name, want.Version, pgtee.Name(), pgtee.Metadata.Version)
	}
	app.SetDependencies(pgtee)
	return app
}

// render returns the objects of a release in the order of the templates' names, as `helm template` makes them for a version of Kubernetes, and the notes.
func render(c *chart.Chart, release string, values map[string]any, kubernetes string) (objects []object, notes string, err error) {
	version, err := chartutil.ParseKubeVersion(kubernetes)
	if err != nil {
		return nil, "", err
	}
	if !chartutil.IsCompatibleRange(c.Metadata.KubeVersion, version.String()) && c.Metadata.KubeVersion != "" {
		return nil, "", fmt.Errorf("the chart is for Kubernetes %s, not for %s", c.Metadata.KubeVersion, version)
	}
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = *version
	options := chartutil.ReleaseOptions{Name: release, Namespace: "shop", Revision: 1, IsInstall: true}
	top, err := chartutil.ToRenderValues(c, values, options, capabilities)
	if err != nil {
		return nil, "", err
	}
	files, err := engine.Engine{Strict: true}.Render(c, top)
	if err != nil {
		return nil, "", err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if path.Base(name) == "NOTES.txt" {
			notes += files[name]
			continue
		}
		for document := range strings.SplitSeq("\n"+files[name], "\n---\n") {
			var o object
			if err := yaml.UnmarshalStrict([]byte(document), &o); err != nil {
				return nil, "", fmt.Errorf("%s: %w\n%s", name, err, document)
			}
			if o != nil {
				objects = append(objects, o)
			}
		}
	}
	return objects, notes, nil
}

// at returns what stands at a path of keys, nil if nothing does.
func at(value any, keys ...string) any {
	for _, key := range keys {
		mapping, _ := value.(map[string]any)
		value = mapping[key]
	}
	return value
}

func list(value any, keys ...string) []any {
	found, _ := at(value, keys...).([]any)
	return found
}

func kind(o object) string { return fmt.Sprint(o["kind"]) }

func name(o object) string { return fmt.Sprint(at(o, "metadata", "name")) }

// podOf returns the pod template of a workload, nil if the object is none.
func podOf(o object) map[string]any {
	pod, _ := at(o, "spec", "template").(map[string]any)
	return pod
}

// containers returns the containers of a pod template, the init containers first.
func containers(pod map[string]any) []map[string]any {
	var all []map[string]any
	for _, c := range append(slices.Clone(list(pod, "spec", "initContainers")), list(pod, "spec", "containers")...) {
		all = append(all, c.(map[string]any))
	}
	return all
}

// compare holds a file equal to what is made from the chart.
func compare(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(file); err != nil || string(have) != want {
		t.Errorf("%s is stale (%v): make chart", file, err)
	}
}
