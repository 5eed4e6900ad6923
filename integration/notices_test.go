package integration

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgtee/pgtee/proxy"
)

// varies is what a LOG message says that differs from one run to the next.
var varies = regexp.MustCompile(`[0-9]+\.[0-9]+ (ms|s|MB)|!\\t[^\\]*`)

// numbers vary in plans: OIDs, and offsets into the text of a Query.
var numbers = regexp.MustCompile(`-?[0-9]+`)

// A client that asks for the server's LOG messages gets those of its own statements, with the texts that it has sent.
func TestNoticesAreOfTheClientsStatements(t *testing.T) {
	explain := []string{"LOAD 'auto_explain'", "SET auto_explain.log_min_duration = 0", "SET auto_explain.log_nested_statements = on"}
	for name, settings := range map[string][]string{
		"auto_explain":        explain,
		"auto_explain, JSON":  append(slices.Clone(explain), "SET auto_explain.log_format = json"),
		"durations":           {"SET log_duration = on"},
		"durations and texts": {"SET log_min_duration_statement = 0"},
		"texts":               {"SET log_statement = 'all'"},
		"plans":               {"SET debug_print_parse = on", "SET debug_print_rewritten = on", "SET debug_print_plan = on"},
		"parser":              {"SET log_parser_stats = on", "SET log_planner_stats = on", "SET log_executor_stats = on"},
		"statements":          {"SET log_statement_stats = on"},
	} {
		var conversation []say
		for _, sql := range append(slices.Clone(settings), "SET client_min_messages = log") {
			conversation = append(conversation, simple(sql))
		}
		conversation = append(conversation,
			simple("INSERT INTO t VALUES (1, 'a')"), simple("INSERT INTO t VALUES (2, 'b'); SELECT v FROM t WHERE id = 2; /* c */ UPDATE t SET v = 'c'"),
			simple("SELECT 1; DELETE FROM t WHERE id = 2"), simple("INSERT INTO noisy VALUES (1)"), simple("BEGIN; INSERT INTO t VALUES (3, 'c')"), simple("ROLLBACK"), simple("VACUUM t"),
			burst("Z", all(parse("s", "INSERT INTO t VALUES ($1, 'x')"), bind("", "s", "4"), execute(""), bind("", "s", "5"), execute(""), sync_)...),
			burst("Z", all(bind("p", "s", "6"), execute("p"), once("SELECT v FROM t WHERE id = 4"), once("DELETE FROM t WHERE id = 4"), sync_)...),
			burst("ZZ", all(once("INSERT INTO t VALUES (7, 'x')"), sync_, &pgproto3.Query{String: "INSERT INTO t VALUES (8, 'x')"})...), burst("Z", all(once("VACUUM t"), sync_)...),
			burst("Z", all(once("INSERT INTO t VALUES (1/0, 'x')"), sync_)...))
		for _, major := range []int{15, 18} {
			for _, mode := range []proxy.Outbox{proxy.OutboxTable, proxy.OutboxMessage} {
				t.Run(fmt.Sprintf("%s, PostgreSQL %d, outbox %s", name, major, mode), func(t *testing.T) {
					server := must(t, sharedPostgres[major])
					w := newTap(t, server.Address(), server.URL, mode)
					direct, proxied := w.converse(t, w.server, tapDatabase, conversation), w.converse(t, w.proxied, tapDatabase, conversation)
					told := 0
					for i := range direct {
						a, b := varies.ReplaceAllString(direct[i], "…"), varies.ReplaceAllString(proxied[i], "…")
						if name == "plans" {
							a, b = numbers.ReplaceAllString(a, "0"), numbers.ReplaceAllString(b, "0")
						}
						if told += strings.Count(a, "N\""); a != b {
							t.Errorf("step %d\ndirect:  %.4000s\nproxied: %.4000s", i+1, a, b)
						}
					}
					if told < 5 {
						t.Errorf("the server told of %d statements: %.2000q", told, direct)
					}
				})
			}
		}
	}
}
