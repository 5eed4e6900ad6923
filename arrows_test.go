package pgtee

import (
	"go/build"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pgtee/pgtee/"

// mayImport is the map of the house: what each package may import of ours, beside what those import. A name with /... stands for the
// package and all below it.
var mayImport = map[string][]string{
	"parser":             {},
	"outbox/note":        {},
	"outbox/pgoutput":    {},
	"outbox":             {"outbox/note", "outbox/pgoutput"},
	"proxy":              {"parser", "outbox/note"},
	"publisher/halt":     {"outbox/..."},
	"publisher/record":   {"publisher/halt", "outbox/..."},
	"publisher/filter":   {"outbox/pgoutput"},
	"publisher/shape":    {"publisher/filter", "publisher/record", "publisher/halt", "outbox/..."},
	"publisher/snapshot": {"publisher/shape", "publisher/filter", "publisher/record", "publisher/halt", "outbox/..."},
	"publisher":          {"publisher/snapshot", "publisher/shape", "publisher/filter", "publisher/record", "publisher/halt", "outbox/...", "parser"},
	"publisher/debezium": {"publisher/shape", "publisher/filter", "publisher/record", "publisher/halt", "outbox/..."},
	"publisher/avro":     {"publisher/record", "publisher/halt", "outbox/..."},
	"publisher/kafka":    {"publisher", "publisher/snapshot", "publisher/shape", "publisher/filter", "publisher/record", "publisher/halt", "outbox/..."},
	"publisher/otlp":     {"publisher", "publisher/record"},
	"publisher/query":    {}, // it knows nothing of the stream
	"subscriber/...":     {"subscriber/...", "publisher/record", "publisher/debezium", "outbox/..."},
	"cmd/pgtee":          {"..."},
	"cmd/pgtee/doctor":   {"publisher/avro", "publisher/kafka", "publisher/record", "publisher/halt", "outbox"},
	"cmd/pgtee/shop":     {"..."},
	"cmd/pgtee/embedded": {},
	"cmd/pgtee/console":  {"subscriber", "proxy", "publisher", "publisher/record", "publisher/shape", "outbox"},
	"integration/...":    {"..."},

	"integration/verdict": {}, // it shares no code with what it judges
}

// mayNotReach are libraries that packages must not even reach through others: the loop knows no Kafka client and no tracing protocol,
// only the parser needs cgo, and who judges topics does not read them with the client under test.
var mayNotReach = map[string][]string{
	"publisher":          {"github.com/twmb/franz-go", "go.opentelemetry.io"},
	"publisher/halt":     {"github.com/twmb/franz-go", "github.com/pganalyze/pg_query_go"},
	"publisher/record":   {"github.com/twmb/franz-go", "github.com/pganalyze/pg_query_go"},
	"publisher/filter":   {"github.com/twmb/franz-go", "github.com/pganalyze/pg_query_go"},
	"publisher/shape":    {"github.com/twmb/franz-go", "github.com/pganalyze/pg_query_go"},
	"publisher/snapshot": {"github.com/twmb/franz-go", "github.com/pganalyze/pg_query_go"},
	"publisher/debezium": {"github.com/pganalyze/pg_query_go"},
	"publisher/avro":     {"github.com/pganalyze/pg_query_go"},
	"publisher/query":    {}, // it knows nothing of the stream
	"subscriber/...":     {"github.com/pganalyze/pg_query_go"},
	"outbox":             {"github.com/pganalyze/pg_query_go"},
	"proxy":              {"github.com/twmb/franz-go"},

	"integration/verdict": {"github.com/twmb/franz-go"},
}

// largePackages may have more files than maxFiles, for the reason beside them.
var largePackages = map[string]string{
	"publisher":          "one loop: what it checks, composes, sends, tells and repairs shares its state",
	"publisher/debezium": "one file for each family of PostgreSQL's types, and for each envelope",
	"proxy":              "one session is one machine: its files share the state of the connection",
	"outbox":             "one stream: set-up, slot, stream and table reader share the names of the schema, the connection and the assembler's types",
	"subscriber/apply":   "one machine that writes: batches, conflicts, keys and types share the plan of a table",
	"cmd/pgtee":          "one file for each subcommand and each group of flags",
}

const maxFiles = 25

func TestImportsFollowTheMap(t *testing.T) {
	packages := ourPackages(t)
	for path, p := range packages {
		allowed, known := lookUp(mayImport, path)
		if !known {
			t.Errorf("%s is not on the map: say in mayImport what it may import", path)
		}
		for _, imported := range ours(p) {
			if !slices.ContainsFunc(allowed, func(pattern string) bool { return matches(pattern, imported) }) {
				t.Errorf("%s imports %s, which the map does not allow", path, imported)
			}
		}
		forbidden, _ := lookUp(mayNotReach, path)
		for _, library := range forbidden {
			if way := reaches(packages, path, library); way != "" {
				t.Errorf("%s must not reach %s: it does by %s", path, library, way)
			}
		}
		if n := len(p.GoFiles) + len(p.CgoFiles); n > maxFiles && largePackages[path] == "" && !strings.HasPrefix(path, "integration") {
			t.Errorf("%s has %d files, more than %d: split it, or give the reason in largePackages", path, n, maxFiles)
		}
	}
}

// ourPackages are the packages of the module with what is not a test in them, by path below it.
func ourPackages(t *testing.T) map[string]*build.Package {
	packages := map[string]*build.Package{}
	err := filepath.WalkDir(".", func(dir string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if name := entry.Name(); dir != "." && (name == "testdata" || name == "bin" || strings.HasPrefix(name, ".")) {
			return filepath.SkipDir
		}
		if p, err := build.ImportDir(dir, 0); err == nil && len(p.GoFiles)+len(p.CgoFiles) > 0 {
			packages[filepath.ToSlash(dir)] = p
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < len(mayImport) {
		t.Fatalf("only %d packages found", len(packages))
	}
	return packages
}

func ours(p *build.Package) (paths []string) {
	for _, path := range p.Imports {
		if own, found := strings.CutPrefix(path, module); found {
			paths = append(paths, own)
		}
	}
	return paths
}

// reaches returns the package by which one reaches a library, "" if it does not.
func reaches(packages map[string]*build.Package, path, library string) string {
	seen, queue := map[string]bool{path: true}, []string{path}
	for len(queue) > 0 {
		p := packages[queue[0]]
		for _, imported := range p.Imports {
			if strings.HasPrefix(imported, library) {
				return queue[0]
			}
		}
		for _, next := range ours(p) {
			if !seen[next] {
				seen[next], queue = true, append(queue, next)
			}
		}
		queue = queue[1:]
	}
	return ""
}

// lookUp returns what a table says of a package: under its own name, or under that of a tree that it is in.
func lookUp(table map[string][]string, path string) (list []string, found bool) {
	if list, found = table[path]; found {
		return list, true
	}
	for pattern, list := range table {
		if strings.HasSuffix(pattern, "/...") && matches(pattern, path) {
			return list, true
		}
	}
	return nil, false
}

func matches(pattern, path string) bool {
	tree, isTree := strings.CutSuffix(pattern, "...")
	tree = strings.TrimSuffix(tree, "/")
	return path == pattern || isTree && (tree == "" || path == tree || strings.HasPrefix(path, tree+"/"))
}
