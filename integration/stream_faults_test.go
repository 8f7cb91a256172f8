//go:build unix

package integration_test

import (
	"context"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"sitesync/integration/mongod"
	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// recovery is how soon after MongoDB takes writes again sitesync reacts through the change stream.
const recovery = 15 * time.Second

// fault is a studio whose MongoDB has a fault. Its sitesync polls once an hour, so that what it finds, it finds
// by the stream, or by the poll that follows an opening of the stream.
type fault struct {
	*testStudio
	d     *process.Process
	p     *studio.Project
	reps  []*studio.Representation
	since int // lines in the log when the fault began

	// elections counts the elections so far, where there are others than the one that the fault brings about: a busy
	// machine has a primary lose its office now and then.
	elections func() int
	elected   int // when the fault began
}

// newFault sets a studio up in a database of its own, and starts sitesync.
func newFault(t *testing.T, uri string, db *mongo.Database) *fault {
	t.Helper()
	f := &fault{testStudio: newTestStudioOn(t, uri, db)}
	f.presets.LoopDelay = "3600"
	f.p = f.project("Test")
	f.d = f.start()
	return f
}

// publish publishes the next version.
func (f *fault) publish(pub studio.Publish) *studio.Representation {
	f.t.Helper()
	pub.Size, pub.Version = 1000, len(f.reps)+1
	rep := f.testStudio.publish(f.p, pub)
	f.reps = append(f.reps, rep)
	return rep
}

// begin is to be called before the fault. It leaves something that is synced and something that is under way.
func (f *fault) begin() {
	f.t.Helper()
	f.synced(f.publish(studio.Publish{}))
	f.publish(studio.Publish{Name: "exr", Frames: 40})
	f.mark()
}

// mark is where the log of a fault begins.
func (f *fault) mark() {
	f.since = len(f.d.Lines(process.Message("")))
	if f.elections != nil {
		f.elected = f.elections()
	}
}

// logged returns the lines since the fault began that contain a text in their message.
func (f *fault) logged(text string) []process.Line {
	var lines []process.Line
	for _, l := range f.d.Lines(process.Message(""))[f.since:] {
		if strings.Contains(l.Message, text) {
			lines = append(lines, l)
		}
	}
	return lines
}

// writable waits until MongoDB takes a majority write and returns when it did.
func (f *fault) writable() time.Time {
	f.t.Helper()
	f.eventually("MongoDB takes writes", func() bool {
		ctx, cancel := context.WithTimeout(f.ctx, time.Second)
		defer cancel()
		_, err := f.db.Client().Database("elsewhere").Collection("writes").InsertOne(ctx, bson.D{})
		return err == nil
	})
	return time.Now()
}

// recovers checks that a fault is over once MongoDB has been writable since then: a publish of this moment is found,
// and later ones are found through the stream.
func (f *fault) recovers(since time.Time) {
	f.t.Helper()
	ctx, cancel := context.WithDeadline(f.ctx, since.Add(recovery))
	defer cancel()
	for i := range 3 { // what the poll after the opening finds is the first one, and perhaps the second
		rep := f.publish(studio.Publish{})
		at, err := f.studio.WaitSynced(ctx, rep)
		if err != nil {
			f.t.Fatalf("not synced within %s: %v", recovery, err)
		}
		if i == 0 {
			f.t.Logf("found again %.1f s after the database was writable", at.Sub(since).Seconds())
		}
	}
}

// once checks that all that was ever published is synced, once, and what the log says of the fault.
func (f *fault) once(reasons ...string) {
	f.t.Helper()
	files := 0
	for _, rep := range f.reps {
		f.synced(rep)
		files += len(rep.Files)
	}
	f.checkNoDuplicates()
	// What was under way when the lease was lost is tried again, and found to be there.
	if n := f.creates(); n < files || n > files && len(f.d.Lines(leaseLost)) == 0 {
		f.t.Errorf("%d uploads of %d files", n, files)
	}
	f.checkLog(reasons...)
}

// leaseLost matches what is logged when the database is away for longer than the lease.
var leaseLost = process.Message("cannot renew the lease")

// stopped matches what is logged when the stream, or all work, ends by a fault.
func stopped(l process.Line) bool { return process.Message("change stream lost")(l) || leaseLost(l) }

// checkLog checks that the log says everything once. The stream was lost for one of the reasons, or for several, with a
// space between; an empty one allows that the driver has resumed it.
func (f *fault) checkLog(reasons ...string) {
	f.t.Helper()
	faults := 1
	if f.elections != nil {
		faults = max(faults, f.elections()-f.elected)
	}
	count := map[string]int{}
	var lost, why []string
	for _, l := range f.logged("") {
		switch {
		case l.Message == "synced", strings.Contains(l.Message, "upload interrupted"),
			strings.Contains(l.Message, "not recorded"):
		case strings.Contains(l.Message, "change stream lost"):
			lost, why = append(lost, l.Text("reason")), append(why, l.Text("error"))
		default:
			count[l.Message]++
		}
	}
	for message, n := range count {
		if n > faults {
			f.t.Errorf("logged %d times, with %d fault(s): %s", n, faults, message)
		}
	}
	ok := slices.Contains(reasons, strings.Join(lost, " ")) || len(lost) == 0 &&
		len(f.logged("cannot renew the lease")) > 0
	if faults > 1 {
		ok = len(lost) <= faults && !slices.ContainsFunc(lost,
			func(reason string) bool { return !slices.Contains(reasons, reason) })
	}
	if !ok {
		f.t.Errorf("the stream was lost for %q in %d fault(s), want one of %q: %q", lost, faults, reasons, why)
	}
}

// Faults of the primary of a set that can elect another one.
func TestPrimaryFaults(t *testing.T) {
	t.Parallel()
	set := mongod.StartTest(t, mongod.Options{Members: 3})
	primary := func(t *testing.T) *mongod.Member { return must(set.Primary(t.Context()))(t) }
	start := func(t *testing.T) *fault {
		f := newFault(t, set.URI(), set.Client().Database(path.Base(t.Name())))
		f.elections = func() int {
			var status struct{ Term int }
			check(t, primary(t).Command(t.Context(), bson.D{{Key: "replSetGetStatus", Value: 1}}, &status))
			return status.Term
		}
		return f
	}
	for _, tt := range []struct {
		name string
		act  func(*testing.T) (restore func(*testing.T))
	}{
		{"stepped down", func(t *testing.T) func(*testing.T) {
			check(t, set.StepDown(t.Context()))
			return func(*testing.T) {}
		}},
		{"stopped", func(t *testing.T) func(*testing.T) {
			m := primary(t)
			check(t, m.Stop(t.Context()))
			return func(t *testing.T) { check(t, m.Restart(t.Context())) }
		}},
		{"killed", func(t *testing.T) func(*testing.T) {
			m := primary(t)
			check(t, m.Kill())
			return func(t *testing.T) { check(t, m.Restart(t.Context())) }
		}},
		{"paused", func(t *testing.T) func(*testing.T) {
			m := primary(t)
			check(t, m.Pause())
			t.Cleanup(func() { _ = m.Resume() }) // so that the fixtures can clean up if this fails
			return func(t *testing.T) { check(t, m.Resume()) }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t)
			f.begin()
			restore := tt.act(t)
			f.recovers(f.writable())
			f.once("", "network", "primary_change")
			f.mark()
			restore(t) // the old primary comes back, and may take over again
			f.recovers(f.writable())
			f.once("", "network", "primary_change")
		})
	}

	// Longer than the driver looks for a primary by itself.
	t.Run("no majority", func(t *testing.T) {
		f := start(t)
		f.begin()
		down := []*mongod.Member{primary(t)}
		for _, m := range set.Members() {
			if m != down[0] && len(down) < 2 {
				down = append(down, m)
			}
		}
		for _, m := range down {
			check(t, m.Kill())
		}
		f.log(f.d, stopped)
		for _, m := range down {
			check(t, m.Restart(t.Context()))
		}
		f.recovers(f.writable())
		f.once("network", "primary_change")
	})
}

