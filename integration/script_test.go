package integration_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/process"
	"sitesync/integration/studio"
)

var updateScripts = flag.Bool("update", false,
	"write sitesync's output into the scripts where cmp finds a difference")

// TestScripts runs the terminal sessions of testdata/script, each with a studio, a database and a Drive of its own.
//
// Beside the commands of testscript they have these:
//
//	sitesync ARGS            runs sitesync, which must end with the status 0; with ! before it, with the status 1
//	usage sitesync ARGS      the same, with the status 80, which says that the command line is wrong
//	normalize FILE           writes its output into a file, with TIME, ID, ... for what differs each time
//	publish PROJECT K=V...   publishes; sets ID, FILE ({root}/...), LOCAL, REMOTE and NAME
//	record K=V...            writes into the remote records of the last publish; now-10s is a time, - removes it;
//	                         after the word studio, into those of the studio
//	daemon start ARGS        starts sitesync run; daemon stop ends it
//	synced                   waits until the last publish is synced
//	arrived                  waits until the studio has the last publish
//	held TEXT                waits until sitesync run logs that uploads are held for this reason
//	failed N                 waits until so many tries of the last publish have failed
//	drive WHAT               trash, delete, rename or edit the last publish's first file on Drive; mkdir FOLDER;
//	                         remove-root
//	source WHAT              rename (the *.tmp), remove or edit the last publish's first file; away and back unmount
//	                         and mount the storage
func TestScripts(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	check(t, err)
	studios := map[string]*script{}
	for _, file := range scripts {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		studios[name] = &script{testStudio: newTestStudio(t)}
		studios[name].presets.LoopDelay = "60"
		check(t, studios[name].presets.Write(studios[name].dir))
	}
	commands := map[string]func(*testscript.TestScript, bool, []string){}
	for name, command := range map[string]func(*script, *testscript.TestScript, bool, []string) error{
		"sitesync": (*script).sitesync, "usage": (*script).usage, "normalize": (*script).normalize,
		"publish": (*script).published, "record": (*script).records,
		"daemon": (*script).runs, "synced": (*script).waits, "arrived": (*script).arrived, "failed": (*script).failed,
		"held":  (*script).held,
		"drive": (*script).onItsDrive, "source": (*script).source,
	} {
		commands[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			if neg && name != "sitesync" {
				ts.Fatalf("! means nothing before %s", name)
			}
			ts.Check(command(ts.Value("script").(*script), ts, neg, args))
		}
	}
	testscript.Run(t, testscript.Params{
		Files: scripts, Cmds: commands, UpdateScripts: *updateScripts, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			s := studios[strings.TrimPrefix(filepath.Base(env.WorkDir), "script-")]
			if s == nil {
				return fmt.Errorf("no studio for %s", env.WorkDir)
			}
			env.Values["script"] = s
			env.Vars = append(env.Vars, "PATH="+filepath.Dir(binary)+string(os.PathListSeparator)+os.Getenv("PATH"),
				"SITESYNC_MONGO="+s.mongo, "SITESYNC_PRESETS="+s.dir, "SITESYNC_DB="+s.db.Name(),
				"SITESYNC_STATE_DB="+s.state(),
				"PRESETS="+s.dir, "ROOT="+s.root, "TERM=xterm")
			return nil
		},
	})
}

// script is the environment of a script.
type script struct {
	*testStudio
	last   *studio.Representation
	daemon *process.Process
}

func (s *script) sitesync(ts *testscript.TestScript, neg bool, args []string) error {
	want := 0
	if neg {
		want = 1
	}
	return s.ends(ts, want, args)
}

func (s *script) usage(ts *testscript.TestScript, _ bool, args []string) error {
	return s.ends(ts, 80, args[1:])
}

func (s *script) ends(ts *testscript.TestScript, want int, args []string) error {
	err := ts.Exec(binary, args...)
	got := 0
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		return err
	}
	out := ts.ReadFile("stdout") + ts.ReadFile("stderr")
	s.checkForSecrets("the output", out)
	if strings.Contains(out, "\x1b") {
		return fmt.Errorf("there are colors, but no terminal: %q", out)
	}
	if got != want {
		return fmt.Errorf("it ends with the status %d, want %d", got, want)
	}
	return nil
}

