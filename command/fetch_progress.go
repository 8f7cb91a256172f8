package command

import (
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"sitesync/avalon"
	"sitesync/duration"
	"sitesync/explain"
)

// fetchProgress is how far a fetch is.
type fetchProgress struct {
	remote  string
	before  avalon.FileCount // what was here when it began
	files   avalon.Stats
	running []avalon.RunningFile
	notes   []string // what keeps files from coming
	rate    rate
}

func newFetchProgress(remote string, files avalon.Stats) *fetchProgress {
	return &fetchProgress{remote: remote, before: files.Synced}
}

func (p *fetchProgress) set(files avalon.Stats, running []avalon.RunningFile, at time.Time) {
	p.files, p.running = files, running
	done, _ := p.bytes()
	p.rate.add(at, done)
}

// bytes are those that have come since it began, and all that are to come. Files of unknown size count nothing.
func (p *fetchProgress) bytes() (done, all int64) {
	done = p.files.Synced.Bytes - p.before.Bytes
	all = done + coming(p.files).Bytes + p.files.Failed.Bytes
	for _, f := range p.running {
		done += int64(float64(max(f.Size, 0)) * f.Done)
	}
	return min(max(done, 0), max(all, 0)), max(all, 0)
}

// counted are the files that have come since it began, and all that are to come.
func (p *fetchProgress) counted() string {
	done := p.files.Synced.Files - p.before.Files
	return humanize.Comma(done) + " of " + explain.Plural(done+coming(p.files).Files+p.files.Failed.Files, "file")
}

// speed is how fast it goes, and how long it will take; empty while nothing comes.
func (p *fetchProgress) speed() string {
	done, all := p.bytes()
	perSecond := p.rate.perSecond()
	if perSecond < 1 {
		return ""
	}
	left := time.Duration(min(float64(all-done)/perSecond, math.MaxInt32) * float64(time.Second))
	return fmt.Sprintf("%s/s, %s left", humanize.IBytes(uint64(perSecond)), duration.Rough(left))
}

// waiting says what does not come right now, and why.
func (p *fetchProgress) waiting() string {
	var all []string
	note := func(files int64, does string) {
		if files > 0 {
			all = append(all, humanize.Comma(files)+" "+agree(files, does))
		}
	}
	note(p.files.BackingOff.Files, "wait for the next try")
	note(p.files.SourceMissing.Files, "are not on site "+sanitize(p.remote)+" yet")
	note(p.files.Failed.Files, "have failed")
	return strings.Join(all, ", ")
}

// line is all of it.
func (p *fetchProgress) line() string {
	done, all := p.bytes()
	parts := []string{fmt.Sprintf("%s, %s of %s", p.counted(), humanize.IBytes(uint64(done)),
		humanize.IBytes(uint64(all)))}
	for _, part := range []string{p.speed(), p.waiting()} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	for _, f := range p.running {
		parts = append(parts, fmt.Sprintf("%s %.0f%%", runningName(f), 100*f.Done))
	}
	return strings.Join(parts, "; ")
}

