package console

import (
	"net/http"
	"slices"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/proxy"
)

type sessionsPage struct {
	Sessions []sessionState
	More     int
	MayEnd   bool
}

func (sessionsPage) refresh() int { return 5 }

// sessionState is a session, with the URL of what it has written.
type sessionState struct {
	proxy.SessionInfo
	Wrote string // "" if no stream of this process has it
}

// shownSessions bounds the sessions on the page.
const shownSessions = 1000

func (c *Console) sessions(_ *http.Request, who person) (any, error) {
	list := c.cfg.Sessions.Sessions()
	slices.SortFunc(list, func(a, b proxy.SessionInfo) int { return b.Since.Compare(a.Since) })
	p := sessionsPage{MayEnd: who.Role >= Admin}
	if len(list) > shownSessions {
		p.More, list = len(list)-shownSessions, list[:shownSessions]
	}
	for _, s := range list {
		state := sessionState{SessionInfo: s}
		for _, stream := range c.cfg.Streams {
			if stream.Database == s.Database && s.Session != "" {
				state.Wrote = c.link("/live", stream.Prefix, "session", s.Session)
			}
		}
		p.Sessions = append(p.Sessions, state)
	}
	return p, nil
}

// terminate ends a session.
func (c *Console) terminate(w http.ResponseWriter, r *http.Request, who person) {
	id := r.PostFormValue("id")
	if c.cfg.Sessions == nil || !c.cfg.Sessions.Terminate(id) {
		http.Error(w, "pgtee console: there is no such session any more: go back and look again", http.StatusNotFound)
		return
	}
	c.log.Info("console: a session was ended", zap.String("who", who.Name), zap.String("session", id), zap.String("from", r.RemoteAddr))
	http.Redirect(w, r, "/sessions", http.StatusSeeOther)
}
