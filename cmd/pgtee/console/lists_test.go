package console

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/outbox"
	published "github.com/pgtee/pgtee/publisher/record"
)

// TestDeadLetterPages: each of the two lists has pages of its own, and the pieces of a letter take no place in them.
func TestDeadLetterPages(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.dead-letter", 1)
	f.make("shop.outbox.refused", 1)
	f.commit(record("shop.dead-letter", "", `{"source":"the oldest letter","reason":"too large"}`, "1"))
	f.commit(&kgo.Record{Topic: "shop.outbox.refused", Value: []byte("x"), Headers: []kgo.RecordHeader{{Key: published.RefusedTopicHeader, Value: []byte("the oldest event")}}})
	var list []*kgo.Record
	for range shownRecords {
		piece := record("shop.dead-letter", "", "a piece", "2")
		piece.Headers = append(piece.Headers, kgo.RecordHeader{Key: published.PieceHeader, Value: []byte("1/1")})
		list = append(list, record("shop.dead-letter", "", `{"source":"a letter","reason":"too large"}`, "2"), piece,
			&kgo.Record{Topic: "shop.outbox.refused", Value: []byte("x"), Headers: []kgo.RecordHeader{{Key: published.RefusedTopicHeader, Value: []byte("an event")}}})
	}
	f.commit(list...)
	older := func(page, name string) string {
		link := regexp.MustCompile(`href="([^"]+)">Older ` + name).FindStringSubmatch(page)
		if link == nil {
			t.Fatalf("there is no link to older %s", name)
		}
		return f.page(strings.ReplaceAll(link[1], "&amp;", "&"))
	}
	count := func(page string) string {
		return fmt.Sprint(strings.Count(page, ">a letter<"), strings.Count(page, ">the oldest letter<"), strings.Count(page, ">an event<"), strings.Count(page, ">the oldest event<"))
	}
	first := f.page("/dead-letters")
	events := older(first, "refused events")
	both := older(events, "dead letters")
	for page, want := range map[string]string{first: "100 0 100 0", events: "100 0 0 1", both: "0 1 0 1"} {
		if got := count(page); got != want {
			t.Errorf("a page has %s, want %s", got, want)
		}
	}
}

// TestUncapturedTables: a table is marked whatever its name, a partitioned one because of its partition.
func TestUncapturedTables(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		s := &c.Streams[0]
		s.Tables = func(context.Context) ([]outbox.Table, error) {
			return []outbox.Table{{Schema: "public", Name: "Log Raw", Identity: "primary key"}, {Schema: "public", Name: "parted", Identity: "index", Key: `id, "<b>"`}, {Schema: "public", Name: "fine", Identity: "full"}}, nil
		}
		s.Uncaptured = func(context.Context) ([]outbox.Capture, error) {
			return []outbox.Capture{{Table: `public."Log Raw"`, Root: `public."Log Raw"`, Reason: "it has no primary key"},
				{Table: "public.part_1", Root: "public.parted", Reason: "it is unlogged"}}, nil
		}
	})
	page := f.page("/tables")
	f.expect(page, "it has no primary key", "partition public.part_1: it is unlogged", `<td data-label="key">none</td>`, "<code>id, &#34;&lt;b&gt;&#34;</code><br>", ">index<", ">full<")
	if n := strings.Count(page, "only INSERT"); n != 2 {
		t.Errorf("%d tables are marked, want 2: %s", n, page)
	}
}

// TestGroupsUnknown: a group whose lag is not known is not called up to date, and does not disappear.
func TestGroupsUnknown(t *testing.T) {
	partition := func(lag int64, err error) kadm.GroupMemberLag { return kadm.GroupMemberLag{Lag: lag, Err: err} }
	for name, test := range map[string]struct {
		lag     kadm.DescribedGroupLag
		ours    bool
		behind  int64
		problem bool
	}{
		"behind":        {kadm.DescribedGroupLag{Lag: kadm.GroupLag{"shop.audit": {0: partition(3, nil), 1: partition(4, nil)}, "other": {0: partition(9, nil)}}}, true, 7, false},
		"one partition": {kadm.DescribedGroupLag{Lag: kadm.GroupLag{"shop.audit": {0: partition(3, nil), 1: partition(-1, kerr.LeaderNotAvailable)}}}, true, 3, true},
		"not described": {kadm.DescribedGroupLag{DescribeErr: kerr.CoordinatorNotAvailable}, true, 0, true},
		"not fetched":   {kadm.DescribedGroupLag{FetchErr: kerr.GroupAuthorizationFailed}, true, 0, true},
		"of others":     {kadm.DescribedGroupLag{Lag: kadm.GroupLag{"other": {0: partition(-1, kerr.LeaderNotAvailable)}}}, false, 0, false},
	} {
		state, ours := groupOf(test.lag, prefix)
		if ours != test.ours || state.Lag != test.behind || (state.Problem != "") != test.problem {
			t.Errorf("%s: ours %v, %+v", name, ours, state)
		}
		var page bytes.Buffer
		if err := templates["groups"].ExecuteTemplate(&page, "content", frame{Page: groupsPage{Groups: []groupState{state}}}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(page.String(), "not known") != test.problem {
			t.Errorf("%s: the page says\n%s", name, page.String())
		}
	}
}

// TestManyGroups: the page says how many groups it has not looked at.
func TestManyGroups(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.audit", 1)
	commit := func(from, to int) {
		for n := from; n < to; n++ {
			offsets := kadm.Offsets{}
			offsets.Add(kadm.Offset{Topic: "shop.audit", Partition: 0, At: 0})
			if err := kadm.NewClient(f.client).CommitAllOffsets(f.Context(), fmt.Sprintf("group%03d", n), offsets); err != nil {
				f.Fatal(err)
			}
		}
	}
	commit(0, 1)
	f.expect(f.page("/groups"), "group000")
	commit(1, maxGroups+2)
	f.expect(f.page("/groups"), "group499", "and 2 groups more, which were not looked at")
}