// runningName is the name of a file, without its folder.
func runningName(f avalon.RunningFile) string {
	return sanitize(path.Base(strings.ReplaceAll(f.Path, `\`, "/")))
}

// rateWindow is the time that a rate is measured over: some files, but not what was an hour ago.
const rateWindow = 20 * time.Second

// rate measures how fast a number grows.
type rate struct{ samples []rateSample }

type rateSample struct {
	at    time.Time
	value int64
}

func (r *rate) add(at time.Time, value int64) {
	r.samples = append(r.samples, rateSample{at, value})
	// One that is older than the window is kept, so that there are two.
	for len(r.samples) > 2 && at.Sub(r.samples[1].at) >= rateWindow {
		r.samples = r.samples[1:]
	}
}

// perSecond is 0 until it can be known.
func (r *rate) perSecond() float64 {
	if len(r.samples) < 2 {
		return 0
	}
	first, last := r.samples[0], r.samples[len(r.samples)-1]
	seconds := last.at.Sub(first.at).Seconds()
	if seconds <= 0 {
		return 0
	}
	return max(float64(last.value-first.value)/seconds, 0)
}

// fetchDisplay shows how far a fetch is. end must follow.
type fetchDisplay interface {
	update(*fetchProgress)
	end()
}

func newFetchDisplay(out io.Writer, terminal bool, project string) fetchDisplay {
	project = sanitize(project)
	if !terminal {
		return &fetchLines{out: out, project: project, interval: lineInterval}
	}
	b := &fetchBars{container: mpb.New(mpb.WithOutput(out), mpb.WithAutoRefresh()), running: map[string]*mpb.Bar{}}
	b.total = b.container.New(0, mpb.BarStyle(), mpb.BarPriority(math.MaxInt), // below the files
		mpb.PrependDecorators(b.text(&b.before)), mpb.AppendDecorators(b.text(&b.after)))
	return b
}

// lineInterval is the time between two lines of progress.
const lineInterval = 5 * time.Second

// fetchLines writes a line for each change, but not too many.
type fetchLines struct {
	out      io.Writer
	project  string
	interval time.Duration
	last     string
	lastAt   time.Time
	notes    []string
}

func (l *fetchLines) update(p *fetchProgress) {
	for _, note := range p.notes {
		if !slices.Contains(l.notes, note) {
			fmt.Fprintf(l.out, "%s: %s\n", l.project, note)
		}
	}
	l.notes = slices.Clone(p.notes)
	if line := p.line(); line != l.last && time.Since(l.lastAt) >= l.interval {
		fmt.Fprintf(l.out, "%s: %s\n", l.project, line)
		l.last, l.lastAt = line, time.Now()
	}
}

func (l *fetchLines) end() {}

// fetchBars draws a bar for all files and one for each that is running, on a terminal.
type fetchBars struct {
	container     *mpb.Progress
	total         *mpb.Bar
	before, after atomic.Value // texts beside the bar of all
	running       map[string]*mpb.Bar
	notes         []string
}

// text is a text beside a bar.
func (b *fetchBars) text(v *atomic.Value) decor.Decorator {
	v.Store("")
	return decor.Any(func(decor.Statistics) string { return v.Load().(string) })
}

func (b *fetchBars) update(p *fetchProgress) {
	for _, note := range p.notes {
		if !slices.Contains(b.notes, note) {
			_, _ = fmt.Fprintln(b.container, note) // above the bars
		}
	}
	b.notes = slices.Clone(p.notes)
	done, all := p.bytes()
	b.before.Store(p.counted())
	after := fmt.Sprintf("%s of %s", humanize.IBytes(uint64(done)), humanize.IBytes(uint64(all)))
	for _, more := range []string{p.speed(), p.waiting()} {
		if more != "" {
			after += "; " + more
		}
	}
	b.after.Store(after)
	b.total.SetTotal(all, false)
	b.total.SetCurrent(done)

	ended := b.running
	b.running = map[string]*mpb.Bar{}
	for _, f := range p.running {
		bar := ended[f.Path]
		if bar == nil {
			size := max(f.Size, 0)
			bar = b.container.New(0, mpb.BarStyle(), mpb.PrependDecorators(decor.Name(runningName(f))),
				mpb.AppendDecorators(decor.Name(humanize.IBytes(uint64(size)))))
			bar.SetTotal(size, false)
		}
		bar.SetCurrent(int64(float64(max(f.Size, 0)) * f.Done))
		b.running[f.Path] = bar
		delete(ended, f.Path)
	}
	for _, bar := range ended {
		bar.Abort(true)
	}
}

func (b *fetchBars) end() {
	for _, bar := range b.running {
		bar.Abort(true)
	}
	b.total.Abort(true)
	b.container.Wait()
}
