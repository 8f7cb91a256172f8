package integration_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// commands are all that sitesync has, each with the words that lead to it, as completion knows them from the grammar.
func (s *testStudio) commands(words ...string) (all [][]string) {
	s.t.Helper()
	code, stdout, stderr := s.exits(append(append([]string{"complete", "--"}, words...), "")...)
	if code != 0 {
		s.t.Fatalf("status %d\n%s", code, stderr)
	}
	for line := range strings.Lines(stdout) {
		name, _, described := strings.Cut(strings.TrimSpace(line), "\t")
		if !described { // it is a value
			continue
		}
		all = append(all, append(slices.Clone(words), name))
	}
	return all
}

var (
	// example is a line of an example in a help. What follows two spaces is about it.
	example = regexp.MustCompile(`(?m)^ +((?:[A-Z_]+=\S+ )*)(?:source <\()?sitesync ([^|>)\n]*?)(?:[|>)].*|  .*)?$`)

	// word is one of a command line; quotes keep spaces in it.
	word = regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`)
)

// TestExamples runs each example of each command's help, as a new user would: in a studio that has the
// project and the files of which the examples speak, with its own addresses and folders in place of theirs. Each
// command must have one.
func TestExamples(t *testing.T) {
	t.Parallel()
	commands := newTestStudio(t).commands()
	if len(commands) < 6 {
		t.Fatalf("there are only %q", commands)
	}
	for _, command := range commands {
		name := strings.Join(command, " ")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTestStudio(t)
			check(t, s.presets.Write(s.dir))
			_, help, _ := s.exits(append(slices.Clone(command), "-h")...)
			found := example.FindAllStringSubmatch(help, -1)
			for _, f := range found {
				if !strings.HasPrefix(f[2]+" ", name+" ") {
					t.Errorf("the help of %s has an example of another command: %s", name, f[2])
				}
			}
			if n := len(regexp.MustCompile(`(?m)^ {4}(\S.*)?sitesync `+name+`\b`).
				FindAllString(help, -1)); len(found) == 0 || len(found) != n {
				t.Errorf("the help of %s has %d examples, of which %d can be run:\n%s", name, n, len(found), help)
			}
			for _, f := range found {
				t.Run(f[2], func(t *testing.T) { newTestStudio(t).example(f[1], f[2]) })
			}
		})
	}
}

// example runs an example, which must work.
func (s *testStudio) example(env, line string) {
	s.t.Helper()
	test := s.project("Test")
	rep := s.publish(test, studio.Publish{Size: 1000, Synced: true}) // of which the examples speak
	failed := s.publish(test, studio.Publish{Size: 1000, Version: 2})
	check(s.t, failed.Set(s.ctx, "gdrive", bson.D{{Key: "tries", Value: 3}, {Key: "error", Value: "no permission"}}))
	for _, f := range rep.Files { // as it is recorded
		folder, name, _ := cutLast("projects/" + f.Rel)
		s.drive.AddFile(s.drive.Mkdir(s.show, folder), name, must(os.ReadFile(f.Local))(s.t))
	}
	check(s.t, s.presets.Write(s.dir))
	known := strings.NewReplacer(
		"/etc/sitesync", s.dir,
		"6b050e7f95b3069bbeff69ac", rep.ID.Hex(),
		"MY_PROJECT", "Test",
	)
	mongo := regexp.MustCompile(`mongodb://\S+`)
	var args []string
	for _, w := range word.FindAllString(known.Replace(mongo.ReplaceAllString(line, s.mongo)), -1) {
		args = append(args, strings.Trim(w, `'"`))
	}
	ctx, cancel := context.WithTimeout(s.ctx, waitTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), "SITESYNC_MONGO="+s.mongo, "SITESYNC_PRESETS="+s.dir, "SITESYNC_DB="+s.db.Name(),
		"SITESYNC_STATE_DB="+s.state(), "SITESYNC_LISTEN=off")
	cmd.Env = append(cmd.Env, strings.Fields(mongo.ReplaceAllString(env, s.mongo))...)
	if args[0] == "run" && !slices.Contains(args, "--once") { // until it is stopped
		d := must(process.Start(process.Options{Binary: binary, Presets: s.dir, Mongo: s.mongo, Database: s.db.Name(),
			State: s.state(), Args: args[1:], Env: strings.Fields(mongo.ReplaceAllString(env, s.mongo))}))(s.t)
		s.log(d, process.Message("change stream open"))
		check(s.t, d.Signal(syscall.SIGTERM))
		if status := must(d.Exit(ctx))(s.t); status != 0 {
			s.t.Errorf("status %d\n%s", status, d.Tail(20))
		}
		return
	}
	if args[0] == "health" { // of a sitesync that runs
		page := s.page(s.start(serve...))
		s.eventually("it is ready", page.is("/readyz", http.StatusOK, `{"ready":true}`))
		cmd.Env = append(cmd.Env, "SITESYNC_LISTEN="+strings.TrimPrefix(page.url, "http://"))
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Errorf("%q: %v\n%s", args, err, out)
	}
	if len(out) == 0 {
		s.t.Errorf("%q says nothing", args)
	}
}

// cutLast cuts a path at its last slash.
func cutLast(p string) (folder, name string, found bool) {
	i := strings.LastIndex(p, "/")
	return p[:max(i, 0)], p[i+1:], i >= 0
}
