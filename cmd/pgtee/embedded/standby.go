package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Standby creates a hot standby that streams from a running server: same version and password, with its own folder and port. It is not started.
// (pg_basebackup is not among the downloaded programs.)
func (p *Postgres) Standby(ctx context.Context, config PostgresConfig) (*Postgres, error) {
	config.Major, config.Password = p.Major(), p.config.Password
	standby, err := newServer(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := p.backup(ctx, standby); err != nil {
		return nil, errors.Join(fmt.Errorf("copy %s for a standby: %w", p.DataDir(), err), standby.Remove())
	}
	return standby, nil
}

// Promote promotes a standby, and returns when it is a primary.
func (p *Postgres) Promote(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var promoted bool
	if err := conn.QueryRow(ctx, "SELECT pg_promote()").Scan(&promoted); err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	if !promoted {
		return errors.New("the standby did not become a primary within 60 s")
	}
	return nil
}

// backup takes a low-level base backup: https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-LOWLEVEL-BASE-BACKUP
func (p *Postgres) backup(ctx context.Context, to *Postgres) error {
	conn, err := pgx.Connect(ctx, p.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	start, stop := "SELECT pg_backup_start('standby', true)", "SELECT labelfile FROM pg_backup_stop(false)"
	if p.Major() < 15 {
		start, stop = "SELECT pg_start_backup('standby', true, false)", "SELECT labelfile FROM pg_stop_backup(false, false)"
	}
	if _, err := conn.Exec(ctx, start); err != nil {
		return err
	}
	if err := copyData(p.DataDir(), to.DataDir(), to.owner); err != nil {
		return err
	}
	var label string
	if err := conn.QueryRow(ctx, stop).Scan(&label); err != nil {
		return err
	}
	conninfo := fmt.Sprintf("host=127.0.0.1 port=%d user=postgres password='%s'",
		p.Port(), strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(p.config.Password))
	setting := fmt.Sprintf("\nprimary_conninfo = '%s'\n", strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(conninfo))
	for _, file := range []struct{ name, text string }{
		{"backup_label", label}, {"standby.signal", ""}, {"postgresql.auto.conf", setting},
	} {
		if err := to.writeData(file.name, file.text); err != nil {
			return err
		}
	}
	return nil
}

// writeData appends to a file in the data folder, as its owner.
func (p *Postgres) writeData(name, text string) error {
	path := filepath.Join(p.DataDir(), name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close(), p.owner.own(path))
}

// copyData copies a data folder that is being written to, without WAL and slots: the standby streams the WAL and must not have the slots.
func copyData(from, to string, o *owner) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // dropped meanwhile
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil || name == "." {
			return err
		}
		target := filepath.Join(to, name)
		if entry.IsDir() {
			if filepath.Dir(name) == "pg_replslot" {
				return fs.SkipDir
			}
			return errors.Join(os.MkdirAll(target, 0o700), o.own(target))
		}
		if strings.HasPrefix(name, "pg_wal/") || name == "postmaster.pid" || name == "postmaster.opts" {
			return nil
		}
		return copyFile(path, target, o)
	})
}

func copyFile(from, to string, o *owner) error {
	source, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close(), o.own(to))
}
