package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const shownLines = 60 // of errors; the log has all of them

// verdict prints the errors and the closing line. It fails if there are errors.
func (s *soak) verdict(ctx context.Context, generators []*generator) error {
	beyond, lines := s.judge.beyond()
	slower, table := s.judge.slower()
	waits, err := waitsForUs(s.world.Dir)
	if err != nil {
		return err
	}
	slower += len(waits)
	lines = append(lines, waits...)
	tables, unequal := 0, 0
	if !s.twice {
		var wrong map[string][]string
		tables, wrong, err = s.fold(ctx, folds(generators))
		unequal = len(wrong)
		for _, name := range slices.Sorted(maps.Keys(wrong)) {
			few := wrong[name][:min(3, len(wrong[name]))]
			lines = append(lines, fmt.Sprintf("%s: %d differences, such as\n    %s", name, len(wrong[name]), strings.Join(few, "\n    ")))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.judge.met)) {
		table = append(table, fmt.Sprintf("by chance: %s virgin=%d captured=%d", name, s.judge.met[name].virgin, s.judge.met[name].captured))
	}
	for _, text := range s.judge.odd { // a bug of the generator
		table = append(table, "virgin: "+text)
	}
	closing := fmt.Sprintf("soak-ddl statements=%d errors_beyond_virgin=%d slower=%d tables=%d unequal=%d", s.judge.statements, beyond, slower, tables, unequal)
	fmt.Println(strings.Join(slices.Concat(table, lines[:min(len(lines), shownLines)]), "\n"))
	fmt.Printf("soak-ddl seed=%d took=%v\n%s\n", s.seed, time.Since(s.began).Round(time.Second), closing)
	if beyond+slower+unequal > 0 {
		err = errors.Join(err, errors.New("clients or consumers notice pgtee"))
	}
	text := strings.Join(slices.Concat(table, lines, []string{closing}), "\n")
	return errors.Join(err, os.WriteFile(filepath.Join(s.bench.Dir, "verdict.log"), []byte(text), 0o644))
}

// fold waits until everything has been published, compares the topics with the tables, and stops the publisher.
func (s *soak) fold(ctx context.Context, all []folded) (tables int, wrong map[string][]string, err error) {
	if err := s.awaitMark(ctx); err != nil {
		return 0, nil, errors.Join(err, s.publisher.Alive())
	}
	tables, wrong, err = s.unequal(ctx, all)
	if err := errors.Join(err, s.publisher.Alive()); err != nil {
		return tables, wrong, err
	}
	return tables, wrong, s.publisher.StopWell()
}
