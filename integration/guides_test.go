package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// guideBlock is one block of a guide: commands, and what they print.
type guideBlock struct {
	line     int
	commands string
	output   string // "": it is not told
}

// guideBlocks finds the blocks of commands (sh), each with the output (text) that may follow it.
func guideBlocks(text string) (blocks []guideBlock) {
	kind, body, from := "", []string(nil), 0
	for i, line := range strings.Split(text, "\n") {
		language, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && kind == "":
			kind, body, from = language+" ", nil, i+1
		case fence:
			switch {
			case kind == "sh ":
				blocks = append(blocks, guideBlock{line: from, commands: strings.Join(body, "\n")})
			case kind == "text " && len(blocks) > 0:
				blocks[len(blocks)-1].output = strings.Join(body, "\n")
			}
			kind = ""
		case kind != "":
			body = append(body, line)
		}
	}
	return blocks
}

// matchesOutput compares lines; … stands for any text, alone on its line for any lines.
func matchesOutput(got, want string) bool {
	pattern := regexp.QuoteMeta(strings.TrimSpace(want))
	pattern = regexp.MustCompile(`(?m)^…\n`).ReplaceAllString(pattern, `(?s:.*)`)
	pattern = strings.ReplaceAll(pattern, "…", ".*")
	return regexp.MustCompile("^" + pattern + "$").MatchString(strings.TrimSpace(got))
}

// RunGuide runs the commands of a guide in one shell, with these variables beside KAFKA and POSTGRES, and compares what each block prints.
func (s *strangers) RunGuide(path string, env ...string) {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(world.Source, "docs", "guides", path))
	s.must(err)
	blocks := guideBlocks(string(text))
	if len(blocks) == 0 {
		s.t.Fatalf("%s has no commands", path)
	}
	bin := filepath.Join(s.dir, "bin")
	s.must(os.Mkdir(bin, 0o755))
	s.must(os.Symlink(s.binary, filepath.Join(bin, "pgtee")))
	python := must(s.t, world.Python)
	url, _, _ := strings.Cut(s.URL(), "?") // as a reader writes it
	var script strings.Builder
	script.WriteString("set -euo pipefail\n")
	const mark = "=== end of block"
	for _, b := range blocks {
		fmt.Fprintf(&script, "%s\necho '%s'\n", b.commands, mark)
	}
	ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-c", script.String())
	shell.Dir = s.dir
	shell.Env = append(append(os.Environ(), "PATH="+bin+":"+filepath.Dir(python)+":"+os.Getenv("PATH"), "KAFKA="+s.broker.Address, "POSTGRES="+url), env...)
	shell.WaitDelay = 5 * time.Second
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with what the guide leaves running
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) }
	var problems strings.Builder
	shell.Stderr = &problems
	out, err := shell.Output()
	if shell.Process != nil {
		syscall.Kill(-shell.Process.Pid, syscall.SIGKILL)
	}
	parts := strings.Split(string(out), mark+"\n")
	for i, b := range blocks {
		if i >= len(parts)-1 {
			s.t.Fatalf("%s, line %d: the block does not end well (%v): %s\n%s", path, b.line, err, parts[len(parts)-1], problems.String())
		}
		if b.output != "" && !matchesOutput(parts[i], b.output) {
			s.t.Errorf("%s, line %d prints\n%s\nwant\n%s", path, b.line, parts[i], b.output)
		}
	}
	s.must(err)
}

func TestGuideBlocks(t *testing.T) {
	blocks := guideBlocks("x\n```\nnot run\n```\n```sh\na\nb\n```\ntext\n```text\nout …\n```\n```sh\nc\n```\n")
	if want := []guideBlock{{5, "a\nb", "out …"}, {13, "c", ""}}; !slices.Equal(blocks, want) {
		t.Errorf("got %v, want %v", blocks, want)
	}
	for _, c := range []struct {
		got, want string
		ok        bool
	}{{"a (1)\n", "a (1)", true}, {"a 17 c", "a … c", true}, {"x\ny\nz", "…\nz", true}, {"b", "a", false}, {"a\nb", "a", false}, {"xz", "…\nz", true}} {
		if matchesOutput(c.got, c.want) != c.ok {
			t.Errorf("%q and %q", c.got, c.want)
		}
	}
}

func TestGuideSQL(t *testing.T) {
	s := newStrangers(t, "")
	_, err := kadm.NewClient(s.kafka).CreateTopic(s.ctx, 1, -1, nil, "orders") // others fill it
	s.must(err)
	s.RunGuide("sql.md")
}

func TestGuideFiles(t *testing.T) { newStrangers(t, "").RunGuide("files.md") }

func TestGuideDropIn(t *testing.T) { newStrangers(t, "").RunGuide("drop-in.md") }

func TestGuideSidecar(t *testing.T) { newStrangers(t, "").RunGuide("sidecar.md") }

func TestGuideAudit(t *testing.T) { newStrangers(t, "").RunGuide("audit.md") }

func TestGuideClients(t *testing.T) { newStrangers(t, "").RunGuide("clients.md") }

func TestGuideAvro(t *testing.T) {
	newStrangers(t, "").RunGuide("avro.md", "REGISTRY="+must(t, sharedRegistry).URL())
}
