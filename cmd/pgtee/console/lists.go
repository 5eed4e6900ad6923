package console

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/outbox"
	published "github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/subscriber"
)

// tableState is the state of one table on the page of tables.
type tableState struct {
	Table, Topic string
	Partitions   int
	Records      int64  // approximate: number of offsets in the topic
	Identity     string // as in outbox.Table
	Key          string
	Uncaptured   string // why UPDATE and DELETE are not published
	History      string // URL
	Live         string // URL
}

type tablesPage struct {
	Tables  []tableState
	Hidden  []setting // flags that hide or mask columns
	Problem string
	More    int
}

// shownTables is the maximum number of tables on the page, whose topics it looks up in Kafka.
const shownTables = 300

func (c *Console) tables(r *http.Request, _ person) (any, error) {
	s, err := c.stream(r)
	if err != nil {
		return nil, err
	}
	list, err := s.Tables(r.Context())
	if err != nil {
		return nil, err
	}
	var p tablesPage
	if len(list) > shownTables {
		p.More, list = len(list)-shownTables, list[:shownTables]
	}
	reasons := map[string]string{}
	if uncaptured, err := s.Uncaptured(r.Context()); err != nil {
		p.Problem = err.Error()
	} else {
		for _, u := range uncaptured {
			reason := u.Reason
			if u.Table != u.Root {
				reason = "partition " + u.Table + ": " + reason
			}
			reasons[strings.Join(outbox.IdentityParts(u.Root), ".")] = reason
		}
	}
	var names []string
	for _, t := range list {
		named, own := topicsOf(s.Prefix, t.Schema+"."+t.Name)
		names = append(names, named, own)
	}
	starts, ends, err := c.topics.sizes(r.Context(), names)
	if err != nil {
		return nil, err
	}
	for _, t := range list {
		name := t.Schema + "." + t.Name
		topic, own := topicsOf(s.Prefix, name)
		if ends[own] != nil {
			topic = own
		}
		state := tableState{Table: name, Topic: topic, Partitions: len(ends[topic]), Uncaptured: reasons[name], Identity: t.Identity, Key: t.Key,
			History: c.link("/row", s.Prefix, "table", name), Live: c.link("/live", s.Prefix, "table", name)}
		for partition, end := range ends[topic] {
			state.Records += end - starts[topic][partition]
		}
		p.Tables = append(p.Tables, state)
	}
	slices.SortFunc(p.Tables, func(a, b tableState) int { return strings.Compare(a.Table, b.Table) })
	for _, name := range []string{"mask", "hash", "truncate-column", "exclude-columns", "include-columns", "exclude-tables", "include-tables", "tables"} {
		if text := c.cfg.Settings[name]; text != "" && text != "[]" {
			p.Hidden = append(p.Hidden, setting{name, text})
		}
	}
	return p, nil
}

// sizes returns the first and the last offsets of many topics at once. Topics that do not exist are left out.
func (t *topics) sizes(ctx context.Context, names []string) (starts, ends map[string]position, err error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	starts, ends = map[string]position{}, map[string]position{}
	if len(names) == 0 {
		return starts, ends, nil
	}
	first, err := t.admin.ListStartOffsets(ctx, names...)
	if err != nil {
		return nil, nil, kafkaError(err)
	}
	last, err := t.admin.ListCommittedOffsets(ctx, names...)
	if err != nil {
		return nil, nil, kafkaError(err)
	}
	for _, name := range names {
		from, err := offsetsOf(first[name])
		to, err2 := offsetsOf(last[name])
		if err := errors.Join(err, err2); err != nil {
			if errors.Is(err, errNoTopic) {
				continue
			}
			return nil, nil, err
		}
		starts[name], ends[name] = from, to
	}
	return starts, ends, nil
}

// groupState is one consumer group and its progress in the topics of the prefix.
type groupState struct {
	Group, State string
	Members      int
	Lag          int64
	Problem      string // why Lag is not known; "": it is
	Topics       []groupTopic
}

type groupTopic struct {
	Topic   string
	Lag     int64
	Problem string
}

type groupsPage struct {
	Groups []groupState
	Prefix string
	More   int // groups that were not queried
}

// maxGroups is the maximum number of consumer groups that the page queries.
const maxGroups = 500

