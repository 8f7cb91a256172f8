// Command screenshots makes the screenshots of the page that are in docs: it has a studio publish for some minutes, and
// ask for files that its storage has lost, with what goes wrong in between, and takes screenshots of the page in a real
// Chromium.
package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/alecthomas/kong"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"sitesync/integration/browser"
	"sitesync/integration/drive"
	"sitesync/integration/process"
	"sitesync/integration/studio"
	"sitesync/integration/testenv"
)

type cli struct {
	Dir     string        `arg:"" default:"docs" help:"Folder of the screenshots, default docs."`
	For     time.Duration `default:"12m" help:"How long to publish before; the page shows the last hour."`
	Explain bool          `help:"Also take a screenshot of the page of a failed file."`
}

func main() {
	var c cli
	kong.Parse(&c, kong.Name("screenshots"),
		kong.Description("Makes the screenshots of the page: page.png, page-dark.png and page-phone.png."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := c.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "screenshots:", err)
		os.Exit(1)
	}
}

const token = "only-for-the-screenshots"

func (c cli) run(ctx context.Context) (err error) {
	secret := filepath.Join(os.TempDir(), fmt.Sprintf("sitesync-screenshots-%d", os.Getpid()))
	if err := os.WriteFile(secret, []byte(token), 0o600); err != nil {
		return err
	}
	defer os.Remove(secret)
	dir, err := os.MkdirTemp("", "sitesync-screenshots-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := testenv.Start(ctx, testenv.Options{
		Dir: dir,
		Drive: drive.Settings{Latency: 60 * time.Millisecond, Jitter: 80 * time.Millisecond,
			UploadBandwidth: 48 << 20, DownloadBandwidth: 24 << 20},
		Presets: process.Presets{RetryCnt: 2, LoopDelay: "20", LocalRoot: filepath.Join(dir, "storage", "projects")},
		Args: []string{"--listen", "127.0.0.1:0", "--retry-delay", "2s", "--settle", "10m", "--web-token-file",
			secret},
	})
	if err != nil {
		return err
	}
	defer s.Close()
	line, err := s.Daemon.Wait(ctx, process.Message("health and metrics are served"))
	if err != nil {
		return err
	}
	url := "http://" + line.Text("address")
	p := &publisher{env: s, dice: rand.New(rand.NewPCG(1, 2)), versions: map[string]int{}}
	if err := p.publish(ctx, c.For); err != nil {
		return err
	}
	tab, end, err := browser.Start(ctx)
	if err != nil {
		return err
	}
	defer end()
	return c.take(tab, url, p)
}

// publisher publishes what a small studio does in a busy hour, and asks for files again.
type publisher struct {
	env       *testenv.Env
	dice      *rand.Rand
	versions  map[string]int
	failed    *studio.Representation
	published []*studio.Representation // that may be asked for
}

// fetch has the storage lose files that are on Drive, and asks for them.
func (p *publisher) fetch(ctx context.Context, rep *studio.Representation) error {
	if _, err := p.env.Studio.WaitSynced(ctx, rep); err != nil {
		return err
	}
	for _, f := range rep.Files {
		if err := os.Remove(f.Local); err != nil {
			return err
		}
	}
	return rep.Resync(ctx, "studio")
}

var (
	assets = []string{"Robot", "Castle", "Dragon", "Lantern", "Harbor"}
	kinds  = []studio.Publish{
		{Family: "model", Subset: "modelMain", Name: "ma", Size: 3 << 20},
		{Family: "look", Subset: "lookMain", Name: "ma", Size: 400 << 10},
		{Family: "rig", Subset: "rigMain", Name: "ma", Size: 9 << 20},
		{Family: "render", Subset: "renderBeauty", Name: "exr", Size: 1 << 20, Frames: 48},
		{Family: "pointcache", Subset: "pointcacheBody", Name: "abc", Size: 60 << 20, Sparse: true},
	}
)

// next is one publish.
func (p *publisher) next(kind studio.Publish) studio.Publish {
	kind.Asset = assets[p.dice.IntN(len(assets))]
	at := kind.Asset + kind.Subset
	p.versions[at]++
	kind.Version, kind.Seed = p.versions[at], p.dice.Uint64()
	return kind
}

