package property

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// place is a database with its encoding.
type place struct {
	database string
	encoding string // of the database
	declared string // encoding that pgtee is told; "": none
	tables   []*table

	extensionGone bool // hstore has been dropped
}

// has reports whether the database can store a text.
func (p *place) has(text string) bool {
	for _, r := range text {
		switch {
		case r < 0x80:
		case p.encoding == "UTF8":
		case r < 0xA0 || r > 0xFF:
			return false
		}
	}
	return true
}

// encode returns the bytes that a client sends: clients of SQL_ASCII write Latin-1, all others UTF-8.
func (p *place) encode(text string) string {
	if p.encoding != "SQL_ASCII" {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		b.WriteByte(byte(r))
	}
	return b.String()
}

func (p *place) decode(text []byte) string {
	if p.encoding != "SQL_ASCII" {
		return string(text)
	}
	runes := make([]rune, len(text))
	for i, c := range text {
		runes[i] = rune(c)
	}
	return string(runes)
}

// session is a connection to a place.
type session struct {
	place *place
	conn  *pgconn.PgConn
}

func (p *place) connect(ctx context.Context, url string) (*session, error) {
	config, err := pgconn.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	if p.encoding == "SQL_ASCII" {
		config.RuntimeParams["client_encoding"] = "SQL_ASCII"
	} else {
		config.RuntimeParams["client_encoding"] = "UTF8"
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	return &session{p, conn}, err
}

// do runs SQL; several statements are one transaction.
func (s *session) do(ctx context.Context, sql string) error {
	if _, err := s.conn.Exec(ctx, s.place.encode(sql)).ReadAll(); err != nil {
		return fmt.Errorf("%w: %.600s", err, sql)
	}
	return nil
}

// rows returns the rows of the last of several queries; nil stands for null.
func (s *session) rows(ctx context.Context, sql string) ([][]*string, error) {
	results, err := s.conn.Exec(ctx, s.place.encode(sql)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%w: %.600s", err, sql)
	}
	var rows [][]*string
	for _, row := range results[len(results)-1].Rows {
		values := make([]*string, len(row))
		for i, v := range row {
			if v != nil {
				text := s.place.decode(v)
				values[i] = &text
			}
		}
		rows = append(rows, values)
	}
	return rows, nil
}
