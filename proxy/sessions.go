package proxy

import (
	"context"
	"encoding/binary"
	"strconv"
	"time"
)

// SessionInfo is what an operator may know of a session.
type SessionInfo struct {
	ID          string // in this proxy
	Session     string // as the records name it; "" if it has no notes
	User        string
	Database    string
	Application string // as the client called itself when it connected
	Client      string // address:port; "" for a Unix socket
	PID         int32  // of the server process; 0 if it is not known
	Since       time.Time
	Encrypted   bool // between client and proxy
	Replication bool
	State       string // "active", "idle", "idle in transaction", "idle in failed transaction"
}

// introduce makes a session known to Sessions; it has logged in.
func (s *session) introduce() {
	info := &SessionInfo{ID: strconv.FormatUint(uint64(s.number), 10), User: s.started.user, Database: s.started.database, Application: s.started.application,
		PID: s.started.pid(), Since: time.Now(), Encrypted: s.clientTLS != nil, Replication: s.started.replication}
	if s.from.IsValid() {
		info.Client = s.from.String()
	}
	if s.notes != nil {
		info.Session = s.notes.session.String()
	}
	s.introduced.Store(info)
}

// Sessions lists those that have logged in, in no order. It may be called at any time.
func (p *Proxy) Sessions() []SessionInfo {
	var list []SessionInfo
	for _, s := range p.list() {
		if known := s.introduced.Load(); known != nil {
			info := *known
			info.State = s.pending.state()
			list = append(list, info)
		}
	}
	return list
}

// state says in the words of pg_stat_activity what the session does.
func (p *pending) state() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.ready:
		return "active"
	case p.status == 'T':
		return "idle in transaction"
	case p.status == 'E':
		return "idle in failed transaction"
	}
	return "idle"
}

// terminateTimeout bounds the wait for the server to take the CancelRequest.
const terminateTimeout = 5 * time.Second

// Terminate ends a session, and what it runs; its transaction is rolled back, unless its COMMIT has been sent. It reports whether
// there was such a session.
func (p *Proxy) Terminate(id string) bool {
	for _, s := range p.list() {
		if known := s.introduced.Load(); known == nil || known.ID != id {
			continue
		}
		if key := s.started.key; key != nil { // the server would finish what runs for a client that is gone
			packet := binary.BigEndian.AppendUint32(nil, uint32(8+len(key)))
			packet = binary.BigEndian.AppendUint32(packet, cancelRequest)
			ctx, cancel := context.WithTimeout(context.Background(), terminateTimeout)
			p.cancel(ctx, append(packet, key...))
			cancel()
		}
		s.cut()
		return true
	}
	return false
}