func (p *publisher) publish(ctx context.Context, d time.Duration) error {
	var projects []*studio.Project
	for _, name := range []string{"Aurora", "Borealis", "Cascade"} {
		project, err := p.env.Studio.Project(ctx, name)
		if err != nil {
			return err
		}
		projects = append(projects, project)
	}
	one := func(i int, pub studio.Publish) (*studio.Representation, error) { return projects[i].Publish(ctx, pub) }

	// A filter in between refuses these.
	for i, subset := range []string{"riggingFacial", "riggingBody"} {
		pub := studio.Publish{Asset: "Dragon", Family: "rig", Subset: subset, Name: "ma", Size: 350_000, Hold: true}
		rep, err := one(1+i, pub)
		if err != nil {
			return err
		}
		p.env.Drive.AddFault(drive.Fault{Kind: "files.create*", Name: filepath.Base(rep.Files[0].Rel),
			Effect: drive.EffectHTML, Status: 403})
		if err := rep.Finish(); err != nil {
			return err
		}
		p.failed = rep
	}
	large, err := one(1, p.next(studio.Publish{Family: "vdbcache", Subset: "fxRain", Name: "vdb", Size: 800 << 20,
		Sparse: true}))
	if err != nil {
		return err
	}
	for end := time.Now().Add(d); time.Now().Before(end); {
		// More at some times than at others.
		busy := 1 + p.dice.IntN(4)
		for range busy {
			rep, err := one(p.dice.IntN(len(projects)), p.next(kinds[p.dice.IntN(len(kinds))]))
			if err != nil {
				return err
			}
			p.published = append(p.published, rep)
		}
		if p.dice.IntN(2) == 0 && len(p.published) > 20 {
			// The oldest one is on Drive by now.
			oldest := p.published[0]
			p.published = p.published[1:]
			if err := p.fetch(ctx, oldest); err != nil {
				return err
			}
		}
		select {
		case <-time.After(time.Duration(1+p.dice.IntN(8)) * time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	// One that is not renamed, and large ones that run when the screenshots are taken.
	held := p.next(kinds[0])
	held.Hold = true
	if _, err := one(0, held); err != nil {
		return err
	}
	if err := p.fetch(ctx, large); err != nil {
		return err
	}
	for i, size := range []int64{1400 << 20, 900 << 20} {
		if _, err := one(i, p.next(studio.Publish{Family: "vdbcache", Subset: "fxSmoke", Name: "vdb", Size: size,
			Sparse: true})); err != nil {
			return err
		}
	}
	return nil
}

// screenshot is one of them.
type screenshot struct {
	name          string
	width, height int64
	scale         float64
	scheme        string // light or dark
	path          string // of the page
}

// take takes the screenshots.
func (c cli) take(tab context.Context, url string, p *publisher) error {
	err := chromedp.Do(tab, chromedp.Navigate(url+"/login"), chromedp.SendKeys(chromedp.CSS("#token"), token+"\r"),
		live)
	if err != nil {
		return err
	}
	all := []screenshot{
		{"page.png", 1240, 1180, 1, "light", "/"},
		{"page-dark.png", 1240, 1180, 1, "dark", "/"},
		{"page-phone.png", 390, 844, 1.5, "light", "/"},
	}
	if c.Explain {
		all = append(all, screenshot{"page-explain.png", 1240, 900, 1, "light", "/r/Cascade/" + p.failed.ID.Hex()})
	}
	for _, shot := range all {
		media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: shot.scheme}}}
		if _, err := chromedp.Call(tab, emulation.SetEmulatedMedia, media); err != nil {
			return err
		}
		actions := []chromedp.Action[chromedp.Void]{
			chromedp.EmulateViewport(shot.width, shot.height, chromedp.EmulateScale(shot.scale)),
			chromedp.Navigate(url + shot.path)}
		if shot.path == "/" {
			actions = append(actions, live, chromedp.Sleep(2*time.Second)) // speeds want two looks
		}
		if err := chromedp.Do(tab, actions...); err != nil {
			return err
		}
		png, err := chromedp.Run(tab, chromedp.CaptureScreenshot())
		if err != nil {
			return err
		}
		if png, err = smaller(png); err != nil {
			return err
		}
		file := filepath.Join(c.Dir, shot.name)
		if err := os.WriteFile(file, png, 0o644); err != nil {
			return err
		}
		fmt.Printf("%s, %d kB\n", file, len(png)/1000)
	}
	return nil
}

// live is the first page once it has news.
var live = chromedp.WaitVisible(chromedp.CSS(`body[data-live="true"]`))
