package console

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

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
