package console

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/jackc/pgx/v5"
)

// quote makes a string of JavaScript.
func quote(text string) string {
	raw, _ := json.Marshal(text)
	return string(raw)
}

// row is an expression: the newest transaction on the live page that has a text.
func row(text string) string {
	return `[...document.querySelectorAll("#events .event")].find(e => e.innerText.includes(` + quote(text) + `))`
}

// follow waits until the live page is connected.
func (p *tab) follow() {
	p.Helper()
	p.await("the stream", `document.getElementById("state").textContent === "following"`)
}

// TestNewcomer is what somebody does first: an own row, seen as it is committed, its diff, its blame.
func TestNewcomer(t *testing.T) {
	d := theDemo(t)
	p := open(t, d.URL)
	began := time.Now()
	step := func(what string) {
		t.Logf("%s: %v", what, time.Since(began).Round(time.Millisecond))
		began = time.Now()
	}
	p.visit("/")
	p.follow()
	step("the page follows")
	conn := d.connect(t, "olivia", "newcomer")
	execute(t, conn, "CREATE TABLE guests (id int PRIMARY KEY, city text, note text)")
	execute(t, conn, "INSERT INTO guests VALUES (1, 'Oslo', 'new')")
	execute(t, conn, "UPDATE guests SET city = 'Reykjavik' WHERE id = 1")
	began = time.Now()
	appears := p.await("the update", row("UPDATE guests"))
	step("the update is seen after its commit")
	if appears > 10*time.Second { // TestRestart asks for a second, over a real Kafka
		t.Errorf("the update is seen after %v", appears)
	}
	p.script(row("newcomer") + `.querySelector(".when").click()`)
	p.await("the transaction", `document.querySelector("h1")?.innerText.startsWith("Transaction")`)
	for _, want := range []string{"olivia", "newcomer", "UPDATE guests SET city =", "Reykjavik", "partition 0, offset"} {
		p.await(want, `document.body.innerText.includes(`+quote(want)+`)`)
	}
	if was := eval[string](p, `document.querySelector(".changed .before")?.innerText`); was != "Oslo" {
		t.Errorf("the diff says that the city was %q", was)
	}
	step("its transaction with the diff")
	p.script(`document.querySelector(".change h3 a").click()`)
	p.await("the row", `document.querySelector("table.blame")`)
	blame := eval[string](p, `[...document.querySelectorAll(".blame tbody tr")].find(r => r.cells[0].innerText === "city").innerText`)
	if !strings.Contains(blame, "Reykjavik") || !strings.Contains(blame, "olivia") || !strings.Contains(blame, "UPDATE guests") {
		t.Errorf("the city is blamed on %q", blame)
	}
	step("the row with its blame")
}

// TestFollowing: filters, a click on a value, pause and resume, keys.
func TestFollowing(t *testing.T) {
	d := theDemo(t)
	conn := d.connect(t, "carol", "filter-test")
	p := open(t, d.URL)
	other := open(t, d.URL)
	other.visit("/live?application=filter-test")
	other.follow()
	filters := map[string]bool{"user=carol": true, "table=orders": false}
	if full {
		filters = map[string]bool{
			"user=carol": true, "user=bob": false, "application=filter-test": true, "application=other": false, "client=127.0.0.1": true, "client=10.0.0.1": false,
			"table=customers": true, "table=orders": false, "command=UPDATE": true, "command=DELETE": false, "text=city": true, "text=nonsense": false,
			"unattributed=1": false, "unverified=1": false,
		}
	}
	fresh := `[...document.querySelectorAll("#events .fresh")].filter(e => e.innerText.includes("filter-test")).length`
	for query, want := range filters {
		p.visit("/live?" + query)
		p.follow()
		before := eval[int](other, fresh)
		execute(t, conn, "UPDATE customers SET city = city || 'x' WHERE id = 2")
		other.await("the update", fmt.Sprintf("%s === %d", fresh, before+1))
		if want {
			p.await("what passes "+query, fresh+" === 1")
			continue
		}
		p.await("what passes nothing, "+query, fresh+" === 0")
		p.visit("/live?" + query)
		if eval[bool](p, row("filter-test")+" !== undefined") {
			t.Errorf("/live?%s shows what does not pass", query)
		}
	}
	p.visit("/live?application=filter-test")
	p.follow()
	p.do(chromedp.Click(`#events .event a[data-filter="table"]`))
	p.await("the filter by table", `new URLSearchParams(location.search).get("table") === "public.customers" && new URLSearchParams(location.search).get("application") === "filter-test"`)
}