// Faults of a MongoDB alone in its set, with a small oplog and with authentication.
func TestServerFaults(t *testing.T) {
	t.Parallel()
	set := mongod.StartTest(t, mongod.Options{OplogSizeMB: 1, Auth: true})
	member, admin := set.Members()[0], set.Client().Database("admin")
	command := func(t *testing.T, cmd ...bson.E) {
		t.Helper()
		check(t, admin.RunCommand(t.Context(), bson.D(cmd)).Err())
	}
	// sync is a user of its own, and its roles.
	sync := func(t *testing.T, name string) (uri string, db *mongo.Database, user string, roles bson.E) {
		own := []mongod.Role{{Role: "readWrite", DB: name}, {Role: "readWrite", DB: name + "-state"}}
		uri = must(set.CreateUser(t.Context(), name, "S3cr3t", own...))(t)
		return uri, set.Client().Database(name), name, bson.E{Key: "roles", Value: own}
	}

	t.Run("down", func(t *testing.T) {
		uri, db, _, _ := sync(t, "down")
		f := &fault{testStudio: newTestStudioOn(t, uri, db)}
		f.presets.LoopDelay = "3600"
		f.p = f.project("Test")
		f.publish(studio.Publish{})
		check(t, member.Kill())
		f.d = f.launch()
		f.log(f.d, process.Message("cannot acquire the lease"))
		check(t, member.Restart(t.Context()))
		f.recovers(f.writable())
		f.once("")

		f.begin()
		check(t, member.Kill())
		f.log(f.d, stopped)
		time.Sleep(25 * time.Second) // it is down for that long, and nothing is waited for
		check(t, member.Restart(t.Context()))
		f.recovers(f.writable())
		f.once("network", "primary_change")
	})

	t.Run("paused", func(t *testing.T) {
		uri, db, _, _ := sync(t, "paused")
		f := newFault(t, uri, db)
		f.begin()
		check(t, member.Pause())
		defer member.Resume() // so that the fixtures can clean up if this fails
		f.log(f.d, stopped)
		check(t, member.Resume())
		f.recovers(f.writable())
		f.once("network")
	})

	// It was busy elsewhere for so long that the oplog has gone on without it.
	t.Run("oplog rolled over", func(t *testing.T) {
		uri, db, _, _ := sync(t, "oplog")
		f := newFault(t, uri, db)
		f.synced(f.publish(studio.Publish{}))
		f.mark()
		check(t, f.d.Signal(syscall.SIGSTOP))
		f.publish(studio.Publish{Name: "exr", Frames: 40})
		first := func() bson.RawValue {
			doc := must(set.Client().Database("local").Collection("oplog.rs").FindOne(f.ctx, bson.D{}).Raw())(t)
			return doc.Lookup("ts")
		}
		last := func() bson.RawValue {
			var status bson.Raw
			check(t, admin.RunCommand(f.ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&status))
			return status.Lookup("lastWrite", "opTime", "ts")
		}
		from := last()
		load := strings.Repeat("x", 1<<20)
		f.eventually("the oplog has rolled over", func() bool {
			_, err := set.Client().Database("elsewhere").Collection("load").
				InsertOne(f.ctx, bson.D{{Key: "x", Value: load}})
			check(t, err)
			at, i := first().Timestamp()
			t0, i0 := from.Timestamp()
			return at > t0 || at == t0 && i > i0
		})
		check(t, f.d.Signal(syscall.SIGCONT))
		f.recovers(f.writable())
		f.once("history_lost")
	})

	t.Run("rights revoked", func(t *testing.T) {
		uri, db, user, roles := sync(t, "rights")
		roles.Value = roles.Value.([]mongod.Role)[:1] // those on sitesync's own database stay
		f := newFault(t, uri, db)
		f.begin()
		command(t, bson.E{Key: "revokeRolesFromUser", Value: user}, roles)
		f.log(f.d, stopped)
		f.publish(studio.Publish{})
		command(t, bson.E{Key: "grantRolesToUser", Value: user}, roles)
		f.recovers(f.writable())
		f.once("unauthorized")
	})

	t.Run("user dropped", func(t *testing.T) {
		uri, db, user, roles := sync(t, "dropped")
		f := newFault(t, uri, db)
		f.begin()
		command(t, bson.E{Key: "dropUser", Value: user})
		f.log(f.d, stopped)
		f.publish(studio.Publish{})
		command(t, bson.E{Key: "createUser", Value: user}, bson.E{Key: "pwd", Value: "S3cr3t"}, roles)
		f.recovers(f.writable())
		// where a write is refused first, all connections are broken
		f.once("unauthorized", "network", "network unauthorized")
	})

	// A connection that was let in stays so; after a restart of MongoDB the old password is refused.
	t.Run("password changed", func(t *testing.T) {
		uri, db, user, _ := sync(t, "password")
		f := newFault(t, uri, db)
		f.begin()
		command(t, bson.E{Key: "updateUser", Value: user}, bson.E{Key: "pwd", Value: "another"})
		f.recovers(f.writable())
		f.once("")

		f.begin()
		check(t, member.Restart(t.Context()))
		f.log(f.d, func(l process.Line) bool {
			return l.Message != "" && l.Text("reason") == "unauthorized"
		})
		f.writable()
		f.publish(studio.Publish{})
		command(t, bson.E{Key: "updateUser", Value: user}, bson.E{Key: "pwd", Value: "S3cr3t"})
		f.recovers(f.writable())
		f.once("unauthorized", "network unauthorized", "primary_change unauthorized")
	})
}