func (c *Console) groups(r *http.Request, _ person) (any, error) {
	s, err := c.stream(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
	defer cancel()
	listed, err := c.topics.admin.ListGroups(ctx)
	if err != nil {
		return nil, kafkaError(err)
	}
	p := groupsPage{Prefix: s.Prefix}
	names := listed.Groups()
	if len(names) == 0 { // without names Lag would query all groups
		return p, nil
	}
	if len(names) > maxGroups {
		p.More, names = len(names)-maxGroups, names[:maxGroups]
	}
	lags, err := c.topics.admin.Lag(ctx, names...)
	if err != nil {
		return nil, kafkaError(err)
	}
	for _, lag := range lags.Sorted() {
		if state, ours := groupOf(lag, s.Prefix); ours {
			p.Groups = append(p.Groups, state)
		}
	}
	slices.SortStableFunc(p.Groups, func(a, b groupState) int {
		return cmp.Or(strings.Compare(b.Problem, a.Problem), cmp.Compare(b.Lag, a.Lag)) // those with a problem first
	})
	return p, nil
}

// groupOf returns the part of a group that concerns the topics of a prefix. A group that cannot be queried may concern them.
func groupOf(lag kadm.DescribedGroupLag, prefix string) (state groupState, ours bool) {
	state = groupState{Group: lag.Group, State: lag.State, Members: len(lag.Members)}
	if err := lag.Error(); err != nil {
		state.Problem = kafkaError(err).Error()
		return state, true
	}
	for _, topic := range slices.Sorted(maps.Keys(lag.Lag)) {
		if !strings.HasPrefix(topic, prefix+".") {
			continue
		}
		one := groupTopic{Topic: topic}
		for _, partition := range lag.Lag[topic] {
			if partition.Err != nil {
				one.Problem = kafkaError(partition.Err).Error()
			}
			one.Lag += max(0, partition.Lag)
		}
		state.Lag += one.Lag
		state.Problem = cmp.Or(state.Problem, one.Problem)
		state.Topics = append(state.Topics, one)
	}
	return state, len(state.Topics) > 0
}

// ddlState is a record of PREFIX.ddl.
type ddlState struct {
	At        time.Time
	Command   string
	Statement string
	Objects   []string
	User      string
	App       string
	Record    string // URL
	Broken    bool
}

type ddlPage struct {
	Commands []ddlState
	Older    string
}

// shownRecords is the maximum number of records in a list.
const shownRecords = 100

func (c *Console) ddl(r *http.Request, _ person) (any, error) {
	s, err := c.stream(r)
	if err != nil {
		return nil, err
	}
	records, older, err := c.newest(r.Context(), c.topics.begin(), s, "ddl", r.FormValue("before"))
	if err != nil {
		return nil, err
	}
	var p ddlPage
	for _, record := range records {
		p.Commands = append(p.Commands, c.ddlOf(s, record))
	}
	if older != "" {
		p.Older = c.link("/ddl", s.Prefix, "before", older)
	}
	return p, nil
}

func (c *Console) ddlOf(s *Stream, record *kgo.Record) ddlState {
	var value struct {
		CommitTime  time.Time `json:"commit_time"`
		Command     string    `json:"command"`
		Statement   string    `json:"statement"`
		SessionUser string    `json:"user"`
		Application string    `json:"application"`
		Objects     []struct {
			Name string `json:"name"`
		} `json:"objects"`
	}
	state := ddlState{At: record.Timestamp, Record: c.recordURL(s.Prefix, record.Topic, record.Partition, record.Offset)}
	if json.Unmarshal(record.Value, &value) != nil {
		state.Broken = true
		return state
	}
	state.At, state.Command, state.Statement, state.User, state.App = value.CommitTime, value.Command, value.Statement, value.SessionUser, value.Application
	for _, o := range value.Objects {
		state.Objects = append(state.Objects, o.Name)
	}
	return state
}

// newest returns the newest records of one of the stream's own topics, and the position of the older ones; none if the topic does not exist. before is
// a position that an earlier page has returned, or "".
func (c *Console) newest(ctx context.Context, from *reading, s *Stream, name, before string) (records []*kgo.Record, older string, err error) {
	topic := published.TopicName(s.Prefix, name)
	starts, ends, err := from.bounds(ctx, topic)
	if errors.Is(err, errNoTopic) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	place, _ := startOf(before, starts, ends)
	records, more, err := from.find(ctx, search{topic: topic, starts: starts, before: place, want: shownRecords, keep: func(r *kgo.Record) bool {
		return r.Value != nil && header(r, published.PieceHeader) == "" // pieces are listed with their dead letter
	}})
	return records, more.String(), err
}

// letterState is a dead letter, or a refused event of the application.
type letterState struct {
	At      time.Time
	Source  string
	Key     string
	Reason  string
	Size    int64
	Pieces  int
	Partial bool // the row's record is in its topic, without its largest values
	User    string
	Trust   string // how well the user is known; "": there is none
	Record  string // URL
}

type deadLettersPage struct {
	Letters, Refused           []letterState
	OlderLetters, OlderRefused string // URLs; each leaves the other list where it is
}

func (c *Console) deadLetters(r *http.Request, _ person) (any, error) {
	s, err := c.stream(r)
	if err != nil {
		return nil, err
	}
	reading := c.topics.begin()
	beforeLetter, beforeRefused := r.FormValue("before"), r.FormValue("before_refused")
	letters, olderLetters, err := c.newest(r.Context(), reading, s, "dead-letter", beforeLetter)
	if err != nil {
		return nil, err
	}
	refused, olderRefused, err := c.newest(r.Context(), reading, s, "outbox.refused", beforeRefused)
	if err != nil {
		return nil, err
	}
	var p deadLettersPage
	for _, record := range letters {
		p.Letters = append(p.Letters, c.letterOf(s, record))
	}
	for _, record := range refused {
		p.Refused = append(p.Refused, letterState{At: record.Timestamp, Source: header(record, published.RefusedTopicHeader), Key: cut(strings.ToValidUTF8(string(record.Key), "\uFFFD"), 200),
			Reason: header(record, published.RefusedHeader), Size: int64(len(record.Value)), Record: c.recordURL(s.Prefix, record.Topic, record.Partition, record.Offset)})
	}
	if olderLetters != "" {
		p.OlderLetters = c.link("/dead-letters", s.Prefix, "before", olderLetters, "before_refused", beforeRefused)
	}
	if olderRefused != "" {
		p.OlderRefused = c.link("/dead-letters", s.Prefix, "before", beforeLetter, "before_refused", olderRefused)
	}
	return p, nil
}

func (c *Console) letterOf(s *Stream, record *kgo.Record) letterState {
	var value struct {
		Source    string `json:"source"`
		Key       string `json:"key"`
		Reason    string `json:"reason"`
		Bytes     int64  `json:"bytes"`
		Pieces    int    `json:"pieces"`
		Published bool   `json:"published"`
		Pgtee     struct {
			Session  *subscriber.Session `json:"session"`
			Verified *bool               `json:"verified"`
		} `json:"pgtee"`
	}
	state := letterState{At: record.Timestamp, Record: c.recordURL(s.Prefix, record.Topic, record.Partition, record.Offset)}
	if json.Unmarshal(record.Value, &value) != nil {
		state.Reason = "the record cannot be read"
		return state
	}
	state.Source, state.Key, state.Reason, state.Size, state.Pieces, state.Partial = value.Source, cut(value.Key, 200), value.Reason, value.Bytes, value.Pieces, value.Published
	if session := value.Pgtee.Session; session != nil {
		state.User, state.Trust = session.User, trust(session, value.Pgtee.Verified)
	}
	return state
}

// setting is a flag and its value at startup.
type setting struct{ Name, Value string }

type configurationPage struct{ Settings []setting }

func (c *Console) configuration(*http.Request, person) (any, error) {
	var p configurationPage
	for _, name := range slices.Sorted(maps.Keys(c.cfg.Settings)) {
		p.Settings = append(p.Settings, setting{name, c.cfg.Settings[name]})
	}
	return p, nil
}

type checkPage struct {
	Database string
	Findings []outbox.Finding
	Good     int
}

func (c *Console) check(r *http.Request, _ person) (any, error) {
	s, err := c.stream(r)
	if err != nil {
		return nil, err
	}
	report, err := s.Check(r.Context())
	if err != nil {
		return nil, err
	}
	p := checkPage{Database: s.Database, Findings: slices.Clone(report.Findings)}
	slices.SortStableFunc(p.Findings, func(a, b outbox.Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	for _, f := range p.Findings {
		if f.Severity == outbox.OK {
			p.Good++
		}
	}
	return p, nil
}
