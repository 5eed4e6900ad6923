package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// tlsFiles are the files of the flags <flag>-ca, <flag>-cert and <flag>-key, each "" if it is not given: the trusted CA, and an own certificate with its
// key. They are read again when they have changed, because certificates are renewed while the process runs. Files that cannot be used leave the former
// ones in force.
type tlsFiles struct {
	flag, ca, cert, key string

	mu     sync.Mutex
	read   [3]time.Time // modification times
	config *tls.Config
}

// readTLS reads the files for the first time.
func readTLS(flag, ca, cert, key string) (*tlsFiles, error) {
	f := &tlsFiles{flag: flag, ca: ca, cert: cert, key: key}
	_, err := f.current()
	return f, err
}

// current returns the configuration for a new connection, and why it is not that of the files as they are now.
func (f *tlsFiles) current() (*tls.Config, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var modified [3]time.Time
	for i, name := range []string{f.ca, f.cert, f.key} {
		if info, err := os.Stat(name); err == nil {
			modified[i] = info.ModTime()
		}
	}
	if f.config != nil && modified == f.read {
		return f.config, nil
	}
	config, err := f.load()
	if err != nil {
		return f.config, err
	}
	f.read, f.config = modified, config
	return config, nil
}

// logged returns a function that returns the configuration for a new connection. It logs, once, why that is not the one of the files as they are now.
func (f *tlsFiles) logged(text string, log *zap.Logger) func() *tls.Config {
	var last atomic.Value // why the files were refused the last time, as text
	last.Store("")
	return func() *tls.Config {
		config, refused := f.current()
		why := ""
		if refused != nil {
			why = refused.Error()
		}
		if last.Swap(why) != why && refused != nil {
			log.Warn(text, zap.String("finding", "tls-files-refused"), zap.Error(refused))
		}
		return config
	}
}

func (f *tlsFiles) load() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.ca != "" {
		text, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, fmt.Errorf("%s-ca: %w", f.flag, err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s-ca: %s holds no certificate in PEM form", f.flag, f.ca)
		}
	}
	switch {
	case (f.cert == "") != (f.key == ""):
		return nil, fmt.Errorf("%[1]s-cert and %[1]s-key belong together", f.flag)
	case f.cert == "":
		return config, nil
	}
	certificate, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, fmt.Errorf("%s-cert: %w", f.flag, err)
	}
	config.Certificates = []tls.Certificate{certificate}
	return config, nil
}

// dialTimeout is the time limit of a connection with its handshake: the default of Kafka's client.
const dialTimeout = 10 * time.Second

// dial opens an encrypted connection to a server.
func (f *tlsFiles) dial(ctx context.Context, network, address string) (net.Conn, error) {
	config, refused := f.current()
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: config}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil && refused != nil {
		err = fmt.Errorf("%w; the changed files are not in use: %w", err, refused)
	}
	return conn, err
}
