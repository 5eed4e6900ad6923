package main

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// For each wait of deadlock_timeout the server's log says which process waited, and for whose lock. A client that waits for another client would do
// so without pgtee, too; no client may wait for a process of pgtee.

var (
	connected = regexp.MustCompile(`\[(\d+)\] .*connection authorized: .*application_name=(pgtee[^ ]*(?: [a-z]+)?)`)
	holding   = regexp.MustCompile(`DETAIL:  Process(?:es)? holding the lock: ([0-9, ]+)\. Wait queue`)
)

// waitsForUs returns the waits of captured's sessions for processes of pgtee, with the waiting statement.
func waitsForUs(dir string) (waits []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() != "postgres.log" {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		found, err := readWaits(bufio.NewScanner(file))
		waits = append(waits, found...)
		return err
	})
	return waits, err
}

func readWaits(lines *bufio.Scanner) (waits []string, err error) {
	ours := map[string]string{} // application name by process id
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if found := connected.FindStringSubmatch(line); found != nil {
			ours[found[1]] = found[2]
		}
		found := holding.FindStringSubmatch(line)
		if found == nil || strings.Contains(line, " pgtee") { // the waiting process is pgtee's own
			continue
		}
		for pid := range strings.SplitSeq(found[1], ", ") {
			if application := ours[pid]; application != "" && lines.Scan() {
				waits = append(waits, fmt.Sprintf("waited for %s: %s", application, lines.Text()))
				break
			}
		}
	}
	return waits, lines.Err()
}
