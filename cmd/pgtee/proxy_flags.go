package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/pgtee/pgtee/proxy"
)

// proxyFlags are the flags of the proxy alone.
type proxyFlags struct {
	Listen        []string `help:"Where clients connect (${default}); a path is a Unix socket, by convention DIR/.s.PGSQL.PORT." default:"127.0.0.1:6432" placeholder:"HOST:PORT,…"`
	Attribution   string   `help:"What gets a note of its own (${enum}). transaction is cheaper, but rows then name only the session, not the statement." enum:"statement,transaction" default:"statement" reload:""`
	RequireOutbox bool     `help:"Refuse sessions to databases without an outbox; otherwise the writes of such sessions are not attributed." reload:""`
	TrustOwner    []string `help:"Roles other than superusers that may own schema pgtee, because they ran pgtee setup. Every session runs code of these roles." placeholder:"ROLE,…" reload:""`
	ProxyProtocol bool     `help:"Each connection begins with a PROXY protocol header, version 1 or 2, that names the client. Make sure that only the load balancer can connect."`

	tlsFlags       `group:"TLS of clients"`
	limitFlags     `group:"Limits of clients"`
	keepAliveFlags `group:"Limits of clients"`
	DrainDelay     time.Duration `help:"After SIGTERM, keep accepting connections for this time while /readyz fails, so that load balancers stop sending new ones. The time is part of --drain: at most half of it."`
}

// checkDrainDelay checks that sessions have time to end after --drain-delay.
func (f proxyFlags) checkDrainDelay(drain time.Duration) error {
	if f.DrainDelay < 0 || f.DrainDelay > drain/2 {
		return fmt.Errorf("--drain-delay %s: want at most half of --drain, which is %s, so that sessions have time to end: give a longer --drain", f.DrainDelay, drain)
	}
	return nil
}

// tlsFlags say how clients may encrypt their connections.
type tlsFlags struct {
	TLSCert     string `name:"tls-cert" help:"Certificate for clients, PEM; without one they are not offered TLS. Read again when it changes." type:"path" placeholder:"FILE" reload:""`
	TLSKey      string `name:"tls-key" help:"Private key of --tls-cert, PEM." type:"path" placeholder:"FILE" reload:""`
	TLSClientCA string `name:"tls-client-ca" help:"CA of client certificates, PEM." type:"path" placeholder:"FILE" reload:""`
	TLSMode     string `name:"tls-mode" help:"What is required of clients: ${enum}." enum:"prefer,require,verify-ca,verify-full" default:"prefer" reload:""`
}

// config returns nil if TLS is not offered to clients.
func (f tlsFlags) config() (*proxy.ClientTLS, error) {
	switch {
	case (f.TLSCert == "") != (f.TLSKey == ""):
		return nil, errors.New("--tls-cert and --tls-key belong together")
	case f.TLSCert == "" && (f.TLSMode != string(proxy.TLSPrefer) || f.TLSClientCA != ""):
		return nil, errors.New("--tls-mode and --tls-client-ca need a certificate: add --tls-cert and --tls-key")
	case f.TLSCert == "":
		return nil, nil
	}
	return &proxy.ClientTLS{CertFile: f.TLSCert, KeyFile: f.TLSKey, CAFile: f.TLSClientCA, Mode: proxy.TLSMode(f.TLSMode)}, nil
}

// limitFlags limit the resources that clients may use.
type limitFlags struct {
	MaxSessions            int `help:"Maximum number of sessions of all clients; more are refused with SQLSTATE 53300. 0: no limit." reload:""`
	MaxSessionsPerUser     int `help:"Maximum number of sessions of one user." reload:""`
	MaxSessionsPerDatabase int `help:"Maximum number of sessions in one database." reload:""`

	MaxLogins int `help:"Maximum number of simultaneous logins; further logins wait, at most as many again." default:"1000" reload:""`

	LoginTimeout             time.Duration `help:"Maximum duration of a login, including the wait for its turn and the password exchange." default:"1m" reload:""`
	IdleTimeout              time.Duration `help:"End a session that is idle outside a transaction for this long (57P05). 0: never." reload:""`
	IdleInTransactionTimeout time.Duration `help:"End a session that is idle in a transaction for this long (25P03)." reload:""`
	QueryTimeout             time.Duration `help:"Cancel a request that runs for this long (57014)." reload:""`

	AllowDatabases  []string `help:"Serve these databases only; * matches any characters, ? exactly one." placeholder:"NAME,…" reload:""`
	RefuseDatabases []string `help:"Do not serve these databases." placeholder:"NAME,…" reload:""`
	AllowUsers      []string `help:"Serve these users only." placeholder:"NAME,…" reload:""`
	RefuseUsers     []string `help:"Do not serve these users." placeholder:"NAME,…" reload:""`
}

func (f limitFlags) config() proxy.Limits {
	return proxy.Limits{
		Sessions: f.MaxSessions, PerUser: f.MaxSessionsPerUser, PerDatabase: f.MaxSessionsPerDatabase, Logins: f.MaxLogins,
		Login: f.LoginTimeout, Idle: f.IdleTimeout, IdleInTransaction: f.IdleInTransactionTimeout, Query: f.QueryTimeout,
		Databases: proxy.Names{Allow: f.AllowDatabases, Refuse: f.RefuseDatabases},
		Users:     proxy.Names{Allow: f.AllowUsers, Refuse: f.RefuseUsers},
	}
}

// keepAliveFlags control the detection of dead peers on idle connections, on both sides of the proxy.
type keepAliveFlags struct {
	KeepaliveIdle     time.Duration `help:"Send the first TCP keepalive probe on a connection that has been idle for this long; negative: never." default:"15s"`
	KeepaliveInterval time.Duration `help:"Time between TCP keepalive probes." default:"15s"`
	KeepaliveCount    int           `help:"Close the connection after this many unanswered TCP keepalive probes." default:"9"`
}

func (f keepAliveFlags) config() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: f.KeepaliveIdle >= 0, Idle: f.KeepaliveIdle, Interval: f.KeepaliveInterval, Count: f.KeepaliveCount}
}

// listen opens every socket of --listen, or none.
func (f proxyFlags) listen() (listeners []net.Listener, err error) {
	for _, address := range f.Listen {
		listener, err := listenAt(address)
		if err != nil {
			for _, taken := range listeners {
				taken.Close()
			}
			return nil, fmt.Errorf("--listen %s: %w: choose a free HOST:PORT or a path", address, err)
		}
		listeners = append(listeners, listener)
	}
	return listeners, nil
}

// listenAt opens a TCP or a Unix socket. Everybody may connect to a Unix socket, as in PostgreSQL, because passwords and pg_hba.conf control access. A
// socket file that a killed process has left is removed first.
func listenAt(address string) (net.Listener, error) {
	if !strings.HasPrefix(address, "/") {
		return net.Listen("tcp", address)
	}
	if info, err := os.Stat(address); err == nil && info.Mode().Type() == os.ModeSocket {
		if conn, err := net.Dial("unix", address); err == nil {
			conn.Close()
		} else if err := os.Remove(address); err != nil {
			return nil, err
		}
	}
	listener, err := net.Listen("unix", address)
	if err != nil {
		return nil, err
	}
	return listener, os.Chmod(address, 0o777)
}
