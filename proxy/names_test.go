package proxy

import "testing"

func TestNames(t *testing.T) {
	for _, c := range []struct {
		names Names
		name  string
		want  bool
	}{
		{Names{}, "any", true},
		{Names{Allow: []string{"sh?p", "b*"}}, "shop", true},
		{Names{Allow: []string{"sh?p", "b*"}}, "ship/2", false},
		{Names{Allow: []string{"*"}, Refuse: []string{"mall*"}}, "mallory", false},
		{Names{Refuse: []string{"mall*"}}, "mall/ory", false},
		{Names{Refuse: []string{"mall/*"}}, "mall/ory", false},
		{Names{Refuse: []string{"mall/*"}}, "mallory", true},
		{Names{Allow: []string{"caf?"}}, "café", true},
		{Names{Allow: []string{"[a-z]*"}}, "shop", false},
		{Names{Allow: []string{"[a]"}}, "[a]", true},
		{Names{Allow: []string{"*a*b"}}, "xaxbxb", true},
		{Names{Allow: []string{"?"}}, "\xe9", true},
	} {
		if got := c.names.admits(c.name); got != c.want {
			t.Errorf("%+v admits %q: %t", c.names, c.name, got)
		}
	}
}
