package pgtee

import (
	"errors"
	"go/build"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/pgtee/pgtee/"

// mayImport is what each package may import of this module, directly. A name with /... stands for the package and all below it.
// CONTRIBUTING.md has the same table.
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
	"publisher/avro":     {"publisher/record", "publisher/halt"},
	"publisher/kafka":    {"publisher", "publisher/snapshot", "publisher/record", "publisher/halt", "outbox/..."},
	"publisher/otlp":     {"publisher", "publisher/record"},
	"publisher/query":    {}, // it knows nothing of the stream
	"subscriber/...":     {"subscriber/...", "publisher/record", "publisher/debezium", "outbox/..."},
	"cmd/pgtee":          {"..."},
	"cmd/pgtee/doctor":   {"publisher/avro", "publisher/kafka", "publisher/record", "publisher/halt", "outbox"},
	"cmd/pgtee/shop":     {},
	"cmd/pgtee/embedded": {},
	"cmd/pgtee/console":  {"subscriber", "proxy", "publisher", "publisher/record", "publisher/shape", "publisher/snapshot", "outbox"},
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
	"subscriber/...":     {"github.com/pganalyze/pg_query_go"},
	"outbox":             {"github.com/pganalyze/pg_query_go"},
	"proxy":              {"github.com/twmb/franz-go"},

	"integration/verdict": {"github.com/twmb/franz-go"},
}

// largePackages may have more files than maxFiles, for the reason beside them.
var largePackages = map[string]string{
	"publisher/debezium": "one file for each family of PostgreSQL's types, and for each envelope",
	"proxy":              "one session is one machine: its files share the state of the connection",
	"outbox":             "one stream: set-up, slot, stream and table reader share the names of the schema, the connection and the assembler's types",
	"subscriber/apply":   "one machine that writes: batches, conflicts, keys and types share the plan of a table",
	"cmd/pgtee":          "one file for each subcommand and each group of flags",
}

const maxFiles = 25

func TestImportsFollowTheMap(t *testing.T) {
	packages := ourPackages(t)
	used := map[string]bool{} // row, and row + " " + pattern
	for path, p := range packages {
		row, known := lookUp(mayImport, path)
		if !known {
			t.Errorf("%s is not on the map: say in mayImport what it may import", path)
		}
		used[row] = true
		for _, imported := range ours(p) {
			allowed := false
			for _, pattern := range mayImport[row] {
				if matches(pattern, imported) {
					used[row+" "+pattern], allowed = true, true
				}
			}
			if !allowed {
				t.Errorf("%s imports %s, which the map does not allow", path, imported)
			}
		}
		tree, _ := lookUp(mayNotReach, path)
		used["not "+tree] = true
		for _, library := range mayNotReach[tree] {
			if way := reaches(packages, path, library); way != "" {
				t.Errorf("%s must not reach %s: it does by %s", path, library, way)
			}
		}
		n, isLarge := len(p.GoFiles)+len(p.CgoFiles), largePackages[path] != ""
		if n > maxFiles != isLarge && !strings.HasPrefix(path, "integration") {
			t.Errorf("%s has %d files, with %d as the limit: split it, or give the reason in largePackages; remove the reason once it is smaller", path, n, maxFiles)
		}
	}
	for row, patterns := range mayImport {
		if !used[row] {
			t.Errorf("mayImport has a row for %s, which does not exist", row)
		}
		for _, pattern := range patterns {
			if !used[row+" "+pattern] {
				t.Errorf("mayImport allows %s to import %s, which it does not use", row, pattern)
			}
		}
	}
	for row := range mayNotReach {
		if !used["not "+row] {
			t.Errorf("mayNotReach has a row for %s, which does not exist", row)
		}
	}
	for path := range largePackages {
		if packages[path] == nil {
			t.Errorf("largePackages has %s, which does not exist", path)
		}
	}
}

// TestContributingHasTheMap holds the table in CONTRIBUTING.md equal to mayImport.
func TestContributingHasTheMap(t *testing.T) {
	text, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "may import (of this module) |\n|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	documented := map[string]string{}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(line, "|\n"), " | ")
		if len(cells) != 3 {
			t.Fatalf("not a row of three cells: %s", line)
		}
		documented[strings.Trim(cells[0], " `")] = strings.TrimSpace(cells[2])
	}
	for path, patterns := range mayImport {
		want := "`" + strings.Join(patterns, "`, `") + "`"
		switch {
		case len(patterns) == 0:
			want = "nothing"
		case patterns[0] == "...":
			want = "everything"
		}
		if documented[path] != want {
			t.Errorf("CONTRIBUTING.md lets %s import %q, mayImport %q", path, documented[path], want)
		}
		delete(documented, path)
	}
	for path := range documented {
		t.Errorf("CONTRIBUTING.md has a row for %s, mayImport has none", path)
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
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); dir != "." && err == nil {
			return filepath.SkipDir // another module
		}
		p, err := build.ImportDir(dir, 0)
		if noGo := new(build.NoGoError); errors.As(err, &noGo) {
			return nil
		}
		if err == nil && len(p.GoFiles)+len(p.CgoFiles) > 0 {
			packages[filepath.ToSlash(dir)] = p
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
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

// lookUp returns the row of a table that applies to a package: that of its own name, or of a tree that it is in.
func lookUp(table map[string][]string, path string) (row string, found bool) {
	if _, found = table[path]; found {
		return path, true
	}
	for pattern := range table {
		if strings.HasSuffix(pattern, "/...") && matches(pattern, path) {
			return pattern, true
		}
	}
	return "", false
}

func matches(pattern, path string) bool {
	tree, isTree := strings.CutSuffix(pattern, "...")
	tree = strings.TrimSuffix(tree, "/")
	return path == pattern || isTree && (tree == "" || path == tree || strings.HasPrefix(path, tree+"/"))
}