// What people do to collections and to the database.
func TestDroppedAndRenamed(t *testing.T) {
	t.Parallel()

	t.Run("database", func(t *testing.T) {
		f := newFault(t, mongod.URI(t), mongod.Database(t))
		f.synced(f.publish(studio.Publish{}))
		f.mark()
		check(t, f.db.Drop(f.ctx))
		f.reps = f.reps[:0] // they are synced, and gone
		f.drive.ResetCalls()
		since := f.writable()
		f.studio = studio.New(f.db, studio.Options{Root: f.root})
		f.p = f.project("Test")
		f.publish(studio.Publish{Asset: "Cube"}) // as the first Cylinder is on Drive already
		f.recovers(since)
		f.once("invalidated")
	})

	// Its files belong to the new name.
	t.Run("project renamed", func(t *testing.T) {
		f := newFault(t, mongod.URI(t), mongod.Database(t))
		f.begin()
		rep := f.publish(studio.Publish{Hold: true})
		rename := func(from, to string) {
			check(t, f.db.Client().Database("admin").RunCommand(f.ctx, bson.D{
				{Key: "renameCollection", Value: f.db.Name() + "." + from},
				{Key: "to", Value: f.db.Name() + "." + to}}).Err())
		}
		rename("Test", "Renamed")
		f.publish(studio.Publish{}) // into a collection of the old name
		check(t, rep.Finish())
		for _, rep := range f.reps[:len(f.reps)-1] {
			f.eventually("it is synced under its new name", func() bool {
				n, err := f.db.Collection("Renamed").CountDocuments(f.ctx, bson.D{{Key: "_id", Value: rep.ID},
					{Key: "files.sites", Value: bson.D{{Key: "$not", Value: bson.D{{Key: "$elemMatch", Value: bson.D{
						{Key: "name", Value: "gdrive"}, {Key: "created_dt", Value: nil}}}}}}}})
				check(t, err)
				return n == 1
			})
		}
		f.synced(f.reps[len(f.reps)-1])
		check(t, f.db.Collection("Test").Drop(f.ctx))
		rename("Renamed", "Test") // where f looks for it
		f.reps = f.reps[:len(f.reps)-1]
		f.recovers(f.writable())
		// The one that has gone was synced too, and is on Drive as well as this one, which has its name.
		f.checkLog("")
	})

	t.Run("project dropped", func(t *testing.T) {
		f := newFault(t, mongod.URI(t), mongod.Database(t))
		f.begin()
		f.publish(studio.Publish{Hold: true})
		check(t, f.p.Collection().Drop(f.ctx))
		f.reps = nil
		f.p = f.project("Test") // created again
		f.recovers(f.writable())
		f.checkLog("")
		if lines := f.logged("failed"); len(lines) > 0 {
			t.Errorf("the log says %v", lines)
		}
	})
}

