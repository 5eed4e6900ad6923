package chart

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

// required are the values that have no default.
const required = `
postgres: {secret: {name: shop-publisher}}
noteKey: {secret: {name: shop-note-key}}
kafka: {brokers: ["kafka-1:9092", "kafka-2:9092"]}
`

// everything sets every value that adds or changes something.
const everything = `
commonLabels: {team: shop}
commonAnnotations: {example.com/owner: shop}
image: {repository: images.example.com/pgtee, digest: "sha256:` + digest + `", pullPolicy: Always}
imagePullSecrets: [{name: images}]
replicas: 3
config:
  log-format: json
  prefix: shop
  slot: shop
  sql-text: full
  require-outbox: true
  max-retained-wal: 20GB:warn
  format: avro
  part-bytes: 8388608
  exclude-tables: ["*.*_tmp"]
  unmasked-sql-text: true
  grant-publisher: [pgtee]
  tables:
    - match: public.customers
      hash: [email]
postgres: {secret: {name: shop-publisher, key: url}, tls: {secret: shop-ca, files: [ca.crt, tls.crt, tls.key]}}
noteKey: {secret: {name: shop-note-key, key: key}}
kafka:
  brokers: ["kafka-1:9093", "kafka-2:9093"]
  tls: {enabled: true, secret: kafka-tls, ca: ca.crt, cert: user.crt, key: user.key}
  sasl: {mechanism: scram-sha-512, user: pgtee, secret: {name: kafka-user}}
schemaRegistry: {urls: ["https://registry:8081"], secret: {name: registry}, tls: {secret: registry-tls, ca: ca.crt, cert: tls.crt, key: tls.key}}
hashSalt: {secret: {name: shop-salt}}
clientTLS: {secret: shop-tls, mode: verify-full, clientCA: true}
drain: {seconds: 120, delaySeconds: 60}
service: {type: LoadBalancer, port: 6432, annotations: {example.com/internal: "true"}, externalTrafficPolicy: Local, loadBalancerSourceRanges: [10.0.0.0/8]}
console: {enabled: true, port: 443, secret: {name: shop-console}, hosts: [pgtee.example.com], tls: {secret: console-tls, clientCA: true}}
setup: {enabled: true, postgres: {secret: {name: shop-superuser}}}
monitoring:
  podMonitor: {enabled: true, labels: {release: prometheus}, interval: 15s, relabelings: [{targetLabel: team, replacement: shop}], metricRelabelings: [{action: labeldrop, regex: pod}]}
  prometheusRule: {enabled: true, labels: {release: prometheus}}
  grafanaDashboard: {enabled: true, namespace: monitoring, annotations: {folder: pgtee}}
podDisruptionBudget: {maxUnavailable: 50%}
networkPolicy:
  enabled: true
  clients: [{podSelector: {matchLabels: {app: shop}}}, {ipBlock: {cidr: 10.0.0.0/8}}]
  postgres: {ports: [5432, 5433], to: [{ipBlock: {cidr: 10.1.0.0/16}}]}
  additionalEgress: [{ports: [{port: 4317}]}]
serviceAccount: {name: pgtee, annotations: {example.com/role: pgtee}}
topologySpreadConstraints: [{maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app.kubernetes.io/name: pgtee}}}]
affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: arch, operator: In, values: [amd64]}]}]}}}
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: databases, operator: Exists, effect: NoSchedule}]
priorityClassName: high
podLabels: {cost: shop}
podAnnotations: {example.com/note: pgtee}
additionalEnv: [{name: GOMEMLIMIT, value: 900MiB}]
additionalEnvFrom: [{secretRef: {name: shop-env, optional: true}}]
additionalVolumes: [{name: scratch, emptyDir: {}}]
additionalVolumeMounts: [{name: scratch, mountPath: /scratch}]
`

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// testCase is one set of values.
type testCase struct {
	name   string
	chart  *chart.Chart
	values map[string]any
}

