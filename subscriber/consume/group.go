package consume

import (
	"context"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// Consumers of a group find each other in the database that they write to: each holds a shared advisory lock, which is released with its connection.
// The n-th consumer, in the order of the server process ids, gets every n-th partition, and holds a separate lock for each of them. The locks only
// decide whose turn it is; the fence is what excludes a former consumer.
const (
	joinGroup = "SELECT pg_advisory_lock_shared(hashtextextended($1, 0))::text"

	// members lists the processes that hold the shared lock, and whether each has become silent: a live one sends a query every second.
	members = `SELECT l.pid::text, coalesce(a.state_change < clock_timestamp() - '20 s'::interval AND (a.state <> 'active' OR a.wait_event = 'ClientRead'), false)::text
FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND l.mode = 'ShareLock' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid::int8 << 32 | l.objid::int8) = hashtextextended($1, 0) ORDER BY l.pid`

	lockPartition   = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))::text"
	unlockPartition = "SELECT pg_advisory_unlock(hashtextextended($1, 0))::text"
	endMember       = "SELECT pg_terminate_backend($1::int4)::text"
)

// membersInterval is how often a consumer checks the members of the group.
const membersInterval = time.Second

func (t *target) lockName() string { return "pgtee consume " + t.cfg.group() + " " + t.cfg.Topic }

func (t *target) lockNameOf(partition int32) string {
	return t.lockName() + " " + strconv.Itoa(int(partition))
}

func (t *target) join(ctx context.Context) error {
	_, err := postgres.Query(ctx, t.conn, joinGroup, t.lockName())
	return err
}

// assign returns the partitions that belong to this consumer, and terminates members that hang.
func (t *target) assign(ctx context.Context, partitions []int32) (mine []int32, err error) {
	rows, err := postgres.Query(ctx, t.conn, members, t.lockName())
	if err != nil {
		return nil, err
	}
	own := strconv.Itoa(int(t.conn.PID()))
	rank, n := -1, 0
	for _, row := range rows {
		if row[1] == "true" && row[0] != own {
			t.cfg.Log.Warn("a consumer of the group no longer responds: its connection is terminated", zap.String("pid", row[0]))
			if _, err := postgres.Query(ctx, t.conn, endMember, row[0]); err != nil && postgres.State(err) != "42501" {
				return nil, err
			}
			continue
		}
		if row[0] == own {
			rank = n
		}
		n++
	}
	for i, p := range partitions {
		if rank >= 0 && i%n == rank {
			mine = append(mine, p)
		}
	}
	return mine, nil
}

// release releases the partitions that are not in mine.
func (t *target) release(ctx context.Context, mine []int32) error {
	for p := range t.epoch {
		if slices.Contains(mine, p) {
			continue
		}
		if _, err := postgres.Query(ctx, t.conn, unlockPartition, t.lockNameOf(p)); err != nil {
			return err
		}
		delete(t.epoch, p)
	}
	return nil
}

// claim takes the partitions that no other consumer holds any more, and fences all partitions of this consumer.
func (t *target) claim(ctx context.Context, topic *topic, mine []int32) (map[int32]start, error) {
	starts := map[int32]start{}
	for _, p := range mine {
		if _, held := t.epoch[p]; !held {
			rows, err := postgres.Query(ctx, t.conn, lockPartition, t.lockNameOf(p))
			if err != nil {
				return nil, err
			}
			if rows[0][0] != "true" {
				continue
			}
			t.epoch[p] = 0 // locked even if the fence fails, so that the lock is not taken twice
		}
		s, err := t.fence(ctx, topic, p)
		if err != nil {
			return nil, err
		}
		starts[p] = s
	}
	return starts, nil
}
