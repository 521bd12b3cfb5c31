// Package webtest looks at pages with a real browser, in tests.
package webtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// ShotsEnv names the variable with the folder in which Shot keeps pictures.
const ShotsEnv = "RINGRUN_TEST_SHOTS"

const patience = 2 * time.Minute // for what should take a moment: after that it hangs

// A Browser is one window of a headless Chromium of its own.
type Browser struct {
	t       testing.TB
	ctx     context.Context
	console chan chromedp.ConsoleMessage
	marks   int
}

// Open starts a Chromium, or skips the test where there is none. When the test
// ends, the browser does, and must have had nothing to complain about.
func Open(t testing.TB) *Browser {
	t.Helper()
	exe := find()
	if exe == "" {
		t.Skip("no Chromium is installed: the page is not tried in a browser")
	}
	flags := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(exe), chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(patience), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.WindowSize(1400, 1000), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
	)
	alloc, cancel := chromedp.NewExecAllocator(context.Background(), flags...)
	t.Cleanup(cancel)
	b := &Browser{t: t, console: make(chan chromedp.ConsoleMessage, 1000)}
	var stop context.CancelFunc
	b.ctx, stop = chromedp.NewContext(alloc)
	t.Cleanup(func() {
		_ = chromedp.Cancel(b.ctx) // waits for the process to end
		stop()
	})
	messages := chromedp.Console(b.ctx)
	go func() { // until the context ends
		for m, err := range messages {
			if err != nil {
				return
			}
			b.console <- m
		}
	}()
	t.Cleanup(func() {
		for _, c := range b.Complaints() {
			t.Errorf("the browser complains: %s", c)
		}
	})
	return b
}

func find() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// Complaints returns what the browser complained about since the last call.
func (b *Browser) Complaints() []string {
	b.t.Helper()
	b.marks++
	mark := fmt.Sprintf("mark %d", b.marks)
	b.Eval(fmt.Sprintf("console.log(%q) || true", mark))
	var all []string
	for late := time.After(patience); ; {
		select {
		case m := <-b.console:
			switch {
			case m.Text == mark:
				return all
			case m.IsException(), m.Type == "error", m.Type == "warning", m.Type == "assert":
				all = append(all, m.String())
			}
		case <-late:
			b.t.Fatalf("the console of the browser says nothing for %v", patience)
		}
	}
}

// Go opens a page.
func (b *Browser) Go(url string) {
	b.t.Helper()
	run(b, "open "+url, func() (chromedp.Void, error) { return chromedp.Void{}, chromedp.Do(b.ctx, chromedp.Navigate(url)) })
}

// Click clicks what a CSS selector finds.
func (b *Browser) Click(selector string) {
	b.t.Helper()
	run(b, "click "+selector, func() (chromedp.Void, error) {
		return chromedp.Void{}, chromedp.Do(b.ctx, chromedp.Click(chromedp.CSS(selector)))
	})
}

// Eval returns whether a JavaScript expression is true.
func (b *Browser) Eval(expression string) bool {
	b.t.Helper()
	return run(b, expression, func() (bool, error) { return chromedp.Run(b.ctx, chromedp.Evaluate[bool](expression)) })
}

// Text returns what the page says.
func (b *Browser) Text() string {
	b.t.Helper()
	return run(b, "text", func() (string, error) {
		return chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.body.innerText"))
	})
}

// Until waits until a JavaScript expression is true, and returns how long that
// took.
func (b *Browser) Until(expression string) time.Duration {
	b.t.Helper()
	began := time.Now()
	for look := time.Tick(20 * time.Millisecond); !b.Eval(expression); <-look {
		if time.Since(began) > patience {
			b.t.Fatalf("never true: %s; the page says\n%s", expression, b.Text())
		}
	}
	return time.Since(began)
}

// Scheme lets the system want "light" or "dark".
func (b *Browser) Scheme(scheme string) {
	b.t.Helper()
	wants := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	run(b, "want "+scheme, func() (chromedp.Void, error) {
		_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, wants)
		return chromedp.Void{}, err
	})
}

// Shot keeps a picture of the whole page, if somebody wants to look at it.
func (b *Browser) Shot(name string) {
	b.t.Helper()
	dir := os.Getenv(ShotsEnv)
	if dir == "" {
		return
	}
	png := run(b, "picture", func() ([]byte, error) { return chromedp.Run(b.ctx, chromedp.FullScreenshot(100)) })
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// run lets the browser do something, but not for ever. The first time starts it.
func run[T any](b *Browser, what string, do func() (T, error)) T {
	b.t.Helper()
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := do()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			b.t.Fatalf("browser: %s: %v", what, r.err)
		}
		return r.value
	case <-time.After(patience):
		b.t.Fatalf("browser: %s: no answer within %v", what, patience)
		panic("not reached")
	}
}
