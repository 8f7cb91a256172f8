package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/drive"
	"sitesync/integration/process"
	"sitesync/integration/studio"
	"sitesync/integration/testenv"
)

// downloads is a Drive that has files which were published elsewhere: other than that of the uploads, it keeps their
// content. Like it, it is reached under Google's name, through a proxy and with TLS.
type downloads struct {
	*bench
	drive   *drive.Server
	account *drive.Account
	show    *drive.SharedDrive
	proxy   *drive.Proxy
	dir     string // of the tools' settings, and of what is downloaded

	sitesync, rclone downloader
}

// downloader is a program that downloads.
type downloader struct {
	tool
	run func(ctx context.Context, o offer, transfers int) (outcome, error)
}

// offer is files on Drive, and the publishes that record them.
type offer struct {
	root      string // folder on the shared drive that stands for the studio's root
	publishes []studio.Publish
	files     map[string]string // ids, by path below the root
	bytes     int64             // of all
}

// newDownloads starts a Drive. It must be closed.
func (b *bench) newDownloads() (d *downloads, err error) {
	b.runs++
	d = &downloads{bench: b, dir: filepath.Join(b.dir, fmt.Sprintf("downloads-%d", b.runs))}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		return nil, err
	}
	if d.drive, err = drive.Start(drive.Options{LogSize: 100_000}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	d.account = d.drive.AddServiceAccount("home@studio.iam.example")
	d.show = d.drive.AddSharedDrive("SHOW")
	d.show.AddMember(d.account, drive.ContentManager)
	if d.proxy, err = d.drive.StartProxy(); err != nil {
		return nil, err
	}
	for name, content := range map[string][]byte{"ca.pem": d.proxy.CA, "key.json": d.account.GoogleCredentials()} {
		if err := os.WriteFile(filepath.Join(d.dir, name), content, 0o600); err != nil {
			return nil, err
		}
	}
	d.sitesync = downloader{d.bench.sitesync, d.runSitesync}
	d.rclone = downloader{d.bench.rclone, d.runRclone}
	return d, nil
}

func (d *downloads) close() error { return errors.Join(d.drive.Close(), os.RemoveAll(d.dir)) }

// offer puts files on Drive, each of the publish's size.
func (d *downloads) offer(ctx context.Context, publishes []studio.Publish) (o offer, err error) {
	d.runs++
	o = offer{root: fmt.Sprintf("root-%d", d.runs), publishes: publishes, files: map[string]string{}}
	root := d.drive.Mkdir(d.show, o.root)
	db := d.env.Mongo.Client().Database("bench_files")
	defer db.Drop(context.WithoutCancel(ctx))
	p, err := studio.New(db, studio.Options{Root: d.dir, RemoteSite: testenv.RemoteSite}).Project(ctx, "Bench")
	if err != nil {
		return o, err
	}
	for i := range publishes {
		publishes[i].RecordOnly, publishes[i].Synced, publishes[i].NoActiveDate = true, true, true
		publishes[i].Change = nil
	}
	reps, err := p.PublishAll(ctx, publishes...)
	content := map[int64][]byte{}
	for _, rep := range reps {
		for _, f := range rep.Files {
			if content[f.Size] == nil {
				content[f.Size] = bytes.Repeat([]byte("x"), int(f.Size))
			}
			folder := root
			if dir := path.Dir(f.Rel); dir != "." {
				folder = d.drive.Mkdir(d.show, o.root+"/"+dir)
			}
			o.files[f.Rel] = d.drive.AddFile(folder, path.Base(f.Rel), content[f.Size])
			o.bytes += f.Size
		}
	}
	for i := range publishes {
		publishes[i].Change = o.setIDs
	}
	return o, err
}

// setIDs writes the ids that the files have on Drive into their records.
func (o offer) setIDs(doc bson.D) bson.D {
	for _, field := range doc {
		files, ok := field.Value.(bson.A)
		if field.Key != "files" || !ok {
			continue
		}
		for _, f := range files {
			var id string
			for _, e := range f.(bson.D) {
				if e.Key == "path" {
					id = o.files[strings.TrimPrefix(e.Value.(string), "{root}/")]
				}
			}
			for _, e := range f.(bson.D) {
				if e.Key != "sites" {
					continue
				}
				for _, rec := range e.Value.(bson.A) {
					for i, of := range rec.(bson.D) {
						if of.Key == "id" {
							rec.(bson.D)[i].Value = id
						}
					}
				}
			}
		}
	}
	return doc
}

// newStorage is a storage with nothing in it but a folder, as an empty one is taken for one that is not mounted.
func (d *downloads) newStorage() (string, error) {
	d.runs++
	storage := filepath.Join(d.dir, fmt.Sprintf("storage-%d", d.runs))
	return storage, os.MkdirAll(filepath.Join(storage, "projects"), 0o700)
}

