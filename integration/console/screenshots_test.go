//go:build screenshots

package console

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// picture is what the tab shows, as WebP.
func picture(ctx context.Context, t *chromedp.Target) ([]byte, error) {
	quality := int64(72)
	taken, err := cdp.Call(ctx, t, page.CaptureScreenshot, page.CaptureScreenshotParams{Format: "webp", Quality: &quality})
	return taken.Data, err
}

// TestScreenshots writes the pictures of docs/console, in both themes, wide and on a phone.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		t.Fatal("SCREENSHOTS names no folder: run make console-test SCREENSHOTS=docs/console")
	}
	p := open(t, theDemo(t).URL)
	time.Sleep(30 * time.Second) // for the charts to have something to show
	for name, path := range everyPage(t, p) {
		for _, dark := range []bool{false, true} {
			for size, width := range map[string]int64{"wide": 1280, "phone": 390} {
				p.looks(dark, width, 800)
				p.visit(path)
				if name == "live" {
					p.follow()
				}
				if name == "streams" {
					p.await("the charts", `document.querySelectorAll(".charts canvas").length === 4`)
				}
				picture := run(p, picture)
				file := fmt.Sprintf("%s-%s-%s.webp", name, map[bool]string{false: "light", true: "dark"}[dark], size)
				if err := os.WriteFile(filepath.Join(dir, file), picture, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
