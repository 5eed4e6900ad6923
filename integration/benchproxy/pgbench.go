package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

// rate is the number of transactions per second at which latencies are compared.
const rate = 1000

var (
	processedLine = regexp.MustCompile(`number of transactions actually processed: (\d+)`)
	tpsLine       = regexp.MustCompile(`tps = ([0-9.]+)`)
)

// runPgbench measures the throughput when clients do not pause.
func (b *bench) runPgbench(w way, c cell) (s sample, err error) {
	args := []string{"-n", "-c", fmt.Sprint(c.clients), "-T", fmt.Sprint(int(b.cell.Seconds())), "-M", c.mode}
	if c.work == "select" {
		args = append(args, "-S")
	} else if script := noteScripts[c.work]; script != "" {
		file := filepath.Join(b.Dir, c.work+".sql")
		if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
			return s, err
		}
		args = append(args, "-f", file)
	}
	before, err := b.ServerCPU()
	if err != nil {
		return s, err
	}
	var out string
	cpu, err := timed(w, func() (err error) { out, err = b.pgbench(w.address, args...); return err })
	if err != nil {
		return s, err
	}
	if err := b.awaitNoClient(); err != nil {
		return s, err
	}
	after, err := b.ServerCPU()
	if err != nil {
		return s, err
	}
	done, tps, err := readPgbench(out)
	return sample{tps: tps, cpu: float64(cpu.Microseconds()) / float64(done), server: float64((after - before).Microseconds()) / float64(done)}, err
}

// awaitNoClient waits until the backends of the clients have ended, because ServerCPU counts only what has.
func (b *bench) awaitNoClient() error {
	return harness.Eventually(20*time.Second, func(ctx context.Context) error {
		return b.Query(ctx, "postgres", "DO $$ BEGIN IF EXISTS (SELECT FROM pg_stat_activity WHERE datname = '"+database+"') THEN RAISE 'there are clients'; END IF; END $$")
	})
}

// runAtRate measures latencies at a rate at which every process is idle most of the time.
func (b *bench) runAtRate(w way, c cell) (s sample, err error) {
	dir, err := os.MkdirTemp(b.Dir, "latency-")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(dir)
	seconds := 2 * int(b.cell.Seconds())
	var out string
	cpu, err := timed(w, func() (err error) {
		out, err = b.pgbench(w.address, "-n", "-S", "-c", fmt.Sprint(c.clients), "-T", fmt.Sprint(seconds), "-M", c.mode,
			"-R", fmt.Sprint(rate), "-l", "--log-prefix", filepath.Join(dir, "log"))
		return err
	})
	if err != nil {
		return s, err
	}
	done, tps, err := readPgbench(out)
	if err != nil {
		return s, err
	}
	latencies, err := readLatencies(dir)
	if err != nil {
		return s, err
	}
	slices.Sort(latencies)
	return sample{
		tps: tps,
		cpu: float64(cpu.Microseconds()) / float64(done),
		p50: latencies[len(latencies)/2],
		p99: latencies[len(latencies)*99/100],
	}, nil
}

// readLatencies reads the logs of pgbench: "client number time script epoch us lag", with time and lag in microseconds; time starts when the
// transaction was due, and lag is its delay in starting.
func readLatencies(dir string) (list []float64, err error) {
	logs, err := filepath.Glob(filepath.Join(dir, "log*"))
	if err != nil {
		return nil, err
	}
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err != nil {
			return nil, err
		}
		for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
			var client, number, script, epoch, us int
			var time, lag float64
			if _, err := fmt.Sscan(lines.Text(), &client, &number, &time, &script, &epoch, &us, &lag); err != nil {
				return nil, fmt.Errorf("read pgbench's log %q: %w", lines.Text(), err)
			}
			list = append(list, time-lag)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("pgbench has logged no transaction")
	}
	return list, nil
}

func readPgbench(out string) (done int, tps float64, err error) {
	processed, rate := processedLine.FindStringSubmatch(out), tpsLine.FindStringSubmatch(out)
	if processed == nil || rate == nil {
		return 0, 0, fmt.Errorf("pgbench says no number: %s", out)
	}
	if done, err = strconv.Atoi(processed[1]); err != nil {
		return 0, 0, err
	}
	if done == 0 {
		return 0, 0, fmt.Errorf("pgbench got nothing done: %s", out)
	}
	tps, err = strconv.ParseFloat(rate[1], 64)
	return done, tps, err
}

func (b *bench) pgbench(address string, args ...string) (string, error) {
	return b.client(address, "pgbench", args...)
}

// client runs a PostgreSQL client program and returns its output.
func (b *bench) client(address, program string, args ...string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(b.ctx, program, append(append([]string{"-h", host, "-p", port, "-U", "postgres"}, args...), database)...)
	cmd.Env = append(os.Environ(), "PGSSLMODE=disable", "PGGSSENCMODE=disable")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}
