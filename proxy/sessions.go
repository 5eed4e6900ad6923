package proxy

import (
	"context"
	"encoding/binary"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/parser"
)

// SessionInfo is what an operator may see of a session.
type SessionInfo struct {
	ID          string // within this proxy
	Session     string // session id in the records; "" if the session has no notes
	User        string
	Database    string
	Application string // application name that the client gave when it connected
	Client      string // address:port; "" for a Unix socket
	PID         int32  // of the server process; 0 if unknown
	Since       time.Time
	Encrypted   bool // whether the connection between client and proxy uses TLS
	Replication bool
	State       string // "active", "idle", "idle in transaction", "idle in failed transaction"

	Statement   string    // the last one whose note has its text, in the form of Config.Literals, cut; "": there is none
	StatementAt time.Time // when it was sent; zero if there is none

	Queries     int64 // as in Stats
	Notes       int64
	NoteBytes   int64 // sent for notes
	ClientBytes int64 // received from the client
	ServerBytes int64 // received from the server
}

// introduce adds a session that has logged in to Sessions.
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

// Sessions lists the sessions that have logged in, in no particular order. It may be called at any time.
func (p *Proxy) Sessions() []SessionInfo {
	var list []SessionInfo
	for _, s := range p.list() {
		if known := s.introduced.Load(); known != nil {
			info := *known
			info.State = s.pending.state()
			info.Queries, info.Notes, info.NoteBytes = s.work.queries.Load(), s.work.notes.Load(), s.work.injected.Load()
			info.ClientBytes, info.ServerBytes = s.up.received.Load(), s.down.received.Load()
			info.Statement, info.StatementAt = s.latest.show(s.terms.Literals)
			list = append(list, info)
		}
	}
	return list
}

// maxLatestBytes is how much of a statement is kept for Sessions: as much as pg_stat_activity shows by default.
const maxLatestBytes = 1 << 10

// latest is the last statement that a note of a session is for. The request side sets it, Sessions reads it.
type latest struct {
	mu    sync.Mutex
	text  []byte // as the note has it, so without credentials, up to maxLatestBytes
	cut   bool   // it is longer
	lexis parser.Lexis
	at    time.Time
}

// set takes the subject of a note. Notes of no statement leave the last one.
func (l *latest) set(s subject, set *settings, at time.Time) {
	if s.flags&note.FlagNameless != 0 && len(s.sql) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text[:0], set.encoding.cut(s.sql, maxLatestBytes)...)
	l.cut, l.lexis, l.at = len(s.sql) > maxLatestBytes, set.lexis, at
}

// show returns the text as it may be shown.
func (l *latest) show(literals bool) (text string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.text) == 0 {
		return "", time.Time{}
	}
	sql, more := l.text, ""
	if l.cut {
		sql, more = parser.Readable(sql, l.lexis), " …"
	}
	if !literals {
		sql = parser.Normalize(nil, sql, l.lexis)
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(sql), "\uFFFD")) + more, l.at
}

// state returns the session's state as pg_stat_activity would show it.
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

// terminateTimeout bounds the wait for the server to accept the CancelRequest.
const terminateTimeout = 5 * time.Second

// Terminate ends a session and cancels its running statement; its transaction is rolled back, unless its COMMIT has already been sent. It reports
// whether the session existed.
func (p *Proxy) Terminate(id string) bool {
	for _, s := range p.list() {
		if known := s.introduced.Load(); known == nil || known.ID != id {
			continue
		}
		if key := s.started.key; key != nil { // otherwise the server would complete the statement for a client that is gone
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