// daemon is a sitesync with a database of its own.
type daemon struct {
	process.Options
	project *studio.Project
}

// newDaemon returns a sitesync that is not started yet, and a function that removes what it has left.
func (d *downloads) newDaemon(ctx context.Context, root, storage string, args ...string) (*daemon, func(), error) {
	d.runs++
	name := fmt.Sprintf("bench_%d", d.runs)
	client := d.env.Mongo.Client()
	drop := func() {
		ctx := context.WithoutCancel(ctx)
		_ = client.Database(name).Drop(ctx) // its files are removed with the environment anyway
		_ = client.Database(name + "_state").Drop(ctx)
	}
	p, err := studio.New(client.Database(name), studio.Options{Root: d.storage, RemoteSite: testenv.RemoteSite}).
		Project(ctx, "Bench")
	if err != nil {
		return nil, drop, err
	}
	presets := filepath.Join(d.dir, name)
	if err := os.Mkdir(presets, 0o700); err != nil {
		return nil, drop, err
	}
	err = (process.Presets{LocalRoot: storage, Sites: map[string]process.Site{
		testenv.RemoteSite: {Credentials: d.account.GoogleCredentials(), Root: "/" + d.show.Name + "/" + root},
	}}).Write(presets)
	return &daemon{process.Options{Binary: d.env.Binary, Presets: presets, Mongo: d.env.Mongo.URI(), Database: name,
		State: name + "_state", Args: args, Env: []string{"HTTPS_PROXY=" + d.proxy.URL, "NO_PROXY=",
			"SSL_CERT_FILE=" + filepath.Join(d.dir, "ca.pem")}}, p}, drop, err
}

// sync starts sitesync and waits until so many files are marked as synced. It returns the time of that.
func (m *daemon) sync(ctx context.Context, files int) (end time.Time, cpu time.Duration, err error) {
	d, err := process.Start(m.Options)
	if err != nil {
		return end, 0, err
	}
	defer d.Kill()
	marked := 0
	if _, err := d.Wait(ctx, func(l process.Line) bool { // it logs a file when the database has acknowledged the mark
		if l.Message == "synced" {
			marked++
		}
		return marked == files
	}); err != nil {
		return end, 0, err
	}
	end = time.Now()
	err = d.Stop()
	return end, d.CPU(), err
}

// seen is bench.seen of this Drive.
func (d *downloads) seen() (first time.Time, calls int) {
	for _, e := range d.drive.Log() {
		if first.IsZero() || e.Time.Before(first) {
			first = e.Time
		}
	}
	for _, n := range d.drive.Calls() {
		calls += n
	}
	return first, calls
}

// runSitesync publishes what is offered into a new database, then starts sitesync on it and waits until all is marked.
func (d *downloads) runSitesync(ctx context.Context, o offer, transfers int) (out outcome, err error) {
	storage, err := d.newStorage()
	if err != nil {
		return out, err
	}
	defer os.RemoveAll(storage)
	m, drop, err := d.newDaemon(ctx, o.root, storage, sitesyncArgs(transfers)...)
	defer drop()
	if err != nil {
		return out, err
	}
	if _, err := m.project.PublishAll(ctx, o.publishes...); err != nil {
		return out, err
	}
	d.drive.ResetCalls()
	end, cpu, err := m.sync(ctx, len(o.files))
	if err != nil {
		return out, err
	}
	first, calls := d.seen()
	out = outcome{files: len(o.files), bytes: o.bytes, calls: calls, seconds: end.Sub(first).Seconds(), cpu: cpu}
	return out, o.check(storage)
}

// rcloneDownloadFlags are the fastest settings of rclone for a folder of Drive: no pacing beyond Drive's own, and large
// files in several parts at once.
func rcloneDownloadFlags(transfers int) []string {
	return []string{"copy", "--transfers", fmt.Sprint(transfers), "--checkers", fmt.Sprint(transfers),
		"--drive-pacer-min-sleep", "1ms", "--drive-pacer-burst", "1000", "--multi-thread-streams", "8",
		"--multi-thread-cutoff", "64M"}
}