// TestFigures: a page of figures renews them without being loaded again.
func TestFigures(t *testing.T) {
	d := theDemo(t)
	p := open(t, d.URL)
	p.visit("/sessions")
	p.script(`window.loaded = true`)
	d.connect(t, "carol", "arrives-later")
	p.await("the new session", `document.querySelector("main").innerText.includes("arrives-later") && loaded`)
	p.visit("/streams")
	p.script(`window.loaded = true`)
	const published = `document.querySelector(".figures > div:last-child dd").innerText`
	before := eval[string](p, published)
	p.await("further transactions", published+" !== "+quote(before))
	if !eval[bool](p, "window.loaded === true") {
		t.Error("the page was loaded again")
	}
}

// TestPause: nothing is lost, and what is new is counted.
func TestPause(t *testing.T) {
	d := theDemo(t)
	conn := d.connect(t, "carol", "pause-test")
	p := open(t, d.URL)
	p.visit("/live?application=pause-test")
	p.follow()
	execute(t, conn, "UPDATE customers SET city = 'pause 0' WHERE id = 3")
	p.await("the first", `document.querySelectorAll("#events .event").length === 1`)
	p.press(" ")
	p.await("the pause", `document.getElementById("state").textContent.startsWith("paused")`)
	const n = 120
	for i := range n {
		execute(t, conn, fmt.Sprintf("UPDATE customers SET city = 'pause %d' WHERE id = 3", i+1))
	}
	p.await("the count", fmt.Sprintf(`document.getElementById("state").textContent === "paused, %d new"`, n))
	if shown := eval[int](p, `document.querySelectorAll("#events .event").length`); shown != 1 {
		t.Errorf("%d rows while it is paused", shown)
	}
	for _, hidden := range []string{"true", "false"} { // another tab, and back
		p.script(`Object.defineProperty(document, "hidden", {value: ` + hidden + `, configurable: true}); document.dispatchEvent(new Event("visibilitychange"))`)
	}
	execute(t, conn, "UPDATE customers SET city = 'pause and back' WHERE id = 3")
	p.await("the count after a visit to another tab", fmt.Sprintf(`document.getElementById("state").textContent === "paused, %d new"`, n+1))
	p.script(`window.opened = 0; const known = EventSource; window.EventSource = class extends known { constructor(url) { super(url); opened++; } }; const now = Date.now(); Date.now = () => now + 60000`)
	p.await("a new connection after a minute of silence", `opened === 1`)
	p.await("the count after it", fmt.Sprintf(`document.getElementById("state").textContent === "paused, %d new"`, n+1))
	p.press(" ")
	p.await("all of them", fmt.Sprintf(`document.querySelectorAll("#events .event").length === %d`, n+2))
	if ids := eval[int](p, `new Set([...document.querySelectorAll("#events .event")].map(e => e.dataset.id)).size`); ids != n+2 {
		t.Errorf("%d different transactions, want %d", ids, n+2)
	}
	p.press("j")
	p.press("j")
	p.press("k")
	if chosen := eval[int](p, `[...document.querySelectorAll("#events .event")].findIndex(e => e.classList.contains("chosen"))`); chosen != 0 {
		t.Errorf("j, j, k chooses number %d", chosen)
	}
	p.press("/")
	if focus := eval[string](p, `document.activeElement.id`); focus != "text" {
		t.Errorf("/ leads to %q", focus)
	}
	p.script(`document.activeElement.blur()`)
	p.press("?")
	p.await("the keys", `document.getElementById("keys").open`)
	p.script(`document.getElementById("keys").close(); document.querySelector("#events .chosen .when").focus()`)
	p.press("\r")
	p.await("the transaction", `location.pathname === "/transaction"`)
}

