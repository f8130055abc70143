package page

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/count-db/count/test/process"
)

func TestMain(m *testing.M) {
	code := m.Run()
	process.Cleanup()
	os.Exit(code)
}

// browser is a tab of a headless Chromium that notes what a page must not do.
type browser struct {
	t    *testing.T
	ctx  context.Context
	root string

	mu     sync.Mutex
	faults []string
}

// chromium returns the browser's binary, or skips the test.
func chromium(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	for _, name := range []string{os.Getenv("CHROMIUM_BIN"), "chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			return found
		}
	}
	t.Skip("skipped: there is no chromium (Debian's package), and CHROMIUM_BIN names none")
	return ""
}

// open starts a browser for the pages below root.
func open(t *testing.T, root string) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.WindowSize(1100, 1000), chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(2*time.Minute), chromedp.Flag("disable-quic", true))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 5*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(t.Logf))
	t.Cleanup(func() {
		// Waits for the process, so that its folder can be removed.
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("end the browser: %v", err)
		}
		cancel()
	})
	b := &browser{t: t, ctx: ctx, root: strings.TrimSuffix(root, "/")}
	if err := chromedp.Listen(ctx, b.watch); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	return b
}

// watch notes requests to other hosts and exceptions.
func (b *browser) watch(event any) {
	fault := ""
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if url := e.Request.URL; !strings.HasPrefix(url, b.root+"/") && !strings.HasPrefix(url, "data:") {
			fault = "a request to another host: " + url
		}
	case *runtime.EventExceptionThrown:
		fault = "an exception: " + e.ExceptionDetails.Text
	}
	if fault != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.faults = append(b.faults, fault)
	}
}

// do does the steps and ends the test where one does not come about.
func (b *browser) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 90*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		text, readErr := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS("body")))
		b.t.Fatalf("%s: %v\nthe page says: %s %v", what, err, text, readErr)
	}
}

// see waits until the element's text has all the words.
func (b *browser) see(selector string, words ...string) {
	b.t.Helper()
	process.Eventually(b.t, 90*time.Second, fmt.Sprintf("%s says %q", selector, words), func() error {
		text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](fmt.Sprintf(`(document.querySelector(%q) || {}).innerText || ""`, selector)))
		if err != nil {
			return err
		}
		for _, w := range words {
			if !strings.Contains(text, w) {
				return fmt.Errorf("%q is not in: %s", w, text)
			}
		}
		return nil
	})
}

// click clicks the element that has the text.
func (b *browser) click(element, text string) {
	b.t.Helper()
	b.do("click "+text, chromedp.Click(fmt.Sprintf(`//%s[normalize-space(.)=%q]`, element, text)))
}

// picture leaves a picture of what is seen, where pictures are asked for.
func (b *browser) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("COUNT_PICTURES")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatalf("take a picture: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// background returns the page's colour in a colour scheme.
func (b *browser) background(scheme string) string {
	b.t.Helper()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, media); err != nil {
		b.t.Fatalf("switch to %s: %v", scheme, err)
	}
	colour, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`getComputedStyle(document.body).backgroundColor`))
	if err != nil {
		b.t.Fatal(err)
	}
	return colour
}

// faultless fails the test where the page did what it must not.
func (b *browser) faultless() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.faults {
		b.t.Error(f)
	}
}
