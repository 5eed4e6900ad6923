package proxy

import (
	"errors"
	"fmt"

	"go.uber.org/zap"
)

// terms is the validated configuration that a session keeps until its end. Only the limits on time and number change meanwhile: a reload applies them
// to all sessions.
type terms struct {
	Config
	tls *certificates // nil: the proxy does not offer TLS to clients
}

func newTerms(config Config) (*terms, error) {
	if len(config.Servers) == 0 {
		return nil, errors.New("no PostgreSQL server given: use --postgres")
	}
	if config.Outbox != OutboxOff && len(config.Key) != keyBytes {
		return nil, fmt.Errorf("the key has %d bytes, want %d: a key file holds 64 hex digits", len(config.Key), keyBytes)
	}
	if err := config.Target.validate(); err != nil {
		return nil, err
	}
	if config.Limits.Login == 0 {
		config.Limits.Login = defaultLogin
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = defaultConnectTimeout
	}
	if config.Log == nil {
		config.Log = zap.NewNop()
	}
	t := &terms{Config: config}
	var err error
	if config.TLS != nil {
		t.tls, err = newCertificates(*config.TLS, config.Log)
	}
	return t, err
}

// Reload puts into effect those parts of a configuration that may change while clients are served: Key, TLS, SQLText, Literals, Attribution,
// RequireOutbox and TrustedOwners for sessions that begin from now on, and Limits for all sessions. Without a Key, the present one stays in effect. After an error
// nothing has changed.
func (p *Proxy) Reload(config Config) error {
	changed := p.terms.Load().Config
	changed.TLS, changed.Limits = config.TLS, config.Limits
	if len(config.Key) > 0 {
		changed.Key = config.Key
	}
	changed.SQLText, changed.Literals, changed.Attribution = config.SQLText, config.Literals, config.Attribution
	changed.RequireOutbox, changed.TrustedOwners = config.RequireOutbox, config.TrustedOwners
	t, err := newTerms(changed)
	if err != nil {
		return err
	}
	p.terms.Store(t)
	p.strangers.allow(t.Limits.Logins)
	p.logins.allow(t.Limits.Logins)
	p.cancels.allow(t.Limits.Logins)
	for _, s := range p.list() {
		s.pending.keepTime(t.Limits.checkInterval() > 0)
	}
	return nil
}
