package main

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/cmd/pgtee/shop"
	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/proxy"
)

// openShop creates the shop's database and runs setup in it, unless the folder already contains both.
func (d *demo) openShop(ctx context.Context) error {
	known, err := shop.Exists(ctx, d.postgres.URL)
	if err != nil || known {
		return err
	}
	if err := shop.Create(ctx, d.postgres.URL, d.password); err != nil {
		return err
	}
	_, err = outbox.Setup(ctx, outbox.SetupConfig{ConnString: d.postgres.URL(shop.Database), Slot: demoSlot})
	return err
}

func (d *demo) openPublisher(ctx context.Context) error {
	keys, err := d.key().readOrMake(d.log)
	if err != nil {
		return err
	}
	flags := publisherFlags{recordFlags: d.recordFlags, Partitions: 1, idleProgress: time.Second}
	database := source{connString: d.postgres.URL(shop.Database), database: shop.Database, slot: demoSlot, prefix: demoPrefix}
	if err := flags.validate([]source{database}, d.textFlags); err != nil {
		return err
	}
	d.publishers, err = flags.open(ctx, []source{database}, cluster{brokers: d.brokers()}, d.textFlags, keys, d.log)
	return err
}

func (d *demo) openProxy(ctx context.Context) error {
	keys, err := d.key().read(d.log)
	if err != nil {
		return err
	}
	flags := proxyFlags{Listen: []string{d.Listen}, Attribution: "statement", RequireOutbox: true, tlsFlags: tlsFlags{TLSMode: string(proxy.TLSPrefer)}}
	server, err := url.Parse(d.postgres.URL(shop.Database))
	if err != nil {
		return err
	}
	d.proxy, err = flags.open(ctx, postgresFlags{Postgres: postgresURLs{{server}}}, outboxFlags{d.Outbox}, d.textFlags, keys, d.log)
	return err
}

func (d *demo) key() keyFlags { return keyFlags{filepath.Join(d.Dir, "key")} }

// work creates the shop's schema through the proxy if it does not exist, and runs the shop's users until ctx ends.
func (d *demo) work(ctx context.Context) error {
	if err := shop.Migrate(ctx, d.address()); err != nil {
		return err
	}
	if d.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.For)
		defer cancel()
	}
	return shop.Work(ctx, d.address())
}

// compare waits until everything committed so far has been published, and compares.
func (d *demo) compare(ctx context.Context) error {
	superuser := d.postgres.URL(shop.Database)
	target, err := currentLSN(ctx, superuser)
	if err != nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	publisher := d.publishers[0]
	for publisher.Stats().Published < target {
		select {
		case <-tick.C:
		case <-ctx.Done():
			stats := publisher.Stats()
			return fmt.Errorf("published only up to %s of %s (%s): %w", stats.Published, target, stats.State, ctx.Err())
		}
	}
	if d.altered() {
		return nil
	}
	d.result, err = shop.Compare(ctx, superuser, d.brokers(), demoPrefix)
	return err
}

func currentLSN(ctx context.Context, connString string) (outbox.LSN, error) {
	conn, err := pgx.Connect(ctx, connString)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var text string
	if err := conn.QueryRow(ctx, "SELECT pg_current_wal_lsn()::text").Scan(&text); err != nil {
		return 0, err
	}
	return pgoutput.ParseLSN(text)
}
