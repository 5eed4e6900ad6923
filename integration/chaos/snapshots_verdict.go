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

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/verdict"
)

// judge folds the topics of the tables that should have been copied, compares them with the tables, and prints the verdict.
func (s *snapshots) judge(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.server.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var lost, repeated []string
	copied := 0
	for set := range s.asked {
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			fold, wrong, err := s.compare(ctx, conn, fmt.Sprintf("work.%s_%d", kind, set), kinds[kind])
			if err != nil {
				return err
			}
			lost, repeated, copied = append(lost, wrong...), append(repeated, fold.Repeated...), copied+fold.Copied
		}
	}
	progress, err := s.progress()
	if err != nil {
		return err
	}
	return s.report(len(progress.finished), copied, lost, repeated)
}

func (s *snapshots) compare(ctx context.Context, conn *pgx.Conn, table string, key []string) (*verdict.Fold, []string, error) {
	rows, err := verdict.LoadRows(ctx, conn, table, key)
	if err != nil {
		return nil, nil, err
	}
	records, err := s.read(table)
	if err != nil {
		return nil, nil, err
	}
	fold, err := verdict.FoldTopic(table, key, records)
	if err != nil {
		return nil, nil, err
	}
	return fold, fold.Compare(rows), nil
}

// report prints the injected faults, the errors, and the closing line. It fails if there are errors.
func (s *snapshots) report(snapshots, rows int, lost, repeated []string) error {
	line, kills := s.tally()
	closing := fmt.Sprintf("chaos-snapshot kills=%d snapshots=%d rows=%d lost=%d duplicated=%d", kills, snapshots, rows, len(lost), len(repeated))
	fmt.Println(line)
	fmt.Printf("chaos complaints=%d seed=%d took=%v\n", len(s.wrong), s.seed, time.Since(s.began).Round(time.Second))
	complaints := slices.Concat(s.wrong, lost, repeated)
	for _, text := range complaints[:min(len(complaints), 40)] {
		fmt.Println("  " + text)
	}
	fmt.Println(closing)
	if len(complaints) == 0 && rows > 0 {
		return nil
	}
	text := strings.Join(append(complaints, line, closing), "\n")
	return errors.Join(errors.New("the topics are not the tables"), os.WriteFile(filepath.Join(s.dir, "verdict.log"), []byte(text), 0o644))
}
