package harness

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
)

// testSettings retain the whole WAL, so that commit order can be read from it afterwards, and spare the disk: the tests kill processes, never the
// machine.
var testSettings = map[string]string{
	"wal_keep_size":          "4GB",
	"max_slot_wal_keep_size": "8GB",
	"max_connections":        "120",
	"shared_buffers":         "64MB",
	"fsync":                  "off",
	"timezone":               "UTC",
	"wal_receiver_timeout":   "5s",
}

// StartPostgres starts a server of a major version with settings that override those of the tests.
func (w *World) StartPostgres(major int, settings map[string]string) (*embedded.Postgres, error) {
	dir, err := w.Sub(fmt.Sprintf("postgres-%d", major))
	if err != nil {
		return nil, err
	}
	all := maps.Clone(testSettings)
	maps.Copy(all, settings)
	return w.AdoptPostgres(embedded.PostgresConfig{Major: major, Dir: dir, Settings: all})
}

// AdoptPostgres starts a server as described by config, on an existing or a new data folder.
func (w *World) AdoptPostgres(config embedded.PostgresConfig) (*embedded.Postgres, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // PostgreSQL may have to be downloaded
	defer cancel()
	p, err := embedded.NewPostgres(ctx, config)
	if err != nil {
		return nil, err
	}
	return p, w.run(ctx, p)
}

// StartStandby starts an asynchronous standby of a server started by StartPostgres without settings.
func (w *World) StartStandby(primary *embedded.Postgres) (*embedded.Postgres, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := w.Sub("standby")
	if err != nil {
		return nil, err
	}
	p, err := primary.Standby(ctx, embedded.PostgresConfig{Dir: dir, Settings: testSettings})
	if err != nil {
		return nil, err
	}
	return p, w.run(ctx, p)
}

func (w *World) run(ctx context.Context, p *embedded.Postgres) error {
	w.OnClose(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return p.Stop(ctx, embedded.Immediate)
	})
	return p.Start(ctx)
}
