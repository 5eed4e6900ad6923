package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// suite is the test suite of a driver: a script with its name beside this file, and the requirements for its server. The script has two or three
// functions, which run with the suite's folder in the cache as working directory: install downloads and builds everything, once; prepare, if
// hasPrepare, prepares a new server (PGDATA, PG*), which is restarted afterwards; tests runs the suite and writes the file REPORT.
type suite struct {
	name       string
	language   string            // another script shared by the suites in this language; "" for none
	databases  []string          // databases in which setup runs before the tests; the first one is PGDATABASE
	settings   map[string]string // of the server; $PGDATA is its data folder
	hasPrepare bool
	tls        [3]string // the proxy's certificate and key, and the CA for client certificates, in the suite's folder; "" for none
	read       func(report io.Reader) (results, error)
}

// cacheDir returns where installed suites are kept.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder (set HOME or XDG_CACHE_HOME): %w", err)
	}
	return filepath.Join(dir, "pgtee", "drivers"), nil
}

func scriptDir(source string) string { return filepath.Join(source, "integration", "drivers") }

// scripts returns the scripts of the language and of the suite.
func (s suite) scripts(source string) []string {
	dir := scriptDir(source)
	if s.language == "" {
		return []string{filepath.Join(dir, s.name+".sh")}
	}
	return []string{filepath.Join(dir, s.language+".sh"), filepath.Join(dir, s.name+".sh")}
}

// install returns the suite's folder in the cache. If the scripts change, it is another folder.
func (s suite) install(source, log string) (dir string, err error) {
	digest := sha256.New()
	for _, script := range s.scripts(source) {
		text, err := os.ReadFile(script)
		if err != nil {
			return "", err
		}
		digest.Write(text)
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(cache, fmt.Sprintf("%s-%.6x", s.name, digest.Sum(nil)))
	complete := filepath.Join(dir, ".complete")
	if _, err := os.Stat(complete); err == nil {
		return dir, nil
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return "", err
	}
	if err := s.call(source, dir, "install", log, time.Hour, nil); err != nil {
		return "", err
	}
	return dir, os.WriteFile(complete, nil, 0o644)
}

// errTooLong means that the report is incomplete.
var errTooLong = errors.New("not done within the limit")

// call runs a function of the scripts with its output in the file log, and ends any processes that it leaves behind.
func (s suite) call(source, dir, function, log string, timeout time.Duration, env []string) error {
	output, err := os.Create(log)
	if err != nil {
		return err
	}
	defer output.Close()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	const load = `for script in "${@:2}"; do . "$script"; done; "$1"`
	cmd := exec.CommandContext(ctx, "bash", append([]string{"-euo", "pipefail", "-c", load, s.name, function}, s.scripts(source)...)...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "SCRIPTS="+scriptDir(source)), env...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	defer syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w of %v; see %s", function, errTooLong, timeout, log)
		}
		return fmt.Errorf("%s: %w; see %s", function, err, log)
	}
	return nil
}
