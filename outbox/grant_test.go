package outbox

import (
	"strings"
	"testing"
)

func TestGrant(t *testing.T) {
	for _, sql := range []string{publishGrant, signalGrant} {
		for _, roles := range [][]string{{"public"}, {"ann", "PUBLIC"}, {""}} {
			if sql, err := grant("it", sql, roles); err == nil {
				t.Errorf("%q: %s", roles, sql)
			}
		}
		if sql, err := grant("it", sql, []string{"ann", `b"ob`}); err != nil || !strings.HasSuffix(sql, `TO "ann", "b""ob";`) || strings.Contains(sql, "%!") {
			t.Errorf("%s: %v", sql, err)
		}
		if sql, err := grant("it", sql, nil); err != nil || sql != "" {
			t.Errorf("%s: %v", sql, err)
		}
	}
}
