package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/integration/verdict"
)

const (
	settleTime = 4 * time.Minute // time limit until the last commit is in Kafka
	resyncTime = 2 * time.Minute // and until resynced tables are, too
)

// folded is a table whose topic must fold to its rows, by these columns; the first one is the key.
type folded struct {
	name    string
	columns []string
}

// folds returns the tables whose topics are compared.
func folds(generators []*generator) []folded {
	tables := []folded{{"history.ddl", []string{"id", "tag", "object"}}}
	for _, g := range generators {
		for _, t := range g.pures {
			tables = append(tables, folded{t.String(), []string{"id", "v", "n"}})
		}
	}
	return tables
}

// awaitMark waits until everything committed is in Kafka.
func (s *soak) awaitMark(ctx context.Context) error {
	if err := s.bench.Query(ctx, capturedName, "INSERT INTO work.mark VALUES (1)"); err != nil {
		return err
	}
	return harness.Eventually(settleTime, func(ctx context.Context) error {
		if !s.publisher.Running() {
			if cured, err := s.cure(ctx); !cured || err != nil {
				return err // waiting is pointless
			}
		}
		records, err := s.read("work.mark")
		if err == nil && len(records) == 0 {
			err = errors.New("the last commit is not in its topic")
		}
		return err
	})
}

// unequal counts the existing tables, and returns the differences of those whose topics do not fold to them.
func (s *soak) unequal(ctx context.Context, all []folded) (tables int, wrong map[string][]string, err error) {
	conn, err := pgx.Connect(ctx, s.bench.Server.URL(capturedName))
	if err != nil {
		return 0, nil, err
	}
	defer conn.Close(ctx)
	var there []folded
	for _, t := range all {
		var exists bool
		if err := conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", t.name).Scan(&exists); err != nil {
			return 0, nil, err
		}
		if exists {
			there = append(there, t)
		}
	}
	left := there
	for began := time.Now(); ; time.Sleep(2 * time.Second) {
		wrong = map[string][]string{}
		for _, t := range left {
			lines, err := s.compare(ctx, conn, t)
			if err != nil {
				return 0, nil, err
			}
			if len(lines) > 0 {
				wrong[t.name] = lines
			}
		}
		left = slices.DeleteFunc(slices.Clone(left), func(t folded) bool { return wrong[t.name] == nil })
		if len(left) == 0 || time.Since(began) > resyncTime || !s.publisher.Running() {
			return len(there), wrong, nil
		}
	}
}

func (s *soak) compare(ctx context.Context, conn *pgx.Conn, t folded) ([]string, error) {
	key := t.columns[:1]
	list := t.columns[0]
	for _, c := range t.columns[1:] {
		list += ", " + c
	}
	rows, err := verdict.LoadRows(ctx, conn, fmt.Sprintf("(SELECT %s FROM %s)", list, t.name), key)
	if err != nil {
		return nil, err
	}
	records, err := s.read(t.name)
	if err != nil {
		return nil, err
	}
	fold, err := verdict.FoldTopic(t.name, key, records)
	if err != nil {
		return []string{err.Error()}, nil
	}
	for _, row := range fold.Rows { // other columns are added and dropped, and filling them changes no row
		maps.DeleteFunc(row, func(column string, _ any) bool { return !slices.Contains(t.columns, column) })
	}
	return fold.Compare(rows), nil
}

// read returns the committed records of a table's topic.
func (s *soak) read(table string) ([]verdict.Record, error) {
	topic := prefix + "." + table
	topics, err := verdict.Read(s.broker.Address, verdict.Only(topic))
	return verdict.Visible(topics[topic]), err
}