// cases are every mode with the least and with all values, the examples, and each toggle against its default.
func cases(t *testing.T) []testCase {
	t.Helper()
	c := load(t)
	var all []testCase
	add := func(name string, c *chart.Chart, text string, change func(values map[string]any)) {
		v := values(t, text)
		change(v)
		all = append(all, testCase{name, c, v})
	}
	for _, mode := range []string{"gateway", "publisher", "run", "sidecar"} {
		set := func(v map[string]any) {
			v["mode"] = mode
			if mode == "sidecar" {
				delete(v, "console")
			}
		}
		add(mode+", required values", c, required, set)
		add(mode+", every value", c, everything, set)
		application := func(v map[string]any) {
			set(v)
			inner := maps.Clone(v)
			clear(v)
			v["pgtee"] = inner
		}
		if mode == "sidecar" {
			app := loadApplication(t)
			add("application, required values", app, required, application)
			add("application, every value", app, everything, application)
			add("application, a port", app, required+"sidecar: {listen: 'localhost:6432'}", application)
		}
	}
	keep := func(map[string]any) {}
	for _, toggle := range []string{
		"podDisruptionBudget: {enabled: false}", "serviceAccount: {create: false}", "networkPolicy: {enabled: true}", "networkPolicy: {enabled: true, clients: [], monitoring: []}",
		"console: {enabled: true, secret: {name: shop-console}}", "setup: {enabled: true}", "monitoring: {podMonitor: {enabled: true}}", "image: {tag: latest}", "nameOverride: proxy", "fullnameOverride: proxy",
		"clientTLS: {secret: shop-tls}", "monitoring: {prometheusRule: {enabled: true}, grafanaDashboard: {enabled: true}}", "global: {anything: true}",
		"drain: {seconds: 20, delaySeconds: 0}",
	} {
		add("gateway, "+toggle, c, required+toggle, keep)
	}
	for _, toggle := range []string{
		"kafka: {brokers: ['kafka:9092'], tls: {enabled: true}}", "kafka: {brokers: ['kafka:9092'], sasl: {mechanism: oauthbearer, secret: {name: token}}}", "schemaRegistry: {urls: ['http://registry:8081']}\nconfig: {format: avro}",
	} {
		text := required
		if strings.HasPrefix(toggle, "kafka:") {
			text = strings.Replace(required, "kafka: {brokers: [\"kafka-1:9092\", \"kafka-2:9092\"]}\n", "", 1)
		}
		add("publisher, "+toggle, c, text+"mode: publisher\n"+toggle, keep)
	}
	for _, file := range examples {
		text, err := os.ReadFile(path.Join("../examples", file+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		add("example "+file, c, string(text), keep)
	}
	add("example application", loadApplication(t), "{}", keep)
	return all
}

// TestKubernetesAcceptsEveryMode renders everything for several versions of Kubernetes.
func TestKubernetesAcceptsEveryMode(t *testing.T) {
	for _, version := range kubernetesVersions {
		t.Run(version, func(t *testing.T) {
			definitions := readDefinitions(t, version)
			for _, c := range cases(t) {
				t.Run(c.name, func(t *testing.T) {
					objects, _, err := render(c.chart, "shop", c.values, version)
					if err != nil {
						t.Fatal(err)
					}
					if len(objects) == 0 {
						t.Fatal("nothing is rendered")
					}
					for _, o := range objects {
						if err := definitions.validate(o); err != nil {
							t.Errorf("%s %s: %v", kind(o), name(o), err)
						}
					}
				})
			}
		})
	}
}

// TestBrokenTemplatesAreFound plants mistakes in templates: a check that cannot fail shows nothing.
func TestBrokenTemplatesAreFound(t *testing.T) {
	definitions := readDefinitions(t, kubernetesVersions[0])
	for _, planted := range []struct{ template, old, new, error string }{
		{"deployment.yaml", "  replicas:", "  replica:", "replica"},
		{"deployment.yaml", "terminationGracePeriodSeconds: {{ add .Values.drain.seconds 15 }}", "terminationGracePeriodSeconds: soon", "terminationGracePeriodSeconds"},
		{"deployment.yaml", "  selector:\n    matchLabels:", "  selectors:\n    matchLabels:", "selector"},
		{"_helpers.tpl", "periodSeconds: 1", "period: 1", "period"},
		{"_helpers.tpl", "restartPolicy: Always", "restart: Always", "restart"},
		{"poddisruptionbudget.yaml", "policy/v1", "policy/v1beta1", "there is no"},
		{"networkpolicy.yaml", "policyTypes:", "types:", "types"},
		{"service.yaml", "targetPort: postgres", "target: postgres", "target"},
		{"podmonitor.yaml", "podMetricsEndpoints:", "endpoints:", "endpoints"},
		{"prometheusrule.yaml", "spec:", "specification:", "specification"},
		{"setup.yaml", "backoffLimit:", "retries:", "retries"},
	} {
		var errs []string
		count := 0
		for _, c := range cases(t) {
			if !strings.HasSuffix(c.name, "every value") {
				continue
			}
			for _, charted := range append(c.chart.Dependencies(), c.chart) {
				for _, file := range charted.Templates {
					if file.Name == "templates/"+planted.template && charted.Name() == "pgtee" {
						count += strings.Count(string(file.Data), planted.old)
						file.Data = []byte(strings.ReplaceAll(string(file.Data), planted.old, planted.new))
					}
				}
			}
			objects, _, err := render(c.chart, "shop", c.values, kubernetesVersions[0])
			if err != nil {
				errs = append(errs, err.Error())
			}
			for _, o := range objects {
				if err := definitions.validate(o); err != nil {
					errs = append(errs, err.Error())
				}
			}
		}
		if count == 0 {
			t.Errorf("%s has no %q", planted.template, planted.old)
		} else if !slices.ContainsFunc(errs, func(text string) bool { return strings.Contains(text, planted.error) }) {
			t.Errorf("%q in place of %q in %s is accepted: %q", planted.new, planted.old, planted.template, errs)
		}
	}
}

// TestNamesAndLabels uses the longest names that Helm allows.
func TestNamesAndLabels(t *testing.T) {
	for _, c := range cases(t) {
		for _, release := range []string{"pgtee", strings.Repeat("shop", 13)} {
			objects, _, err := render(c.chart, release, c.values, kubernetesVersions[0])
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			seen := map[string]bool{}
			for _, o := range objects {
				id := kind(o) + " " + name(o)
				if seen[id] {
					t.Errorf("%s: %s occurs twice", c.name, id)
				}
				seen[id] = true
				for _, problem := range validation.IsDNS1123Label(name(o)) {
					t.Errorf("%s: %s: %s", c.name, id, problem)
				}
				checkLabels(t, c.name+": "+id, o)
				if pod := podOf(o); pod != nil {
					checkLabels(t, c.name+": pod of "+id, pod)
					for _, container := range containers(pod) {
						for _, port := range list(container, "ports") {
							for _, problem := range validation.IsValidPortName(fmt.Sprint(at(port, "name"))) {
								t.Errorf("%s: port %s: %s", c.name, at(port, "name"), problem)
							}
						}
					}
				}
			}
		}
	}
}

func checkLabels(t *testing.T, where string, o object) {
	t.Helper()
	labels, _ := at(o, "metadata", "labels").(map[string]any)
	for key, value := range labels {
		text, isText := value.(string)
		if problems := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(text)...); !isText || len(problems) > 0 {
			t.Errorf("%s: label %s: %v: %q", where, key, value, problems)
		}
	}
	annotations, _ := at(o, "metadata", "annotations").(map[string]any)
	for key, value := range annotations {
		if _, isText := value.(string); !isText || len(validation.IsQualifiedName(key)) > 0 {
			t.Errorf("%s: annotation %s: %v", where, key, value)
		}
	}
}

// TestPods checks what each pod has to have, whatever the mode.
func TestPods(t *testing.T) {
	for _, c := range cases(t) {
		t.Run(c.name, func(t *testing.T) {
			objects, _, err := render(c.chart, "shop", c.values, kubernetesVersions[0])
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range objects {
				if pod := podOf(o); pod != nil {
					checkPod(t, o, pod, objects)
				}
			}
			checkSelectors(t, objects)
		})
	}
}

func checkPod(t *testing.T, o object, pod map[string]any, objects []object) {
	t.Helper()
	spec := at(pod, "spec")
	isApplication := at(pod, "metadata", "labels", "pgtee/sidecar") != nil
	if at(spec, "securityContext", "fsGroup") == nil {
		t.Errorf("%s: without fsGroup the key cannot be read", name(o))
	}
	if !isApplication && (at(spec, "automountServiceAccountToken") != false || at(spec, "enableServiceLinks") != false) {
		t.Errorf("%s: a token or the variables of Services reach the pod", name(o))
	}
	volumes := map[string]any{}
	for _, v := range list(spec, "volumes") {
		volumes[fmt.Sprint(at(v, "name"))] = v
	}
	for _, container := range containers(pod) {
		if container["name"] == "application" {
			continue
		}
		context := at(container, "securityContext")
		if at(context, "runAsNonRoot") != true || at(context, "readOnlyRootFilesystem") != true || at(context, "allowPrivilegeEscalation") != false ||
			at(context, "seccompProfile", "type") != "RuntimeDefault" || !reflect.DeepEqual(at(context, "capabilities", "drop"), []any{"ALL"}) {
			t.Errorf("%s: container %s has privileges: %v", name(o), container["name"], context)
		}
		if at(container, "resources", "requests") == nil || at(container, "resources", "limits", "memory") == nil {
			t.Errorf("%s: container %s has no limits", name(o), container["name"])
		}
		for _, mount := range list(container, "volumeMounts") {
			if volumes[fmt.Sprint(at(mount, "name"))] == nil {
				t.Errorf("%s: no volume %s", name(o), at(mount, "name"))
			}
		}
		for _, v := range list(container, "env") {
			if at(v, "name") == "PGTEE_POSTGRES" && at(v, "valueFrom", "secretKeyRef", "name") == nil {
				t.Errorf("%s: the URL of PostgreSQL is not a reference to a secret: %v", name(o), v)
			}
		}
		config := configOf(t, pod, objects)
		for _, file := range regexp.MustCompile(`/etc/pgtee/[\w./-]+`).FindAllString(config, -1) {
			if relative, _ := strings.CutPrefix(file, "/etc/pgtee/"); kind(o) != "Job" && !slices.Contains(filesOf(pod), relative) {
				t.Errorf("%s: the configuration names %s, which is not mounted: %q", name(o), file, filesOf(pod))
			}
		}
		if kind(o) == "Job" {
			continue
		}
		if container["startupProbe"] == nil || container["livenessProbe"] == nil {
			t.Errorf("%s: container %s has no probes", name(o), container["name"])
		}
		command := list(container, "args")[0]
		if ready := container["readinessProbe"] != nil; !isApplication && ready != (command != "publish") {
			t.Errorf("%s: pgtee %s has a readiness probe: %v", name(o), command, ready)
		}
		if native := container["restartPolicy"] == "Always"; native != isApplication {
			t.Errorf("%s: native sidecar: %v", name(o), native)
		}
	}
}

// filesOf are the files of the projected volume, below /etc/pgtee.
func filesOf(pod map[string]any) (paths []string) {
	for _, v := range list(pod, "spec", "volumes") {
		for _, source := range list(v, "projected", "sources") {
			for _, item := range list(source, "secret", "items") {
				paths = append(paths, fmt.Sprint(at(item, "path")))
			}
		}
	}
	return paths
}

// configOf is the configuration file of a pod.
func configOf(t *testing.T, pod map[string]any, objects []object) string {
	t.Helper()
	for _, v := range list(pod, "spec", "volumes") {
		for _, source := range list(v, "projected", "sources") {
			for _, o := range objects {
				if kind(o) == "ConfigMap" && name(o) == at(source, "configMap", "name") {
					return fmt.Sprint(at(o, "data", "pgtee.yaml"))
				}
			}
		}
	}
	t.Fatal("the pod has no configuration")
	return ""
}

// checkSelectors checks that what selects pods selects those of the release: the Job's never, and an application's by its PodMonitor.
func checkSelectors(t *testing.T, objects []object) {
	t.Helper()
	for _, o := range objects {
		selector := at(o, "spec", "selector", "matchLabels")
		switch kind(o) {
		case "Service":
			selector = at(o, "spec", "selector")
		case "NetworkPolicy":
			selector = at(o, "spec", "podSelector", "matchLabels")
		}
		if selector == nil {
			continue
		}
		selected := 0
		for _, workload := range objects {
			if pod := podOf(workload); pod != nil && matches(selector.(map[string]any), at(pod, "metadata", "labels").(map[string]any)) {
				if selected++; kind(workload) == "Job" {
					t.Errorf("%s %s selects the pod of a Job", kind(o), name(o))
				}
			}
		}
		if selected != 1 && !(kind(o) == "PodMonitor" && selected == 0 && !slices.ContainsFunc(objects, func(o object) bool { return kind(o) == "Deployment" })) {
			t.Errorf("%s %s selects the pods of %d workloads", kind(o), name(o), selected)
		}
	}
}

func matches(selector, labels map[string]any) bool {
	for key, value := range selector {
		if labels[key] != value {
			return false
		}
	}
	return true
}

// TestKinds says which objects each mode has.
func TestKinds(t *testing.T) {
	want := map[string]string{
		"gateway, required values":                       "ConfigMap Deployment PodDisruptionBudget Service ServiceAccount",
		"publisher, required values":                     "ConfigMap Deployment PodDisruptionBudget ServiceAccount",
		"run, required values":                           "ConfigMap Deployment PodDisruptionBudget Service ServiceAccount",
		"sidecar, required values":                       "ConfigMap",
		"gateway, every value":                           "ConfigMap ConfigMap Deployment NetworkPolicy PodDisruptionBudget PodMonitor PrometheusRule Service Service ServiceAccount",
		"publisher, every value":                         "ConfigMap ConfigMap ConfigMap Deployment Job NetworkPolicy PodDisruptionBudget PodMonitor PrometheusRule Service ServiceAccount",
		"run, every value":                               "ConfigMap ConfigMap ConfigMap Deployment Job NetworkPolicy PodDisruptionBudget PodMonitor PrometheusRule Service Service ServiceAccount",
		"sidecar, every value":                           "ConfigMap ConfigMap PodMonitor PrometheusRule",
		"gateway, podDisruptionBudget: {enabled: false}": "ConfigMap Deployment Service ServiceAccount",
		"gateway, serviceAccount: {create: false}":       "ConfigMap Deployment PodDisruptionBudget Service",
		"application, required values":                   "ConfigMap Deployment",
	}
	for _, c := range cases(t) {
		objects, notes, err := render(c.chart, "shop", c.values, kubernetesVersions[0])
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, o := range objects {
			kinds = append(kinds, kind(o))
		}
		slices.Sort(kinds)
		if want, found := want[c.name]; found && strings.Join(kinds, " ") != want {
			t.Errorf("%s: %q, want %q", c.name, kinds, want)
		}
		delete(want, c.name)
		if strings.TrimSpace(notes) == "" {
			t.Errorf("%s: no notes", c.name)
		}
	}
	if len(want) > 0 {
		t.Errorf("no such cases: %v", want)
	}
}

// TestMonitoringHasOneSource compares the rules and the dashboard with the files that ship without Kubernetes.
func TestMonitoringHasOneSource(t *testing.T) {
	objects, _, err := render(load(t), "shop", values(t, required+"monitoring: {podMonitor: {enabled: true}, prometheusRule: {enabled: true}, grafanaDashboard: {enabled: true}}"), kubernetesVersions[0])
	if err != nil {
		t.Fatal(err)
	}
	read := func(file string) (value any) {
		text, err := os.ReadFile(file)
		if err == nil {
			err = yaml.Unmarshal(text, &value)
		}
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	found := 0
	for _, o := range objects {
		switch {
		case kind(o) == "PrometheusRule":
			found++
			if rules := read("../../prometheus/pgtee.yaml"); !reflect.DeepEqual(o["spec"], rules) {
				t.Errorf("the rules are not those of deploy/prometheus/pgtee.yaml: %v", o["spec"])
			}
		case strings.HasSuffix(name(o), "-dashboard"):
			found++
			var dashboard any
			if err := json.Unmarshal([]byte(at(o, "data", "pgtee.json").(string)), &dashboard); err != nil || !reflect.DeepEqual(dashboard, read("../../grafana/pgtee.json")) {
				t.Errorf("the dashboard is not that of deploy/grafana/pgtee.json (%v)", err)
			}
		case kind(o) == "PodMonitor":
			found++ // the rules ask for this job
			relabelings := list(list(o, "spec", "podMetricsEndpoints")[0], "relabelings")
			if !reflect.DeepEqual(relabelings[0], map[string]any{"targetLabel": "job", "replacement": "pgtee"}) {
				t.Errorf("the job is not named pgtee: %v", relabelings)
			}
		}
	}
	if found != 3 {
		t.Errorf("found %d of three objects", found)
	}
}

// TestConfigurationReplacesPods checks that a new configuration reaches the processes, which read it at their start.
func TestConfigurationReplacesPods(t *testing.T) {
	for _, mode := range []string{"gateway", "publisher", "run"} {
		checksum := func(text string) any {
			objects, _, err := render(load(t), "shop", values(t, required+"mode: "+mode+"\n"+text), kubernetesVersions[0])
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range objects {
				if pod := podOf(o); pod != nil {
					return at(pod, "metadata", "annotations", "pgtee/config")
				}
			}
			return nil
		}
		if a, b := checksum(""), checksum("config: {sql-text: full}"); a == nil || a == b {
			t.Errorf("%s: %v becomes %v", mode, a, b)
		}
	}
}

// TestWrongValuesAreRefused checks values.schema.json, and what it cannot say.
func TestWrongValuesAreRefused(t *testing.T) {
	for _, c := range []struct{ values, error string }{
		{"{}", "/postgres/secret/name"},
		{"postgres: {secret: {name: a}}", "/noteKey/secret/name"},
		{required + "mode: proxy", "/mode"},
		{required + "replica: 2", "replica"},
		{required + "replicas: 0", "/replicas"},
		{required + "replicas: two", "/replicas"},
		{"mode: publisher\npostgres: {secret: {name: a}}\nnoteKey: {secret: {name: b}}", "/kafka/brokers"},
		{"mode: run\npostgres: {secret: {name: a}}\nnoteKey: {secret: {name: b}}", "/kafka/brokers"},
		{required + "mode: publisher\nschemaRegistry: {urls: [registry]}", "/schemaRegistry/urls/0"},
		{"postgres: {secret: {name: a}}\nnoteKey: {secret: {name: b}}\nkafka: {brokers: [kafka]}", "/kafka/brokers/0"},
		{"postgres: {secret: {name: a}}\nnoteKey: {secret: {name: b}}\nkafka: {sasl: {mechanism: plain, user: u}}", "/kafka/sasl/secret/name"},
		{"postgres: {secret: {name: a}}\nnoteKey: {secret: {name: b}}\nkafka: {sasl: {user: u}}", "/kafka/sasl/user"},
		{"postgres: {secret: {name: a}}\nnoteKey: {secret: {name: b}}\nkafka: {sasl: {password: p}}", "password"},
		{"postgres: {secret: {name: a}}\nnoteKey: {secret: {name: b}}\nkafka: {tls: {enabled: true, ca: ca.crt}}", "/kafka/tls/secret"},
		{"postgres: {url: 'postgres://u:p@h/d'}\nnoteKey: {secret: {name: b}}", "url"},
		{required + "config: {key: /tmp/key}", "key"},
		{required + "config: {kafka: [a:1]}", "kafka"},
		{required + "config: {Prefix: shop}", "Prefix"},
		{required + "clientTLS: {mode: require}", "/clientTLS/mode"},
		{required + "clientTLS: {secret: a, mode: always}", "/clientTLS/mode"},
		{required + "console: {enabled: true}", "/console/secret/name"},
		{required + "console: {enabled: true, secret: {name: a}, tls: {clientCA: true}}", "/console/tls/clientCA"},
		{required + "mode: sidecar\nconsole: {enabled: true, secret: {name: a}}", "/console/enabled"},
		{required + "sidecar: {listen: /run/socket}", "/sidecar/listen"},
		{required + "service: {type: ExternalName}", "/service/type"},
		{required + "service: {port: 70000}", "/service/port"},
		{required + "image: {digest: abc}", "/image/digest"},
		{required + "image: {pullPolicy: Sometimes}", "/image/pullPolicy"},
		{required + "podDisruptionBudget: {maxUnavailable: 0}", "/podDisruptionBudget/maxUnavailable"},
		{required + "monitoring: {podMonitor: {interval: often}}", "/monitoring/podMonitor/interval"},
		{required + "monitoring: {serviceMonitor: {enabled: true}}", "serviceMonitor"},
		{required + "commonLabels: {number: 1}", "/commonLabels/number"},
		{required + "networkPolicy: {postgres: {ports: []}}", "/networkPolicy/postgres/ports"},
		{required + "drain: {seconds: 30s}", "/drain/seconds"},
		{required + "drain: {seconds: 15, delaySeconds: 8}", "want at most half"},
	} {
		if _, _, err := render(load(t), "shop", values(t, c.values), kubernetesVersions[0]); err == nil || !strings.Contains(err.Error(), c.error) {
			t.Errorf("%s: want an error with %s, got %v", c.values, c.error, err)
		}
	}
	if _, _, err := render(load(t), "shop", values(t, required), "v1.28.0"); err == nil {
		t.Error("Kubernetes 1.28 is accepted, which knows no native sidecars")
	}
}

// TestSchemaKnowsTheValues holds values.schema.json equal to values.yaml, and the keys that it keeps out of config equal to those that the chart sets.
func TestSchemaKnowsTheValues(t *testing.T) {
	c := load(t)
	var schema map[string]any
	if err := json.Unmarshal(c.Schema, &schema); err != nil {
		t.Fatal(err)
	}
	schemaHasDefaults(t, "", schema, c.Values)

	reserved := map[string]bool{}
	for _, key := range list(schema, "properties", "config", "propertyNames", "not", "enum") {
		reserved[key.(string)] = false
	}
	reserved["postgres"], reserved["metrics"] = true, true // pods have a variable and a flag
	for _, c := range cases(t) {
		objects, _, err := render(c.chart, "shop", c.values, kubernetesVersions[0])
		if err != nil {
			t.Fatal(err)
		}
		own, _ := c.values["config"].(map[string]any)
		for _, o := range objects {
			text, found := at(o, "data", "pgtee.yaml").(string)
			if !found {
				continue
			}
			for key := range values(t, text) {
				if _, isReserved := reserved[key]; isReserved {
					reserved[key] = true
				} else if _, isOwn := own[key]; !isOwn && key != "log-format" && c.chart.Name() == "pgtee" {
					t.Errorf("%s: the chart sets %s, which config may contain", c.name, key)
				}
			}
		}
	}
	for key, set := range reserved {
		if !set {
			t.Errorf("config may not contain %s, which the chart never sets", key)
		}
	}
}

// schemaHasDefaults checks that each value that the schema knows has a default, and with it a line in the README.
func schemaHasDefaults(t *testing.T, prefix string, schema, defaults map[string]any) {
	t.Helper()
	properties, _ := schema["properties"].(map[string]any)
	for key, inner := range properties {
		value, found := defaults[key]
		if !found && !(prefix == "" && (key == "global" || key == "enabled")) {
			t.Errorf("values.yaml lacks %s%s", prefix, key)
		}
		if mapping, isMap := value.(map[string]any); isMap {
			schemaHasDefaults(t, prefix+key+".", inner.(map[string]any), mapping)
		}
	}
}
