package mongod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
)

// Member is one mongod of a replica set, or the one of a standalone server. It
// keeps its port and its data through kills and restarts. Its methods may be used
// from several goroutines.
type Member struct {
	set     *ReplicaSet
	name    string // such as "member0"
	port    int
	arbiter bool

	mu     sync.Mutex
	proc   *process      // nil when it does not run
	client *mongo.Client // talks to this member alone; nil when it does not run
	paused bool
}

// errDown is the answer of a member that is asked while it is down or paused.
var errDown = errors.New("mongod is not running")

// Host returns the member's address, as in 127.0.0.1:27017.
func (m *Member) Host() string { return fmt.Sprintf("127.0.0.1:%d", m.port) }

// Kill ends the member with SIGKILL, as a power cut would, and returns when it is
// gone. Killing a member that does not run does nothing.
func (m *Member) Kill() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.proc == nil {
		return nil
	}
	if err := m.proc.kill(); err != nil {
		return err
	}
	m.down()
	return nil
}

// Stop shuts the member down orderly and waits until it has ended. Stopping a
// member that does not run does nothing.
func (m *Member) Stop(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.proc == nil {
		return nil
	}
	err := m.proc.signal(syscall.SIGTERM)
	if m.paused {
		err = errors.Join(err, m.proc.signal(sigResume))
		m.paused = false
	}
	if err != nil {
		return err
	}
	select {
	case <-m.proc.done:
		m.down()
		return nil
	case <-ctx.Done():
		return fmt.Errorf("mongod %s does not stop: %w", m.Host(), context.Cause(ctx))
	}
}

// Pause freezes the member with SIGSTOP: its connections stay open and nothing
// answers, as with a machine that hangs.
func (m *Member) Pause() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.proc == nil {
		return fmt.Errorf("pause %s: %w", m.Host(), errDown)
	}
	if err := m.proc.signal(sigPause); err != nil {
		return err
	}
	m.paused = true
	return nil
}

// Resume lets a paused member go on.
func (m *Member) Resume() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.proc == nil {
		return fmt.Errorf("resume %s: %w", m.Host(), errDown)
	}
	if err := m.proc.signal(sigResume); err != nil {
		return err
	}
	m.paused = false
	return nil
}

// Restart starts a member that was killed or stopped, on the same port and data,
// and returns when it serves as primary or secondary (as primary, if it is alone
// in its set). One that still runs is shut down orderly before.
func (m *Member) Restart(ctx context.Context) error {
	if err := m.Stop(ctx); err != nil {
		return err
	}
	for {
		err := m.start(ctx)
		if err == nil {
			return m.serving(ctx)
		}
		if !errors.Is(err, errPortTaken) {
			return err
		}
		// A connection of another process may hold the port for a moment.
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("restart mongod on %s: %w: %w", m.Host(), errPortTaken, err)
		}
	}
}

// Running reports whether the member runs, be it paused.
func (m *Member) Running() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.proc != nil && m.proc.running()
}

// Log returns the end of the member's log, at most n bytes of it, for tests that
// want to show it or look for something in it.
func (m *Member) Log(n int) string {
	text, err := os.ReadFile(m.logPath())
	if err != nil {
		return err.Error()
	}
	return tail(text, n)
}

// Command runs an administrative command on this very member and decodes the
// answer into result unless that is nil.
func (m *Member) Command(ctx context.Context, command bson.D, result any) error {
	m.mu.Lock()
	client, paused := m.client, m.paused
	m.mu.Unlock()
	if client == nil || paused {
		return fmt.Errorf("%s on %s: %w", command[0].Key, m.Host(), errDown)
	}
	answer := client.Database("admin").RunCommand(ctx, command)
	if err := answer.Err(); err != nil {
		return fmt.Errorf("%s on %s: %w", command[0].Key, m.Host(), err)
	}
	if result == nil {
		return nil
	}
	return answer.Decode(result)
}

// AlwaysOn is the mode of a fail point that stays on until it is switched off.
const AlwaysOn = "alwaysOn"

// Times is the mode of a fail point that acts n times and then is off.
func Times(n int) bson.D { return bson.D{{Key: "times", Value: n}} }

// Skip is the mode of a fail point that lets n calls pass and then stays on.
func Skip(n int) bson.D { return bson.D{{Key: "skip", Value: n}} }