// differs is what differs each time, and what it becomes.
var differs = []struct {
	found *regexp.Regexp
	plain string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`), "TIME"},
	{regexp.MustCompile(`process \d+ on [^\s,;)]+`), "process 1234 on sync1"},
	{regexp.MustCompile(`\b[0-9a-f]{32}\b`), "MD5"},
	{regexp.MustCompile(`\b[0-9a-f]{24}\b`), "ID"},
	{regexp.MustCompile(`http://127\.0\.0\.1:\d+`), "http://DRIVE"},
	{regexp.MustCompile(`can't be read \(open .*?\)`), "can't be read"},
	// Either the upload or the probe of the root reports it first.
	{regexp.MustCompile(`site: upload \S+: there is no folder`), "site: root /SHOW/projects: there is no folder"},
	// Either the upload or the check reports it first.
	{regexp.MustCompile(`not mounted: open \S+: [a-z ]+`), "not mounted: /mnt/studio can't be read"},
	{regexp.MustCompile(`, in [0-9hms]+`), ", in 12s"},
	{regexp.MustCompile(`mongodb://\S+\?`), "mongodb://mongo1/?"},
	// The last report of a holder may be some seconds old.
	{regexp.MustCompile(`; its change stream is closed[^\n]*`), ""},
	{regexp.MustCompile(`(\nstream    [^\n]*)+`), "\nstream    open"},
	{regexp.MustCompile(`since TIME \(\d+ s\)`), "since TIME (3 s)"},
	{regexp.MustCompile(`\d+ s ago`), "3 s ago"},
	{regexp.MustCompile(`(?m) {2,}\d+ s$`), "     3 s"},
	{regexp.MustCompile(`replicaSet=\w+`), "replicaSet=rs0"},
	{regexp.MustCompile(`, [0-9.]+ [KMGTPE]?i?B are free`), ", 2.5 TiB are free"},
	// Before sitesync has created it.
	{regexp.MustCompile(`index of pending files: sitesync run creates it in 1 project\(s\)`),
		"index of pending files in every project"},
}

func (s *script) normalize(ts *testscript.TestScript, _ bool, args []string) error {
	said := ts.ReadFile("stdout") + ts.ReadFile("stderr")
	said = strings.NewReplacer(s.root, "/mnt/studio", s.dir, "/etc/sitesync", s.state(), "sitesync",
		s.db.Name(), "avalon").Replace(said)
	for _, d := range differs {
		said = d.found.ReplaceAllString(said, d.plain)
	}
	return os.WriteFile(ts.MkAbs(args[0]), []byte(said), 0o600)
}

func (s *script) published(ts *testscript.TestScript, _ bool, args []string) error {
	p, err := s.studio.Project(s.ctx, args[0])
	if err != nil {
		return err
	}
	pub := studio.Publish{Asset: "Cylinder", Subset: "modelMain", Name: "ma", Size: 1000}
	for _, arg := range args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		n, _ := strconv.Atoi(value)
		switch key {
		case "version":
			pub.Version = n
		case "frames":
			pub.Frames, pub.Name = n, "exr"
		case "size":
			pub.Size = int64(n)
		case "subset":
			pub.Subset = value
		case "hold":
			pub.Hold = true
		case "no-record":
			pub.NoRemote = true
		case "not-at-the-studio":
			pub.NoActiveDate = true
		case "record-only":
			pub.RecordOnly = true
		case "windows":
			pub.ContextRoot, pub.Backslashes = "P:/projects", true
		case "seed":
			pub.Seed = uint64(n)
		default:
			return fmt.Errorf("publish: what is %s?", arg)
		}
	}
	if s.last, err = p.Publish(s.ctx, pub); err != nil {
		return err
	}
	f := s.last.Files[0]
	for name, value := range map[string]string{"ID": s.last.ID.Hex(), "FILE": f.Path, "LOCAL": f.Local,
		"REMOTE": "/SHOW/projects/" + f.Rel, "NAME": path.Base(f.Rel)} {
		ts.Setenv(name, value)
	}
	return nil
}

func (s *script) records(_ *testscript.TestScript, _ bool, args []string) error {
	var fields bson.D
	site := "gdrive"
	if args[0] == "studio" {
		site, args = args[0], args[1:]
	}
	for _, arg := range args {
		key, text, _ := strings.Cut(arg, "=")
		if text == "-" && key == "created_dt" {
			if err := s.last.Resync(s.ctx, site); err != nil {
				return err
			}
			continue
		}
		var value any = text
		if n, err := strconv.Atoi(text); err == nil {
			value = n
		} else if ago, ok := strings.CutPrefix(text, "now"); ok {
			d, _ := time.ParseDuration(ago)
			value = time.Now().Add(d)
		}
		fields = append(fields, bson.E{Key: key, Value: value})
	}
	if len(fields) == 0 {
		return nil
	}
	return s.last.Set(s.ctx, site, fields)
}

