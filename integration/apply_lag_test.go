package integration

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

// An applier that is started while the target is locked is late from its start on.
func TestLagOfAnApplierThatIsStuckAtItsStart(t *testing.T) {
	a := newApplied(t, "CREATE TABLE t (id int PRIMARY KEY);")
	a.Write("INSERT INTO t VALUES (1)")
	a.ExpectApplied()
	a.Write("INSERT INTO t VALUES (2)")
	a.Drain()
	lock := a.dial(a.targetURL())
	defer lock.Close(a.ctx)
	_, err := lock.Exec(a.ctx, "BEGIN; LOCK TABLE t")
	a.must(err)
	metrics := must(t, harness.FreeAddress)
	p := a.process("apply", a.applyArgs("--metrics", metrics)...)
	a.must(harness.Eventually(30*time.Second, func(context.Context) error {
		text, err := harness.Metrics(metrics)
		if err != nil {
			return err
		}
		value := regexp.MustCompile(`pgtee_apply_lag_seconds\{.*\} (\S+)`).FindStringSubmatch(text)
		if value == nil {
			return fmt.Errorf("no lag is served")
		}
		if lag, err := strconv.ParseFloat(value[1], 64); err != nil || lag <= 0 {
			return fmt.Errorf("the lag is %s (%v)", value[1], err)
		}
		return nil
	}))
	_, err = lock.Exec(a.ctx, "ROLLBACK")
	a.must(err)
	a.must(harness.Eventually(30*time.Second, func(context.Context) error {
		if got := a.rows(a.targetURL(), "t"); got != "(1)\n(2)" {
			return fmt.Errorf("the target has %s", got)
		}
		return nil
	}))
	a.Stop(p)
}
