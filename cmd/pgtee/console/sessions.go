package console

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/proxy"
	"github.com/pgtee/pgtee/subscriber"
)

type sessionsPage struct {
	Sessions []sessionState
	More     int
	MayEnd   bool
}

func (sessionsPage) refresh() int { return 5 }

// sessionState is a session, with the URLs of what it has written.
type sessionState struct {
	proxy.SessionInfo
	Wrote, Playback string // "" if no stream of this process has it
}

// shownSessions is the maximum number of sessions on the page.
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
				state.Playback = c.link("/session", stream.Prefix, "id", s.Session)
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

// playbackPage shows what one session has written, statement by statement in the order of time.
type playbackPage struct {
	ID      string
	Author  *subscriber.Session // nil: nothing of it was found
	Trust   string              // how well the author is known
	Played  []played
	Earlier string // URL of what precedes; "" if nothing does
	Live    string // URL
}

// played is one transaction of a session.
type played struct {
	*item
	Pause time.Duration // since the previous transaction on the page
}

// shownPlayed is the maximum number of transactions on a page.
const shownPlayed = 100

func (c *Console) playback(r *http.Request, _ person) (any, error) {
	s, err := c.stream(r)
	if err != nil {
		return nil, err
	}
	p := playbackPage{ID: r.FormValue("id")}
	if p.ID == "" {
		return nil, badRequest("the address names no session")
	}
	p.Live = c.link("/live", s.Prefix, "session", p.ID)
	reading := c.topics.begin()
	starts, ends, err := reading.bounds(r.Context(), c.tails[s.Prefix].topic)
	if errors.Is(err, errNoTopic) {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	before, _ := startOf(r.FormValue("before"), starts, ends)
	events, more, err := c.events(r.Context(), reading, s, starts, before, shownPlayed, filter{Session: p.ID})
	if err != nil {
		return nil, err
	}
	for _, e := range slices.Backward(events) {
		if e.Broken != "" { // every filter lets these pass
			continue
		}
		one := played{item: &item{e, c}}
		if n := len(p.Played); n > 0 {
			one.Pause = e.CommitTime.Sub(p.Played[n-1].CommitTime)
		}
		p.Played = append(p.Played, one)
		if p.Trust != "verified" {
			p.Author, p.Trust = e.Session, e.Trust()
		}
	}
	if more != nil {
		p.Earlier = c.link("/session", s.Prefix, "id", p.ID, "before", more.String())
	}
	return p, nil
}