const maxDocument = 16 << 20 // bytes, MongoDB's limit

// filled has something in a document that leaves so many bytes free in it.
func filled(t *testing.T, free int) func(bson.D) bson.D {
	return func(doc bson.D) bson.D {
		size := len(must(bson.Marshal(append(doc, bson.E{Key: "blob", Value: ""})))(t))
		return append(doc, bson.E{Key: "blob", Value: strings.Repeat("x", maxDocument-size-free)})
	}
}

// A change of a document of 16 MB and the document make an event that is larger than a document may be.
func TestLargestDocuments(t *testing.T) {
	t.Parallel()
	f := newFault(t, mongod.URI(t), mongod.Database(t))
	synced := func() int { return len(f.d.Lines(process.Message("synced"))) }
	// change changes documents as a person would. Now and then the test's small MongoDB has no room for the change.
	change := func(what func() error) {
		t.Helper()
		f.eventually("the document is changed", func() bool {
			err := what()
			if err != nil && !strings.Contains(err.Error(), "storage engine cache") {
				t.Fatal(err)
			}
			return err == nil
		})
	}
	update := func(rep *studio.Representation, update bson.D) {
		t.Helper()
		change(func() error { _, err := f.p.Collection().UpdateByID(f.ctx, rep.ID, update); return err })
	}
	wakes := func(what func()) {
		t.Helper()
		before := synced()
		what()
		f.eventually("it is synced again", func() bool { return synced() > before })
	}

	large := f.publish(studio.Publish{Change: filled(t, 1000)})
	f.synced(large)
	wakes(func() { change(func() error { return large.Resync(f.ctx, "gdrive") }) })

	// A change that is nearly as large as the document is then.
	var published bson.D
	grown := f.publish(studio.Publish{Change: func(doc bson.D) bson.D { published = doc; return doc }})
	f.synced(grown)
	wakes(func() {
		update(grown, bson.D{{Key: "$set", Value: bson.D{{Key: "blob", Value: strings.Repeat("x", maxDocument-3000)}}},
			{Key: "$unset", Value: bson.D{{Key: "files.0.sites.1.created_dt", Value: ""}}}})
	})
	wakes(func() {
		change(func() error {
			_, err := f.p.Collection().ReplaceOne(f.ctx, bson.D{{Key: "_id", Value: grown.ID}},
				filled(t, 1000)(published))
			return err
		})
	})

	// There is no room in the document for what became of the upload.
	full := f.publish(studio.Publish{Change: filled(t, 10)})
	line := f.log(f.d, process.Message("invalid document"))
	if line.Text("representation") != full.ID.Hex() || !strings.Contains(line.Text("reason"), "16777216") {
		t.Errorf("the log says %v", line.Fields)
	}
	f.synced(f.publish(studio.Publish{}))
	if lines := f.logged("invalid document"); len(lines) != 1 {
		t.Errorf("logged %d times", len(lines))
	}
	update(full, bson.D{{Key: "$unset", Value: bson.D{{Key: "blob", Value: ""}}},
		{Key: "$set", Value: bson.D{{Key: "files.0.sites.1.tries", Value: 0}}}})
	f.once("")
}