func (s *script) runs(ts *testscript.TestScript, _ bool, args []string) (err error) {
	if args[0] == "stop" {
		return s.daemon.Stop()
	}
	s.daemon, err = process.Start(process.Options{Binary: binary, Presets: s.dir, Mongo: s.mongo,
		Database: s.db.Name(), State: s.state(), Args: args[1:]})
	if err != nil {
		return err
	}
	d := s.daemon
	ts.Defer(func() {
		if err := d.Stop(); err != nil {
			ts.Logf("stop: %v", err)
		}
	})
	ctx, cancel := context.WithTimeout(s.ctx, waitTimeout)
	defer cancel()
	directions := []string{"up"}
	if slices.Contains(args, "--local-root") {
		directions = append(directions, "down")
	}
	for _, direction := range directions {
		if _, err := d.Wait(ctx, func(l process.Line) bool {
			return process.Message("change stream open")(l) && l.Text("direction") == direction
		}); err != nil {
			return err
		}
	}
	return nil
}

func (s *script) waits(*testscript.TestScript, bool, []string) error {
	ctx, cancel := context.WithTimeout(s.ctx, waitTimeout)
	defer cancel()
	_, err := s.studio.WaitSynced(ctx, s.last)
	return err
}

func (s *script) arrived(*testscript.TestScript, bool, []string) error {
	for deadline := time.Now().Add(waitTimeout); ; time.Sleep(2 * time.Millisecond) {
		rec, err := s.last.Record(s.ctx, 0, "studio")
		if _, created := rec.Lookup("created_dt").DateTimeOK(); err != nil || created {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %s, but %v", waitTimeout, rec)
		}
	}
}

func (s *script) failed(_ *testscript.TestScript, _ bool, args []string) error {
	want, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(waitTimeout); ; time.Sleep(2 * time.Millisecond) {
		rec, err := s.last.Record(s.ctx, 0, "gdrive")
		if err != nil {
			return err
		}
		if got, ok := rec.Lookup("tries").AsInt64OK(); ok && got == want {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %s, but %v", waitTimeout, rec)
		}
	}
}

func (s *script) held(_ *testscript.TestScript, _ bool, args []string) error {
	for deadline := time.Now().Add(waitTimeout); ; time.Sleep(10 * time.Millisecond) {
		doc, err := s.stateDB().Collection("leases").FindOne(s.ctx, bson.D{}).Raw()
		if err != nil {
			return err
		}
		if held := doc.Lookup("report", "holds").String(); strings.Contains(held, args[0]) {
			return nil
		} else if time.Now().After(deadline) {
			return fmt.Errorf("not within %s, but %s", waitTimeout, held)
		}
	}
}

func (s *script) onItsDrive(_ *testscript.TestScript, _ bool, args []string) error {
	if args[0] == "mkdir" {
		s.drive.Mkdir(s.show, args[1])
		return nil
	}
	if args[0] == "remove-root" {
		for _, f := range s.drive.Find(s.show, "projects") {
			s.drive.Rename(f.ID, "projects-old")
		}
		return nil
	}
	found := s.drive.Find(s.show, path.Join("projects", s.last.Files[0].Rel))
	if len(found) != 1 {
		return fmt.Errorf("%s is on Drive %d times", s.last.Files[0].Rel, len(found))
	}
	id := found[0].ID
	switch args[0] {
	case "trash":
		s.drive.Trash(id)
	case "delete":
		s.drive.Delete(id)
	case "rename":
		s.drive.Rename(id, args[1])
	default:
		return fmt.Errorf("drive: what is %s?", args[0])
	}
	return nil
}

func (s *script) source(_ *testscript.TestScript, _ bool, args []string) error {
	local := s.last.Files[0].Local
	switch args[0] {
	case "rename":
		return s.last.Finish()
	case "remove":
		return os.Remove(local)
	case "away": // the storage is not mounted
		return os.Rename(s.root, s.root+".away")
	case "back":
		return os.Rename(s.root+".away", s.root)
	case "edit":
		data, err := os.ReadFile(local)
		if err != nil {
			return err
		}
		data[0]++
		return os.WriteFile(local, data, 0o600)
	}
	return fmt.Errorf("source: what is %s?", args[0])
}