// FailPoint switches a fail point on at this member, which needs
// Options.TestCommands, and returns the function that switches it off again. The
// usual one fails commands:
//
//	off, err := m.FailPoint(ctx, "failCommand", mongod.Times(2), bson.D{
//		{Key: "failCommands", Value: bson.A{"getMore", "aggregate"}},
//		{Key: "errorCode", Value: 286}, // or closeConnection: true, or blockConnection: true, blockTimeMS: 500
//		{Key: "appName", Value: "sitesync"}, // optional: only connections with this appName
//	})
func (m *Member) FailPoint(ctx context.Context, name string, mode any,
	data bson.D) (off func(context.Context) error, err error) {
	command := bson.D{{Key: "configureFailPoint", Value: name}, {Key: "mode", Value: mode}}
	if data != nil {
		command = append(command, bson.E{Key: "data", Value: data})
	}
	if err := m.Command(ctx, command, nil); err != nil {
		return nil, fmt.Errorf("switch on fail point %s: %w", name, err)
	}
	return func(ctx context.Context) error {
		return m.Command(ctx, bson.D{{Key: "configureFailPoint", Value: name}, {Key: "mode", Value: "off"}}, nil)
	}, nil
}

func (m *Member) logPath() string { return filepath.Join(m.set.dir, m.name+".log") }

// start runs mongod and returns when it takes connections.
func (m *Member) start(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	proc, err := startProcess(m.set.binary, m.set.arguments(m), m.logPath())
	if err != nil {
		return err
	}
	if err := proc.listening(ctx); err != nil {
		_ = proc.kill() // the reason it did not start is what counts
		return fmt.Errorf("mongod on %s: %w", m.Host(), err)
	}
	m.proc = proc
	return m.connect()
}

// connect gives the member a client that talks to it alone, with the set's
// credentials once there are some. m.mu is held.
func (m *Member) connect() error {
	m.disconnect()
	o := options.Client().SetHosts([]string{m.Host()}).SetDirect(true)
	// A member that hangs must not hold a command for longer than its context.
	o.SetRetryReads(false).SetRetryWrites(false).SetReadConcern(readconcern.Local())
	if config := m.set.tlsConfig(); config != nil {
		o.SetTLSConfig(config)
	}
	if user := m.set.user; user != "" {
		o.SetAuth(options.Credential{Username: user, Password: m.set.password, AuthSource: "admin"})
	}
	client, err := mongo.Connect(o)
	m.client = client
	return err
}

// down forgets a process that has ended. m.mu is held.
func (m *Member) down() {
	m.disconnect()
	m.proc, m.paused = nil, false
}

func (m *Member) disconnect() {
	if m.client != nil {
		disconnect(m.client)
		m.client = nil
	}
}

// serving waits until the member is ready for work after a start.
func (m *Member) serving(ctx context.Context) error {
	return until(ctx, "mongod "+m.Host()+" is back as primary or secondary", func(ctx context.Context) error {
		h, err := m.hello(ctx)
		switch {
		case err != nil:
			return err
		case h.Primary, h.Secondary && len(m.set.members) > 1, h.Arbiter && m.arbiter:
			return nil
		}
		return errors.New("it is neither yet")
	})
}

// hello is what a member says of itself.
type hello struct {
	Primary    bool          `bson:"isWritablePrimary"`
	Secondary  bool          `bson:"secondary"`
	Arbiter    bool          `bson:"arbiterOnly"`
	ElectionID bson.ObjectID `bson:"electionId"`
}

func (m *Member) hello(ctx context.Context) (hello, error) {
	var h hello
	err := m.Command(ctx, bson.D{{Key: "hello", Value: 1}}, &h)
	return h, err
}

// disconnect closes a client at once. The context is over already because the
// driver would otherwise wait for a server that may be gone.
func disconnect(client *mongo.Client) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = client.Disconnect(ctx) // it can only report that the context is over
}

// until polls a condition until it holds; what says it in words for the error.
// Each look has half a second, so that a member that hangs is asked again.
func until(ctx context.Context, what string, condition func(context.Context) error) error {
	var last error
	for {
		look, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		err := condition(look)
		cancel()
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // a look cut short says nothing
			last = err
		}
		if over := pause(ctx, poll); over != nil {
			return fmt.Errorf("wait until %s: %w (last: %w)", what, over, last)
		}
	}
}
