package sallyporttest

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

// Window is the window of a real browser, driven as a person would.
type Window struct {
	// Context is for chromedp and its protocol commands.
	Context context.Context

	t testing.TB
}

// How long a browser may run in all, and how long something may take to appear.
const (
	windowLimit = 10 * time.Minute
	seeLimit    = 2 * time.Minute
)

// Chromium starts a browser with a profile of its own. It ends with the test;
// the test skips where there is none.
func Chromium(t testing.TB) *Window {
	t.Helper()
	if testing.Short() {
		t.Skip("a browser is not for -short")
	}
	path, err := exec.LookPath("chromium")
	if err != nil {
		Skip(t, "there is no chromium on this machine (scripts/fixtures installs it where it may)")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.WSURLReadTimeout(seeLimit), chromedp.UserDataDir(t.TempDir()), chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		// No name but those of this machine leads anywhere.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := context.WithTimeout(context.Background(), windowLimit)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits for the process, which then holds no file of the profile
		cancel()
	})
	w := &Window{ctx, t}
	w.do("starting chromium", chromedp.EmulateViewport(1000, 900))
	return w
}

func (w *Window) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	w.t.Helper()
	if err := chromedp.Do(w.Context, steps...); err != nil {
		w.t.Fatalf("%s: %v; the page %s says:\n%s", what, err, w.Location(), w.Text())
	}
}

// Open goes to an address.
func (w *Window) Open(url string) {
	w.t.Helper()
	w.do("opening "+url, chromedp.Navigate(url))
}

// Click clicks on the first visible element of a CSS selector, once the page
// has come to rest: before its style is there, things still move away from
// under the mouse.
func (w *Window) Click(selector string) {
	w.t.Helper()
	w.onPage("clicking on "+selector, chromedp.Click(selector, chromedp.NodeVisible))
}

// Fill types into a field.
func (w *Window) Fill(selector, text string) {
	w.t.Helper()
	w.onPage("filling "+selector, chromedp.SendKeys(selector, text, chromedp.NodeVisible))
}

func (w *Window) onPage(what string, step chromedp.Action[chromedp.Void]) {
	w.t.Helper()
	rested := chromedp.Evaluate[bool](`document.readyState === "complete"`)
	w.await(what, func(ctx context.Context) error {
		if ok, err := chromedp.Run(ctx, rested); err != nil || !ok {
			return errors.Join(errNotYet, err)
		}
		return chromedp.Do(ctx, step)
	})
}

// See waits until the page shows a text, on whatever page that is by then.
func (w *Window) See(text string) {
	w.t.Helper()
	quoted, err := json.Marshal(text)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Shows(`!!document.body && document.body.innerText.includes(` + string(quoted) + `)`)
}

// Shows waits until a JavaScript expression is true, on whatever page.
func (w *Window) Shows(expression string) {
	w.t.Helper()
	holds := chromedp.Evaluate[bool](expression)
	w.await("waiting for "+expression, func(ctx context.Context) error {
		ok, err := chromedp.Run(ctx, holds)
		if err == nil && !ok {
			err = errNotYet
		}
		return err
	})
}

var errNotYet = errors.New("not yet")

// await tries until it works: an error may be a page that is being left.
func (w *Window) await(what string, try func(context.Context) error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.Context, seeLimit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			w.t.Fatalf("%s: %v; the page %s says:\n%s", what, err, w.Location(), w.Text())
		case <-tick.C:
		}
	}
}

// Text is what the page shows.
func (w *Window) Text() string {
	s, _ := chromedp.Run(w.Context, chromedp.Evaluate[string](`document.body ? document.body.innerText : ""`))
	return s
}

// Location is the address that the browser shows, with its fragment.
func (w *Window) Location() string {
	s, _ := chromedp.Run(w.Context, chromedp.Location())
	return s
}

// Screenshot writes what the browser shows to the directory that the variable
// SALLYPORT_SCREENSHOTS names, if it is set.
func (w *Window) Screenshot(name string) {
	w.t.Helper()
	dir := os.Getenv("SALLYPORT_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(w.Context, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// Device gives the browser a device that keeps passkeys and recognises its
// user (WebAuthn section 11, virtual authenticators).
func (w *Window) Device() webauthn.AuthenticatorID {
	w.t.Helper()
	if _, err := chromedp.Call(w.Context, webauthn.Enable, webauthn.EnableParams{}); err != nil {
		w.t.Fatal(err)
	}
	a, err := chromedp.Call(w.Context, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
		HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	return a.AuthenticatorID
}
