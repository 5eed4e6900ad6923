package shop

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// clerk is a user of one program: a session that runs its tasks one after another.
type clerk struct {
	user, application string
	protocol          pgx.QueryExecMode
	pause             time.Duration // approximate pause between tasks
	tasks             []task
}

// task is one piece of work. It may fail because of a conflict with others.
type task func(ctx context.Context, conn *pgx.Conn) error

var staff = []clerk{
	{"alice", "webshop", pgx.QueryExecModeCacheStatement, 150 * time.Millisecond, []task{fillCart, placeOrder, placeOrder}},
	{"alice", "mobile-app", pgx.QueryExecModeExec, 300 * time.Millisecond, []task{fillCart, emptyCart, placeOrder}},
	{"bob", "warehouse", pgx.QueryExecModeSimpleProtocol, 300 * time.Millisecond, []task{shipOrder, restock}},
	{"carol", "support-desk", pgx.QueryExecModeSimpleProtocol, 500 * time.Millisecond, []task{correctAddress, cancelOrder}},
	{"dave", "billing", pgx.QueryExecModeDescribeExec, 350 * time.Millisecond, []task{payOrders}},
	{"dave", "nightly-import", pgx.QueryExecModeCacheStatement, 4 * time.Second, []task{importPrices}},
	{Owner, "migrations", pgx.QueryExecModeSimpleProtocol, 5 * time.Second, []task{alterSchema}},
}

// Work runs all users until ctx ends; each completes its current task. The first failure ends it.
func Work(ctx context.Context, address Address) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	errs := make([]error, len(staff))
	for i, c := range staff {
		group.Go(func() {
			if errs[i] = c.work(ctx, address, rand.New(rand.NewPCG(1, uint64(i)))); errs[i] != nil {
				cancel()
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func (c clerk) work(ctx context.Context, address Address, random *rand.Rand) error {
	config, err := pgx.ParseConfig(address.URL(c.user))
	if err != nil {
		return err
	}
	config.RuntimeParams["application_name"] = c.application
	config.DefaultQueryExecMode = c.protocol
	whole := context.WithoutCancel(ctx) // a task is not interrupted
	conn, err := pgx.ConnectConfig(whole, config)
	if err != nil {
		return fmt.Errorf("%s at %s: %w", c.user, c.application, err)
	}
	defer conn.Close(whole)
	for {
		pause := time.NewTimer(c.pause/2 + rand.N(c.pause))
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil
		case <-pause.C:
		}
		err := c.tasks[random.IntN(len(c.tasks))](whole, conn)
		if err != nil && !isConflict(err) {
			return fmt.Errorf("%s at %s: %w", c.user, c.application, err)
		}
	}
}

// isConflict reports whether a failure is a normal effect of concurrent work, and not an error of the demo.
func isConflict(err error) bool {
	var pgErr *pgconn.PgError
	if errors.Is(err, pgx.ErrNoRows) {
		return true // nothing to do
	}
	if !errors.As(err, &pgErr) {
		return false
	}
	switch pgErr.Code {
	case "40001", "40P01", "23514", "23503": // serialization failure, deadlock, out of stock, row gone
		return true
	}
	return false
}
