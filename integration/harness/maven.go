package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const mavenDependencies = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:"

// fromMaven returns a folder with the artifacts that integration/<name>/pom.xml names, downloaded once into the cache folder by a goal of Maven's
// dependency plugin.
func fromMaven(source, name, version, goal string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	dir := filepath.Join(cache, "pgtee", name+"-"+version)
	if _, err := os.Stat(filepath.Join(dir, "complete")); err == nil {
		return dir, nil
	}
	pom := filepath.Join(source, "integration", name, "pom.xml")
	cmd := exec.Command("mvn", "-q", "-B", "-f", pom, mavenDependencies+goal, "-DincludeScope=runtime",
		"-DoutputDirectory="+dir, "-DmarkersDirectory="+filepath.Join(dir, "markers"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetch %s with Maven: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return dir, os.WriteFile(filepath.Join(dir, "complete"), nil, 0o644)
}
