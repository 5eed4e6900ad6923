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

// reloadable is embedded by the commands that read their flags, environment and files again at SIGHUP.
type reloadable struct {
	values  map[string]flagValue
	again   func() (runner, map[string]flagValue, error)
	hangups chan os.Signal
}

// setAgain has a SIGHUP wait from now on: one that comes before reloading must not end the process.
func (r *reloadable) setAgain(values map[string]flagValue, again func() (runner, map[string]flagValue, error)) {
	r.values, r.again, r.hangups = values, again, make(chan os.Signal, 1)
	signal.Notify(r.hangups, syscall.SIGHUP)
}

// flagValue is what a flag was given, as text.
type flagValue struct {
	text    string
	reloads bool // a proxy takes it on without a restart: the flag is declared with the tag reload
}

// proxyParts are what a command says of its proxy.
type proxyParts struct {
	proxyFlags `group:"Clients"`
	postgres   postgresFlags
	travel     outboxFlags
	text       textFlags
	key        keyFlags
	log        logSettings
}

// reloading is the actor that waits for SIGHUP. known are the keys that the publisher of this process believes, nil
// if it has none.
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

// reload reads everything again. What cannot change stays, and is named.
func (r *reloadable) reload(p *listeningProxy, known []note.MasterKey, level zap.AtomicLevel, log *zap.Logger) error {
	command, values, err := r.again()
	if err != nil {
		return err
	}
	next := command.(interface{ parts() proxyParts }).parts()
	keys, err := next.travel.keys(next.key, log)
	if err != nil {
		return err
	}
	if known != nil && len(keys) > 0 && !isKnown(known, keys[0]) {
		return fmt.Errorf("--key %s: the publisher in this process does not know the first key: make it the second line, restart, then swap them", next.key.Key)
	}
	config, err := next.config(next.postgres, next.travel, next.text, keys, log)
	if err != nil {
		return err
	}
	if known != nil {
		config.SQLText = r.values["sql-text"].text != "off"
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

// compare lists the flags whose values differ from those at the start or the last reload: what is in force now, and
// what would be after a restart. A publisher keeps the --sql-text that it began with, and so does the proxy beside it.
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
