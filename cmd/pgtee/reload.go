package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox/note"
)

// reloadable is embedded by the commands that read their flags, environment and files again on SIGHUP.
type reloadable struct {
	values  map[string]flagValue
	again   func() (runner, map[string]flagValue, error)
	hangups chan os.Signal
}

// enableReload queues SIGHUP from now on: a signal that arrives before reloading runs must not end the process.
func (r *reloadable) enableReload(values map[string]flagValue, again func() (runner, map[string]flagValue, error)) {
	r.values, r.again, r.hangups = values, again, make(chan os.Signal, 1)
	signal.Notify(r.hangups, syscall.SIGHUP)
}

// flagValue is the value of a flag, as text.
type flagValue struct {
	text    string
	reloads bool // a proxy can change it without a restart: the flag is declared with the tag reload
}

// proxyParts are a command's flags for its proxy.
type proxyParts struct {
	proxyFlags `group:"Clients"`
	postgres   postgresFlags
	noteForm   outboxFlags
	text       textFlags
	key        keyFlags
	log        logSettings
}

// reloading is the actor that waits for SIGHUP. known are the keys that the publisher of this process accepts, nil if there is no publisher.
func (r *reloadable) reloading(p *listeningProxy, known []note.MasterKey, level zap.AtomicLevel, log *zap.Logger) actor {
	return actor{"reload", func(ctx context.Context) error {
		defer signal.Stop(r.hangups)
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-r.hangups:
			}
			if err := r.reload(p, known, level, log); err != nil {
				log.Error("the new configuration is invalid; the old one stays in effect", zap.String("finding", "configuration-refused"), zap.String("error", oneLine(err)))
			}
		}
	}}
}

// reload reads everything again. Settings that require a restart keep their values, and are logged.
func (r *reloadable) reload(p *listeningProxy, known []note.MasterKey, level zap.AtomicLevel, log *zap.Logger) error {
	command, values, err := r.again()
	if err != nil {
		return err
	}
	next := command.(interface{ parts() proxyParts }).parts()
	keys, err := next.noteForm.keys(next.key, log)
	if err != nil {
		return err
	}
	if known != nil && len(keys) > 0 && !isKnown(known, keys[0]) {
		return fmt.Errorf("--key %s: the publisher in this process does not know the first key: make it the second line, restart, then swap them", next.key.Key)
	}
	if known != nil {
		next.text = textFlags{r.values["sql-text"].text}
	}
	config, err := next.config(next.postgres, next.noteForm, next.text, keys, log)
	if err != nil {
		return err
	}
	if err := p.Reload(config); err != nil {
		return err
	}
	level.SetLevel(next.log.severity())
	changed, restart := r.compare(values, known != nil)
	log.Info("configuration read again", zap.Strings("changed", changed), zap.Strings("needs_restart", restart))
	return nil
}

func isKnown(known []note.MasterKey, key note.MasterKey) bool {
	return slices.ContainsFunc(known, func(k note.MasterKey) bool { return slices.Equal(k, key) })
}

// compare returns the flags whose values differ from those at startup or at the last reload: those that are in effect now, and those that require a
// restart. A publisher keeps the --sql-text with which it began, and so does the proxy beside it.
func (r *reloadable) compare(values map[string]flagValue, publishes bool) (changed, restart []string) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch {
		case values[name] == r.values[name]:
		case values[name].reloads && !(publishes && name == "sql-text"):
			changed = append(changed, name)
			r.values[name] = values[name]
		default:
			restart = append(restart, name)
		}
	}
	return changed, restart
}
