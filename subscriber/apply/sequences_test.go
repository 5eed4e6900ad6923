package apply

import "testing"

// A table of the target is one of the stream if a topic is that of a table which is applied to it.
func TestFeeds(t *testing.T) {
	topics := map[string]string{"shop.public.orders": "", "shop.public.gr__e": "", "shop.old.orders": "", "shop.public.left": "", "shop.public.moved": ""}
	c := &Config{Prefix: "shop", ExcludeTables: []string{"public.left"}, Map: map[string]string{"old": "archive", "public.moved": "public.here"}}
	for table, want := range map[[2]string]bool{
		{"public", "orders"}:  true,
		{"public", "größe"}:   true,
		{"archive", "orders"}: true,
		{"old", "orders"}:     false,
		{"public", "left"}:    false,
		{"public", "moved"}:   false,
		{"public", "here"}:    true,
		{"public", "own"}:     false,
	} {
		if got := c.feeds(topics, table[0], table[1]); got != want {
			t.Errorf("%v: %v", table, got)
		}
	}
}
