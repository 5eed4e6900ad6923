//go:build full

package console

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func init() { full = true }

// TestAccessible runs axe on every page, in both themes, wide and on a phone. It fetches axe-core from the npm registry.
func TestAccessible(t *testing.T) {
	axe, err := os.ReadFile(must(t, axeCore))
	if err != nil {
		t.Fatal(err)
	}
	p := open(t, theDemo(t).URL)
	pages := everyPage(t, p)
	for _, dark := range []bool{false, true} {
		for _, width := range []int64{1280, 390} {
			p.looks(dark, width, 844)
			for name, path := range pages {
				p.visit(path)
				p.script(string(axe) + "; 0")
				found := p.violations()
				for _, v := range found {
					t.Errorf("%s, dark %v, %d pixels: %s", name, dark, width, v)
				}
			}
		}
	}
}

// violations are those that axe calls serious or critical.
func (p *tab) violations() []string {
	p.Helper()
	p.script(`window.axed = null; axe.run(document, {resultTypes: ["violations"]}).then(r => window.axed = r.violations.filter(v => ["serious", "critical"].includes(v.impact)).map(v => v.id + ": " + v.nodes.slice(0, 3).map(n => n.html.slice(0, 200) + " " + n.failureSummary).join(" | "))); 0`)
	p.await("axe", `window.axed`)
	return eval[[]string](p, `window.axed`)
}

const axeVersion = "4.14.1"

// axeCore fetches axe-core once into the cache folder.
func axeCore() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "pgtee", "axe-core-"+axeVersion)
	file := filepath.Join(dir, "package", "axe.min.js")
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	script := fmt.Sprintf(`cd "$1" && tar xzf "$(npm pack --silent axe-core@%s)"`, axeVersion)
	if out, err := exec.Command("sh", "-c", script, "sh", dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetch axe-core: %w: %s", err, out)
	}
	return file, nil
}
