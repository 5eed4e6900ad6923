package console

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/pgtee/pgtee/integration/harness"
)

// tab is a page in Chromium. What the page complains of fails the test: errors in its console, exceptions, dialogs.
type tab struct {
	*testing.T
	ctx  context.Context
	base string

	mu       sync.Mutex
	problems []string
	allowed  func(string) bool // problems that belong to the test
}

// chromium starts one browser for all tests of the package.
var chromium = sync.OnceValues(func() (context.Context, error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, fmt.Errorf("%w: run integration/tools.sh console", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("enable-precise-memory-info", true), chromedp.WSURLReadTimeout(time.Minute))
	allocated, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel2 := chromedp.NewContext(allocated)
	world.OnClose(func() error {
		cancel2()
		cancel()
		return nil
	})
	return ctx, chromedp.Do(ctx)
})

// open opens a tab of its own for pages below base.
func open(t *testing.T, base string) *tab {
	t.Helper()
	parent, err := chromium()
	if err != nil {
		t.Fatal(err)
	}
	p := &tab{T: t, base: strings.TrimSuffix(base, "/"), allowed: func(string) bool { return false }}
	ctx, cancel := chromedp.NewContext(parent, chromedp.WithNewBrowserContext(), chromedp.WithListener(p.listen))
	p.ctx = ctx
	t.Cleanup(func() {
		cancel()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, problem := range p.problems {
			t.Errorf("the page complains: %s", problem)
		}
	})
	if err := chromedp.Do(ctx); err != nil { // without a limit: that would be the tab's
		t.Fatal(err)
	}
	p.do(call(log.Enable, cdp.Empty{}), chromedp.EmulateViewport(1280, 800))
	return p
}

// call makes an action of a command of the DevTools protocol.
func call[P, R any](command cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, command, params)
		return err
	})
}

func (p *tab) listen(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		p.complain(fmt.Sprintf("exception: %+v", e.ExceptionDetails))
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" {
			p.complain(fmt.Sprintf("console: %s %+v", e.Type, e.Args))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == "error" {
			p.complain(fmt.Sprintf("log: %s %s", e.Entry.Text, e.Entry.URL))
		}
	case *page.EventJavascriptDialogOpening:
		p.complain("dialog: " + e.Message)
		go chromedp.Do(p.ctx, call(page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{}))
	}
}

func (p *tab) complain(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.allowed(text) {
		p.problems = append(p.problems, text)
	}
}

// allow says which complaints are expected from now on.
func (p *tab) allow(allowed func(string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.allowed = allowed
}

// do runs actions within a minute.
func (p *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.Fatal(err)
	}
}

// visit loads a page.
func (p *tab) visit(path string) {
	p.Helper()
	p.do(chromedp.Navigate(p.base + path))
}

// eval returns the value of an expression.
func eval[V any](p *tab, js string) V {
	p.Helper()
	return run(p, chromedp.Evaluate[V](js))
}

// run does an action that has a result.
func run[V any](p *tab, action chromedp.Action[V]) V {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		p.Fatal(err)
	}
	return value
}

// script runs statements of JavaScript.
func (p *tab) script(js string) {
	p.Helper()
	eval[bool](p, "(() => {"+js+"; return true})()")
}

// await waits until an expression is true, also across pages, and returns how long that took.
func (p *tab) await(what, js string) time.Duration {
	p.Helper()
	return p.awaitFor(30*time.Second, what, js)
}

func (p *tab) awaitFor(patience time.Duration, what, js string) time.Duration {
	p.Helper()
	began := time.Now()
	err := harness.Eventually(patience, func(ctx context.Context) error {
		own, cancel := context.WithTimeout(p.ctx, 10*time.Second)
		defer cancel()
		is, err := chromedp.Run(own, chromedp.Evaluate[bool]("!!("+js+")"))
		if err == nil && !is {
			err = errors.New("it is not there")
		}
		return err
	})
	if err != nil {
		p.Fatalf("%s does not come: %v\nthe page %s says: %.3000s", what, err, eval[string](p, "location.href"), eval[string](p, "document.querySelector('main').innerText"))
	}
	return time.Since(began)
}

// looks chooses theme and size.
func (p *tab) looks(dark bool, width, height int64) {
	p.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	p.do(call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}), chromedp.EmulateViewport(width, height))
}

// press types a key into the page.
func (p *tab) press(key string) {
	p.Helper()
	p.do(chromedp.KeyEvent(key))
}
