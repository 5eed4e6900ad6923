package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var errBroken = errors.New("broken")

// until is an actor that takes its time to stop.
func until(name string, stopping time.Duration, stopped *[]string) actor {
	return actor{name, func(ctx context.Context) error {
		<-ctx.Done()
		time.Sleep(stopping)
		*stopped = append(*stopped, name)
		return ctx.Err()
	}}
}

func TestGroupStopsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stopped []string
		ctx, signal := context.WithCancel(t.Context())
		time.AfterFunc(time.Hour, signal)
		err := runGroup(ctx, 10*time.Second, until("proxy", 5*time.Second, &stopped), until("publisher", time.Second, &stopped))
		if err != nil || !slices.Equal(stopped, []string{"proxy", "publisher"}) {
			t.Errorf("stopped %v, error %v", stopped, err)
		}
	})
}

func TestGroupFirstToReturnStopsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stopped []string
		fails := actor{"publisher", func(context.Context) error { time.Sleep(time.Minute); return errBroken }}
		err := runGroup(t.Context(), 10*time.Second, until("proxy", time.Second, &stopped), fails)
		if !errors.Is(err, errBroken) || err.Error() != "publisher: broken" || len(stopped) != 1 {
			t.Errorf("stopped %v, error %v", stopped, err)
		}
	})
}

func TestGroupHasAHardDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var late, abandoned []string
		ctx, signal := context.WithCancel(t.Context())
		signal()
		start := time.Now()
		err := runGroup(ctx, 10*time.Second, until("proxy", 20*time.Second, &late), until("publisher", 0, &abandoned))
		if err == nil || !strings.Contains(err.Error(), "proxy did not stop within 10s") || time.Since(start) != 10*time.Second {
			t.Errorf("error %v after %s", err, time.Since(start))
		}
		time.Sleep(time.Minute) // the abandoned end within the test
	})
}