// runRclone has rclone copy what is offered.
func (d *downloads) runRclone(ctx context.Context, o offer, transfers int) (out outcome, err error) {
	storage, err := d.newStorage()
	if err != nil {
		return out, err
	}
	defer os.RemoveAll(storage)
	args := append(rcloneDownloadFlags(transfers), "--config", filepath.Join(d.dir, "none.conf"),
		"--cache-dir", filepath.Join(d.dir, "cache"), "--ca-cert", filepath.Join(d.dir, "ca.pem"),
		"--drive-service-account-file", filepath.Join(d.dir, "key.json"), "--drive-team-drive", d.show.ID,
		"--drive-scope", "drive", ":drive:"+o.root, storage)
	cmd := exec.CommandContext(ctx, "rclone", args...)
	cmd.Env = append(os.Environ(), "HTTPS_PROXY="+d.proxy.URL, "NO_PROXY=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	d.drive.ResetCalls()
	if err := cmd.Run(); err != nil {
		return out, fmt.Errorf("rclone %s: %w\n%s", strings.Join(args, " "), err, &stderr)
	}
	end := time.Now()
	first, calls := d.seen()
	out = outcome{files: len(o.files), bytes: o.bytes, calls: calls, seconds: end.Sub(first).Seconds(),
		cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	return out, o.check(storage)
}

// check makes sure that each file is on a storage.
func (o offer) check(storage string) error {
	var bytes int64
	for name := range o.files {
		info, err := os.Stat(filepath.Join(storage, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		bytes += info.Size()
	}
	if bytes != o.bytes {
		return fmt.Errorf("the files in %s have %d bytes, not %d", storage, bytes, o.bytes)
	}
	return nil
}

// compare has both tools download what is offered, in turn.
func (d *downloads) compare(ctx context.Context, what string, o offer, transfers int) (ours, theirs []outcome,
	err error) {
	progress("%s ...", what)
	tools := map[string]downloader{d.sitesync.name: d.sitesync, d.rclone.name: d.rclone}
	outcomes, err := d.alternate(ctx, []tool{d.sitesync.tool, d.rclone.tool},
		func(ctx context.Context, t tool) (outcome, error) { return tools[t.name].run(ctx, o, transfers) })
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", what, err)
	}
	return outcomes[0], outcomes[1], nil
}

func (d *downloads) limit(change func(*drive.Settings)) { d.drive.UpdateSettings(change) }

// down measures downloads: small files, the calls for a sequence, a large file, and the reaction.
func (b *bench) down(ctx context.Context) (rows []row, err error) {
	d, err := b.newDownloads()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	for _, measure := range []func(context.Context) ([]row, error){d.small, d.sequence, d.large, d.reaction} {
		more, err := measure(ctx)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// small measures small files a second.
func (d *downloads) small(ctx context.Context) (rows []row, err error) {
	const transfers = 8
	for _, layout := range []struct {
		name      string
		publishes []studio.Publish
	}{
		{"a folder each", ownFolders("Own", d.Folders)},
		{"one folder", oneFolder("One", d.Files)},
	} {
		o, err := d.offer(ctx, layout.publishes)
		if err != nil {
			return nil, err
		}
		for _, ms := range d.Latency {
			d.limit(func(v *drive.Settings) { v.Latency = time.Duration(ms) * time.Millisecond })
			what := fmt.Sprintf("down, %d small files, %s, %d ms, %d transfers", len(o.files), layout.name, ms,
				transfers)
			ours, theirs, err := d.compare(ctx, what, o, transfers)
			if err != nil {
				return nil, err
			}
			r := row{What: what, Unit: "files/s", Peer: d.rclone.name, Missing: d.rclone.missing,
				Ours: figures(ours, filesPerSecond), Theirs: figures(theirs, filesPerSecond)}
			if ms > 0 {
				r.Bar, r.Pictured = &bar{Of: ofRatio, AtLeast: true, Limit: 1.3}, true
			}
			rows = append(rows, r)
		}
		d.limit(func(v *drive.Settings) { v.Latency = 0 })
	}
	return rows, nil
}

// sequence counts the calls for a sequence.
func (d *downloads) sequence(ctx context.Context) ([]row, error) {
	o, err := d.offer(ctx, []studio.Publish{{Asset: "Sequence", Subset: "renderMain", Name: "exr", Frames: d.Calls,
		Size: size}})
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("calls a file, down, a sequence of %d", d.Calls)
	ours, theirs, err := d.compare(ctx, what, o, 8)
	if err != nil {
		return nil, err
	}
	return []row{{What: what, Unit: "calls", Peer: d.rclone.name, Missing: d.rclone.missing,
		Ours: figures(ours, callsPerFile), Theirs: figures(theirs, callsPerFile),
		Bar: &bar{Of: ofOurs, Limit: 1.05}}}, nil
}

// connectionLimit is what one connection to Drive carries, bytes a second.
const connectionLimit = 20 << 20

// large measures a large file where each connection carries only so much.
func (d *downloads) large(ctx context.Context) ([]row, error) {
	o, err := d.offer(ctx, []studio.Publish{{Asset: "Large", Subset: "cacheMain", Name: "abc", Size: d.Large << 20}})
	if err != nil {
		return nil, err
	}
	d.limit(func(v *drive.Settings) { v.ConnectionDownload, v.Latency = connectionLimit, limitedLatency })
	defer d.limit(func(v *drive.Settings) { v.ConnectionDownload, v.Latency = 0, 0 })
	what := fmt.Sprintf("down, one file of %d MiB, %d ms, %d MiB/s a connection", d.Large,
		limitedLatency.Milliseconds(), connectionLimit>>20)
	ours, theirs, err := d.compare(ctx, what, o, 8)
	if err != nil {
		return nil, err
	}
	for _, id := range o.files {
		d.drive.Delete(id) // its content is large
	}
	return []row{{What: what, Unit: "MiB/s", Peer: d.rclone.name, Missing: d.rclone.missing, Pictured: true,
		Ours: figures(ours, mebibytesPerSecond), Theirs: figures(theirs, mebibytesPerSecond),
		Bar: &bar{Of: ofRatio, AtLeast: true, Limit: 1}}}, nil
}

// reaction sets created_dt of the remote site in one record after the other, as another sitesync does, and measures the
// time until that of the active site can be read.
func (d *downloads) reaction(ctx context.Context) ([]row, error) {
	each := d.Publishes / d.Rounds
	o, err := d.offer(ctx, ownFolders("Reaction", each*d.Rounds))
	if err != nil {
		return nil, err
	}
	storage, err := d.newStorage()
	if err != nil {
		return nil, err
	}
	m, drop, err := d.newDaemon(ctx, o.root, storage, sitesyncArgs(8)...)
	defer drop()
	if err != nil {
		return nil, err
	}
	for i := range o.publishes {
		o.publishes[i].Synced, o.publishes[i].Change = false, nil // not yet
	}
	reps, err := m.project.PublishAll(ctx, o.publishes...)
	if err != nil {
		return nil, err
	}
	sitesync, err := process.Start(m.Options)
	if err != nil {
		return nil, err
	}
	defer sitesync.Kill()
	opened := 0
	if _, err := sitesync.Wait(ctx, func(l process.Line) bool {
		if l.Message == "change stream open" {
			opened++
		}
		return opened == 2
	}); err != nil {
		return nil, err
	}
	floor, err := d.newDownloadFloor(ctx)
	if err != nil {
		return nil, err
	}
	rows := []row{{What: "median", Bar: &bar{Of: ofOurs, Limit: 30}}, {What: "p99", Bar: &bar{Of: ofOurs, Limit: 150}}}
	for round := range d.Rounds {
		progress("reaction down, round %d of %d ...", round+1, d.Rounds)
		var took, theirs studio.Reactions
		for _, rep := range reps[round*each : (round+1)*each] {
			id := o.files[rep.Files[0].Rel]
			if err := rep.Set(ctx, testenv.RemoteSite, bson.D{{Key: "created_dt", Value: time.Now()},
				{Key: "id", Value: id}}); err != nil {
				return nil, err
			}
			set := time.Now()
			if err := d.until(ctx, rep.String(), func() (bool, error) {
				record, err := rep.Record(ctx, 0, "studio")
				return !record.Lookup("created_dt").IsZero(), err
			}); err != nil {
				return nil, err
			}
			took = append(took, time.Since(set))
			alone, err := floor(id)
			if err != nil {
				return nil, err
			}
			theirs = append(theirs, alone)
		}
		for i, q := range []float64{0.50, 0.99} {
			rows[i].Ours = append(rows[i].Ours, milliseconds(took.Quantile(q)))
			rows[i].Theirs = append(rows[i].Theirs, milliseconds(theirs.Quantile(q)))
		}
	}
	for i := range rows {
		rows[i].What = fmt.Sprintf("reaction down, %s of %d files a round", rows[i].What, each)
		rows[i].Unit, rows[i].Peer = "ms", "one download and one update by hand"
	}
	return rows, nil
}

// newDownloadFloor returns a function that downloads a file and makes one update, and returns how long that took.
func (d *downloads) newDownloadFloor(ctx context.Context) (func(id string) (time.Duration, error), error) {
	client, err := newClient(ctx, d.account.Credentials(), d.drive.URL)
	if err != nil {
		return nil, err
	}
	scratch := d.env.Mongo.Client().Database("bench").Collection("floor")
	name := filepath.Join(d.dir, "floor")
	return func(id string) (time.Duration, error) {
		inserted, err := scratch.InsertOne(ctx, bson.D{{Key: "id", Value: id}})
		if err != nil {
			return 0, err
		}
		start := time.Now()
		res, err := client.Files.Get(id).SupportsAllDrives(true).Context(ctx).Download()
		if err != nil {
			return 0, err
		}
		content, err := io.ReadAll(res.Body)
		if err := errors.Join(err, res.Body.Close(), os.WriteFile(name, content, 0o600)); err != nil {
			return 0, err
		}
		_, err = scratch.UpdateByID(ctx, inserted.InsertedID,
			bson.D{{Key: "$set", Value: bson.D{{Key: "created_dt", Value: start}}}})
		return time.Since(start), err
	}, nil
}
