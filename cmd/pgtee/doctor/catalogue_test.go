package doctor

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const root = "../../.."

var update = flag.Bool("update", false, "write docs/findings.md")

// The ids that code and alerts name are those of the catalogue, each once, and the other way round.
func TestCatalogueIsComplete(t *testing.T) {
	known := map[string]bool{}
	kebab := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	for _, area := range Catalogue {
		for _, e := range area.Entries {
			if known[e.ID] || !kebab.MatchString(e.ID) || e.Meaning == "" || e.Repair == "" {
				t.Errorf("%+v is there twice, or lacks something", e)
			}
			known[e.ID] = true
		}
	}
	named := map[string]string{} // id: where
	for _, e := range byError {
		named[e.id] = "errors.go"
	}
	for id, where := range idsOfCode(t) {
		named[id] = where
	}
	for id, where := range idsOfAlerts(t) {
		named[id] = where
	}
	for id, where := range named {
		if !known[id] {
			t.Errorf("%s names %q, which the catalogue does not have", where, id)
		}
	}
	for id := range known {
		if named[id] == "" {
			t.Errorf("nothing ever names %q of the catalogue", id)
		}
	}
}

// Every sentinel that can stop a publisher is a finding.
func TestHaltsAreFindings(t *testing.T) {
	source, err := os.ReadFile("errors.go")
	if err != nil {
		t.Fatal(err)
	}
	halts := 0
	eachFile(t, func(path string, file *ast.File) {
		if !strings.HasPrefix(path, "publisher/") || path == "publisher/halt/halt.go" {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			reason := reasonOf(n)
			if reason == nil {
				return true
			}
			halts++
			name := exprName(reason)
			if name = name[strings.LastIndex(name, ".")+1:]; !strings.Contains(string(source), "."+name+",") {
				t.Errorf("%s: a Halt for %s, which errors.go does not know", path, name)
			}
			return true
		})
	})
	if halts < 30 {
		t.Errorf("only %d halts found: does the test look in the right places?", halts)
	}
}

// reasonOf is the reason of what makes a Halt, nil of anything else.
func reasonOf(n ast.Node) ast.Expr {
	switch n := n.(type) {
	case *ast.CallExpr:
		if exprName(n.Fun) == "halt.New" && len(n.Args) > 0 {
			return n.Args[0]
		}
	case *ast.CompositeLit:
		if pair, is := firstPair(n); is && strings.HasSuffix(exprName(n.Type), "Halt") {
			return pair.Value
		}
	}
	return nil
}

// docs/findings.md is the catalogue.
func TestDocuments(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Findings\n\nEach thing that can be wrong has a stable id. `pgtee check` prints it, the line of a halt ends with it, a warning in the log has it in the\n" +
		"field `finding`, an alert in its `finding` label. `pgtee explain ID` prints this text. Generated from `cmd/pgtee/doctor/catalogue.go` by `make docs`.\n")
	for _, area := range Catalogue {
		fmt.Fprintf(&b, "\n## %s\n", area.Name)
		for _, e := range area.Entries {
			fmt.Fprintf(&b, "\n### %s\n\n%s. %s\n\nRepair: %s\n", e.ID, strings.ToUpper(e.Severity.String()[:1])+e.Severity.String()[1:], e.Meaning, e.Repair)
		}
	}
	path := filepath.Join(root, "docs/findings.md")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(path); err != nil || string(have) != b.String() {
		t.Errorf("docs/findings.md is not the catalogue (%v): go test ./cmd/pgtee/doctor -update", err)
	}
}

// idsOfCode are those of findings and of warnings in the log; a warning without one is an error.
func idsOfCode(t *testing.T) map[string]string {
	t.Helper()
	ids := map[string]string{}
	eachFile(t, func(path string, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Name.Name == "warn" && strings.HasPrefix(path, "proxy/") {
					return false // what is passed on has one
				}
			case *ast.CallExpr:
				id, has := idOfCall(n)
				if id != "" {
					ids[id] = path
				}
				if isWarning(n, path) && !has {
					t.Errorf("%s: a warning names no finding: %s", path, text(n))
				}
			case *ast.CompositeLit:
				if pair, is := firstPair(n); is && exprName(n.Type) == "outbox.Finding" {
					if id, err := strconv.Unquote(text(pair.Value)); err == nil {
						ids[id] = path
					}
				}
			}
			return true
		})
	})
	return ids
}

// idOfCall is the first argument of those that make findings, and of zap.String("finding", …) what follows.
func idOfCall(call *ast.CallExpr) (id string, has bool) {
	name := exprName(call.Fun)
	short := name[strings.LastIndex(name, ".")+1:]
	switch {
	case len(call.Args) == 0:
	case short == "findingOf", short == "warnOnce":
		id, _ = strconv.Unquote(text(call.Args[1]))
	case name == "zap.String" && text(call.Args[0]) == `"finding"`:
		id, _ = strconv.Unquote(text(call.Args[1]))
	case short == "warn" || short == "problem" || short == "disturbs" || short == "add" || short == "Lookup" || short == "repairOf" || strings.HasSuffix(name, "config.Warn") || strings.HasSuffix(name, "cfg.Warn"):
		id, _ = strconv.Unquote(text(call.Args[0]))
		if strings.Contains(id, " ") {
			id = ""
		}
	}
	ast.Inspect(call, func(n ast.Node) bool {
		if inner, is := n.(*ast.CallExpr); is && exprName(inner.Fun) == "zap.String" && text(inner.Args[0]) == `"finding"` {
			has = true
		}
		return true
	})
	return id, has
}

// isWarning reports whether a call writes a warning or an error into the log.
func isWarning(call *ast.CallExpr, path string) bool {
	name := exprName(call.Fun)
	parts := strings.Split(name, ".")
	if len(parts) < 2 || len(call.Args) == 0 {
		return false
	}
	short, receiver := parts[len(parts)-1], strings.ToLower(parts[len(parts)-2])
	return receiver == "log" && (short == "Warn" || short == "Error") || short == "warn" && strings.HasPrefix(path, "proxy/")
}

var findingLabel = regexp.MustCompile(`(?m)^\s*finding: ([a-z-]+)$`)

// idsOfAlerts are those of the alert rules.
func idsOfAlerts(t *testing.T) map[string]string {
	t.Helper()
	ids := map[string]string{}
	rules, err := filepath.Glob(filepath.Join(root, "deploy/prometheus/pgtee.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range rules {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range findingLabel.FindAllStringSubmatch(string(source), -1) {
			ids[found[1]] = path
		}
	}
	return ids
}

// eachFile parses what ships, without the applier, whose messages stand for themselves.
func eachFile(t *testing.T, do func(path string, file *ast.File)) {
	t.Helper()
	for _, folder := range []string{"cmd", "proxy", "outbox", "publisher"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			relative, err := filepath.Rel(root, path)
			do(relative, file)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func firstPair(literal *ast.CompositeLit) (*ast.KeyValueExpr, bool) {
	if len(literal.Elts) == 0 {
		return nil, false
	}
	pair, is := literal.Elts[0].(*ast.KeyValueExpr)
	return pair, is
}

// exprName is a selector as it is written, "" for what is none.
func exprName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return exprName(e.X) + "." + e.Sel.Name
	case *ast.CallExpr:
		return exprName(e.Fun)
	}
	return ""
}

// text is a literal as it is written, and for a call its first argument.
func text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		return e.Value
	case *ast.CallExpr:
		if len(e.Args) > 0 {
			return text(e.Args[0])
		}
	case *ast.BinaryExpr:
		return text(e.X)
	}
	return ""
}
