// Package browser finds and starts a real Chromium, for tests and pictures of the page. It asks nobody outside of this
// machine.
package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/chromedp/chromedp"
)

// names of the program, as distributions have it.
var names = []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome"}

// Find returns the path of Chromium: $SITESYNC_CHROMIUM, or what is in PATH.
func Find() (string, error) {
	if path := os.Getenv("SITESYNC_CHROMIUM"); path != "" {
		return path, nil
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no Chromium, which is needed to look at the page: apt install chromium, or set SITESYNC_CHROMIUM to its path")
}

// Start starts Chromium. Actions of chromedp with the context work on its first tab, [chromedp.NewContext] opens others;
// cancel ends it.
func Start(ctx context.Context) (tab context.Context, cancel context.CancelFunc, err error) {
	path, err := Find()
	if err != nil {
		return nil, nil, err
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true), // it is small in containers
		chromedp.Flag("disable-extensions", true),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("force-color-profile", "srgb"),
		// What it would find of proxies is not for a page of this machine.
		chromedp.Flag("no-proxy-server", true),
	}
	allocator, endAllocator := chromedp.NewExecAllocator(ctx, options...)
	tab, endTab := chromedp.NewContext(allocator)
	cancel = func() {
		_ = chromedp.Cancel(tab) // waits until it has ended
		endTab()
		endAllocator()
	}
	if err := chromedp.Do(tab); err != nil {
		cancel()
		return nil, nil, fmt.Errorf("start %s: %w", path, err)
	}
	return tab, cancel, nil
}
