package outbox

import (
	"slices"
	"testing"
)

func TestIdentityParts(t *testing.T) {
	for identity, want := range map[string][]string{
		`public.t`: {"public", "t"}, `"a.b"."c""d"`: {"a.b", `c"d`}, `public.t.col`: {"public", "t", "col"}, `public."x`: nil, ``: nil, `"`: nil,
	} {
		if got := IdentityParts(identity); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", identity, got, want)
		}
	}
}
