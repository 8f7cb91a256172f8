// Package browser finds and starts a real Chromium, for tests and screenshots of the page. The browser itself asks
// nobody outside of this machine.
package browser

import (
	"context"
	"fmt"

	"github.com/chromedp/chromedp"
)

// Start starts Chromium. Actions of chromedp with the context work on its first tab, [chromedp.NewContext] opens
// others; cancel ends it.
func Start(ctx context.Context) (tab context.Context, cancel context.CancelFunc, err error) {
	found, err := Find(ctx)
	if err != nil {
		return nil, nil, err
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(found.Path), chromedp.Env(found.Env...), chromedp.Headless, chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
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
		return nil, nil, fmt.Errorf("start %s: %w", found.Path, err)
	}
	return tab, cancel, nil
}
