package shape

import (
	"fmt"
	"strings"

	"github.com/pgtee/pgtee/publisher/record"
)

// Presets of topic templates.
const (
	DebeziumTopics    = "{prefix}.{schema}.{table}"
	BottledWaterTopic = "bottledwater" // {prefix}.{schema}.{table}, without public.
)

// checkTemplate refuses a template with an unknown placeholder.
func checkTemplate(template string) error {
	if template == "debezium" || template == BottledWaterTopic {
		return nil
	}
	rest := templateNames("", "", "", "").Replace(template)
	if strings.ContainsAny(rest, "{}") || strings.TrimSpace(template) == "" {
		return fmt.Errorf("topic template %q: want debezium, bottledwater, or a name with {prefix}, {database}, {schema} and {table}", template)
	}
	return nil
}

func templateNames(prefix, database, schema, table string) *strings.Replacer {
	return strings.NewReplacer("{prefix}", prefix, "{database}", database, "{schema}", schema, "{table}", table)
}

// expand returns the name of a topic. Characters that Kafka does not accept become underscores.
func expand(template, prefix, database, schema, table string) string {
	switch {
	case template == "debezium", template == BottledWaterTopic && schema != "public":
		template = DebeziumTopics
	case template == BottledWaterTopic:
		template = "{prefix}.{table}"
	}
	return record.TopicName(templateNames(prefix, database, schema, table).Replace(template))
}