// evil is what an attacker writes wherever something can be written.
const evil = `"><script>alert(1)</script><img src=x onerror=alert(2)>'{{7*7}}</title></textarea>`

// TestStrangersMarkup: names and SQL with markup are text, on the page and in what comes live.
func TestStrangersMarkup(t *testing.T) {
	d := theDemo(t)
	owner := d.connect(t, "olivia", evil[:60])
	p := open(t, d.URL)
	p.visit("/live")
	p.follow()
	table := pgx.Identifier{evil[:60]}.Sanitize()
	column := pgx.Identifier{evil[10:70]}.Sanitize()
	execute(t, owner, fmt.Sprintf("CREATE TABLE %s (%s text PRIMARY KEY, note text)", table, column))
	execute(t, owner, fmt.Sprintf("/* %s */ INSERT INTO %s VALUES ($1, $1)", strings.ReplaceAll(evil, "*", "+"), table), evil)
	execute(t, owner, fmt.Sprintf("UPDATE %s SET note = $1", table), evil+"2")
	p.await("the update", row("SET note"))
	p.script(row("SET note") + `.querySelector(".when").click()`)
	p.await("the diff", `document.querySelector(".change h3 a")`)
	if text := eval[string](p, `document.querySelector(".changed .after").innerText`); text != evil+"2" {
		t.Errorf("the value is shown as %q", text)
	}
	p.script(`document.querySelector(".change h3 a").click()`)
	p.await("the row", `document.querySelector("table.blame")`)
	for _, path := range []string{"/live?text=" + url.QueryEscape(evil), "/tables", "/ddl", "/sessions", "/live?application=" + url.QueryEscape(evil[:60]), "/row?table=" + url.QueryEscape(evil)} {
		if strings.HasPrefix(path, "/row") {
			p.allow(func(problem string) bool { return strings.Contains(problem, "404") }) // there is no such table
		}
		p.visit(path)
		if bad := eval[int](p, `document.querySelectorAll("main img, main script").length`); bad != 0 {
			t.Errorf("%s has %d elements of a stranger", path, bad)
		}
	}
	execute(t, owner, "DROP TABLE "+table) // the demo compares its own tables only
}

// everyPage are the pages of a demo, with something on them.
func everyPage(t *testing.T, p *tab) map[string]string {
	t.Helper()
	p.visit("/live?user=alice&table=orders")
	transaction := eval[string](p, `new URL(document.querySelector("#events .when").href).pathname + new URL(document.querySelector("#events .when").href).search`)
	p.visit("/row?table=orders")
	history := eval[string](p, `new URL(document.querySelector("tbody th a").href).pathname + new URL(document.querySelector("tbody th a").href).search`)
	p.visit(transaction)
	record := eval[string](p, `new URL(document.querySelector(".place").href).pathname + new URL(document.querySelector(".place").href).search`)
	session := eval[string](p, `new URL(document.querySelector('a[href^="/session?"]').href).pathname + new URL(document.querySelector('a[href^="/session?"]').href).search`)
	return map[string]string{"live": "/live", "transaction": transaction, "session": session, "row": history, "rows": "/row?table=orders", "record": record, "streams": "/streams", "tables": "/tables", "sessions": "/sessions",
		"groups": "/groups", "ddl": "/ddl", "dead-letters": "/dead-letters", "check": "/check", "configuration": "/configuration"}
}

// TestPhone: no page is wider than the phone.
func TestPhone(t *testing.T) {
	p := open(t, theDemo(t).URL)
	pages := everyPage(t, p)
	p.looks(true, 390, 844)
	for name, path := range pages {
		p.visit(path)
		if width := eval[int](p, `document.documentElement.scrollWidth`); width > 390 {
			t.Errorf("%s is %d pixels wide", name, width)
		}
	}
}

func must[V any](t *testing.T, get func() (V, error)) V {
	t.Helper()
	v, err := get()
	if err != nil {
		t.Fatal(err)
	}
	return v
}
