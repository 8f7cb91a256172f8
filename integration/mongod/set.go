package mongod

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"golang.org/x/sync/errgroup"

	"sitesync/integration/certs"
)

// Options says what Start starts. The zero value is a replica set of one member
// without authentication.
type Options struct {
	// Members of the replica set, 1 (the default) to 7.
	Members int
	// Standalone starts one mongod that belongs to no replica set, and thus has
	// no change streams.
	Standalone bool
	// Arbiter makes the last of at least three members an arbiter, which votes
	// and has no data.
	Arbiter bool
	// Auth demands authentication. URI and Client carry a user with every right.
	Auth bool
	// TLS demands TLS of every connection. The set has a CA of its own, which URI
	// and Client trust; see CAFile.
	TLS bool
	// TestCommands allows Member.FailPoint.
	TestCommands bool
	// OplogSizeMB is the size of the oplog, default 64. With 1 it rolls over
	// within seconds of some megabytes being written.
	OplogSizeMB int
	// Dir is the folder in which the set makes its own, which Stop removes;
	// default is the system's folder for temporary files.
	Dir string
	// Args are added to the command line of every mongod.
	Args []string
	// Path of mongod; default is what Find finds.
	Path string
}

// ReplicaSet is a running replica set, or a standalone server, on 127.0.0.1.
type ReplicaSet struct {
	options Options
	binary  string
	name    string // of the replica set; "" for a standalone server
	dir     string
	members []*Member
	client  *mongo.Client

	user, password string // "" until the user exists

	ca *certs.Authority // nil without TLS
}

const defaultOplogMB = 64

// The user that Options.Auth creates.
const adminUser = "admin"

// Start starts a replica set and returns when its primary takes majority writes
// and all members are in. The context limits the start only; the set runs until
// Stop, or until this process ends (Linux).
func Start(ctx context.Context, o Options) (*ReplicaSet, error) {
	if o.Members == 0 {
		o.Members = 1
	}
	if o.Members < 1 || o.Members > 7 || (o.Standalone && o.Members != 1) {
		return nil, fmt.Errorf("cannot start %d members (standalone: %t): 1 to 7, and 1 if standalone", o.Members,
			o.Standalone)
	}
	if o.Arbiter && o.Members < 3 {
		return nil, fmt.Errorf("cannot start %d members with an arbiter: 3 at least", o.Members)
	}
	if o.OplogSizeMB == 0 {
		o.OplogSizeMB = defaultOplogMB
	}
	if o.Path == "" {
		path, err := Find(ctx)
		if err != nil {
			return nil, err
		}
		o.Path = path
	}
	for attempt := 1; ; attempt++ {
		rs, err := start(ctx, o)
		if err == nil || !errors.Is(err, errPortTaken) || attempt == 5 {
			return rs, err
		}
	}
}

// start is one attempt, which a stranger on one of the ports can spoil.
func start(ctx context.Context, o Options) (rs *ReplicaSet, err error) {
	ports, err := freePorts(o.Members)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.Dir, "sitesync-mongod-")
	if err != nil {
		return nil, err
	}
	rs = &ReplicaSet{options: o, binary: o.Path, dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, rs.Stop())
			rs = nil
		}
	}()
	if !o.Standalone {
		// A name of its own, so that a client never takes another set that
		// happens to come up on an old port for this one.
		rs.name = "sitesync" + strconv.Itoa(ports[0])
	}
	if o.Auth {
		if err := rs.writeKey(); err != nil {
			return rs, err
		}
	}
	if o.TLS {
		if err := rs.certify(); err != nil {
			return rs, err
		}
	}
	for i, port := range ports {
		m := &Member{set: rs, name: fmt.Sprintf("member%d", i), port: port, arbiter: o.Arbiter && i == len(ports)-1}
		if err := os.Mkdir(filepath.Join(dir, m.name), 0o700); err != nil {
			return rs, err
		}
		rs.members = append(rs.members, m)
	}

	var group errgroup.Group
	for _, m := range rs.members {
		group.Go(func() error { return m.start(ctx) })
	}
	if err := group.Wait(); err != nil {
		return rs, err
	}
	if !o.Standalone {
		if err := rs.initiate(ctx); err != nil {
			return rs, err
		}
	}
	if o.Auth {
		if err := rs.createAdmin(ctx); err != nil {
			return rs, err
		}
	}
	if err := rs.ready(ctx); err != nil {
		return rs, err
	}
	rs.client, err = mongo.Connect(options.Client().ApplyURI(rs.URI()))
	return rs, err
}

// Stop ends all members at once, closes the clients and removes the data.
func (rs *ReplicaSet) Stop() error {
	if rs.client != nil {
		disconnect(rs.client)
	}
	var errs []error
	for _, m := range rs.members {
		errs = append(errs, m.Kill())
	}
	return errors.Join(append(errs, os.RemoveAll(rs.dir))...)
}

// URI returns the connection string, with credentials if Options.Auth asked for
// authentication, and with the CA if Options.TLS asked for TLS.
func (rs *ReplicaSet) URI() string { return rs.uri(rs.user, rs.password) }

func (rs *ReplicaSet) uri(user, password string) string {
	query := rs.query()
	if user == "" {
		return rs.address(nil, query)
	}
	query.Set("authSource", "admin")
	return rs.address(url.UserPassword(user, password), query)
}

// query are the options that every connection string of the set has.
func (rs *ReplicaSet) query() url.Values {
	query := url.Values{}
	if rs.name != "" {
		query.Set("replicaSet", rs.name)
	}
	if rs.ca != nil {
		query.Set("tls", "true")
		query.Set("tlsCAFile", rs.CAFile())
	}
	return query
}

func (rs *ReplicaSet) address(user *url.Userinfo, query url.Values) string {
	var hosts []string
	for _, m := range rs.members {
		hosts = append(hosts, m.Host())
	}
	u := url.URL{Scheme: "mongodb", User: user, Host: strings.Join(hosts, ","), Path: "/", RawQuery: query.Encode()}
	return u.String()
}

// Client returns the set's own client, which Stop closes.
func (rs *ReplicaSet) Client() *mongo.Client { return rs.client }

// Members returns all members, running or not.
func (rs *ReplicaSet) Members() []*Member { return rs.members }

// Primary waits until some member takes writes and returns it. When two claim to
// be primary, as after a pause, the one that was elected last is.
func (rs *ReplicaSet) Primary(ctx context.Context) (*Member, error) {
	var primary *Member
	err := until(ctx, "a member takes writes", func(ctx context.Context) error {
		var last bson.ObjectID
		var errs []error
		for _, m := range rs.members {
			h, err := m.hello(ctx)
			errs = append(errs, err)
			if err == nil && h.Primary && (primary == nil || bytes.Compare(h.ElectionID[:], last[:]) > 0) {
				primary, last = m, h.ElectionID
			}
		}
		if primary == nil {
			return errors.Join(append(errs, errors.New("there is no primary"))...)
		}
		return nil
	})
	return primary, err
}

// StepDown lets the primary step down and stay so for 10 seconds, or for 1 second
// if it is alone in its set.
func (rs *ReplicaSet) StepDown(ctx context.Context) error {
	primary, err := rs.Primary(ctx)
	if err != nil {
		return err
	}
	seconds := 10
	if len(rs.members) == 1 {
		seconds = 1
	}
	return primary.Command(ctx, bson.D{
		{Key: "replSetStepDown", Value: seconds},
		{Key: "secondaryCatchUpPeriodSecs", Value: min(seconds-1, 5)},
		{Key: "force", Value: true},
	}, nil)
}

// Role is what a user may do in a database.
type Role struct {
	Role string `bson:"role"` // such as "readWrite", "read", "clusterMonitor"
	DB   string `bson:"db"`
}

// CreateUser creates a user and returns the connection string with its
// credentials. It needs Options.Auth.
func (rs *ReplicaSet) CreateUser(ctx context.Context, name, password string, roles ...Role) (uri string, err error) {
	if !rs.options.Auth {
		return "", fmt.Errorf("create user %q: the set runs without authentication: start it with Options.Auth", name)
	}
	if roles == nil {
		roles = []Role{} // null is refused
	}
	primary, err := rs.Primary(ctx)
	if err != nil {
		return "", err
	}
	err = primary.Command(ctx, bson.D{
		{Key: "createUser", Value: name},
		{Key: "pwd", Value: password},
		{Key: "roles", Value: roles},
		{Key: "writeConcern", Value: rs.everywhere()},
	}, nil)
	return rs.uri(name, password), err
}

// arguments is a member's command line.
func (rs *ReplicaSet) arguments(m *Member) []string {
	args := []string{
		"--dbpath", filepath.Join(rs.dir, m.name),
		"--port", strconv.Itoa(m.port),
		"--bind_ip", "127.0.0.1",
		"--wiredTigerCacheSizeGB", "0.25",
		"--quiet",
		"--setParameter", "diagnosticDataCollectionEnabled=false",
		// An orderly stop would wait 15 s for a secondary to take over.
		"--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100",
	}
	if runtime.GOOS != "windows" {
		args = append(args, "--nounixsocket") // it would be left in the system's folder
	}
	if rs.name != "" {
		args = append(args, "--replSet", rs.name, "--oplogSize", strconv.Itoa(rs.options.OplogSizeMB))
		if rs.options.OplogSizeMB < defaultOplogMB {
			// The oplog is not cut beyond the last checkpoint, of which there
			// would be one a minute.
			args = append(args, "--syncdelay", "1")
		}
	}
	if rs.options.Auth {
		args = append(args, "--auth")
		if rs.name != "" {
			args = append(args, "--keyFile", rs.keyPath())
		}
	}
	if rs.options.TLS {
		args = append(args, "--tlsMode", "requireTLS", "--tlsCertificateKeyFile", rs.certificatePath(),
			"--tlsCAFile", rs.CAFile(), "--tlsAllowConnectionsWithoutCertificates")
	}
	if rs.options.TestCommands {
		args = append(args, "--setParameter", "enableTestCommands=1")
	}
	return append(args, rs.options.Args...)
}

// initiate makes the members a replica set with quick elections.
func (rs *ReplicaSet) initiate(ctx context.Context) error {
	var members bson.A
	for i, m := range rs.members {
		members = append(members, bson.D{{Key: "_id", Value: i}, {Key: "host", Value: m.Host()},
			{Key: "arbiterOnly", Value: m.arbiter}})
	}
	return rs.members[0].Command(ctx, bson.D{{Key: "replSetInitiate", Value: bson.D{
		{Key: "_id", Value: rs.name},
		{Key: "members", Value: members},
		{Key: "settings", Value: bson.D{
			{Key: "electionTimeoutMillis", Value: 1000},
			{Key: "heartbeatIntervalMillis", Value: 500},
		}},
	}}}, nil)
}

// ready waits until all members are in and a write reaches every one of them. The
// write is a no-op in the oplog: it leaves nothing in any database.
func (rs *ReplicaSet) ready(ctx context.Context) error {
	if rs.name == "" {
		return rs.members[0].Command(ctx, bson.D{{Key: "ping", Value: 1}}, nil)
	}
	for _, m := range rs.members {
		if err := m.serving(ctx); err != nil {
			return err
		}
	}
	return until(ctx, "a write reaches every member", func(look context.Context) error {
		primary, err := rs.Primary(look)
		if err != nil {
			return err
		}
		// Not limited to one look: a slow disk may take its time.
		return primary.Command(ctx, bson.D{
			{Key: "appendOplogNote", Value: 1},
			{Key: "data", Value: bson.D{{Key: "msg", Value: "sitesync: replica set started"}}},
			{Key: "writeConcern", Value: rs.everywhere()},
		}, nil)
	})
}

// createAdmin creates the first user, for which mongod makes an exception from
// authentication to clients on the same machine.
func (rs *ReplicaSet) createAdmin(ctx context.Context) error {
	password := rand.Text()
	if _, err := rs.CreateUser(ctx, adminUser, password, Role{Role: "root", DB: "admin"}); err != nil {
		return fmt.Errorf("create the first user: %w", err)
	}
	rs.user, rs.password = adminUser, password
	for _, m := range rs.members {
		m.mu.Lock()
		err := m.connect()
		m.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// everywhere is the write concern of what must be on all members and survive a
// kill right afterwards. Without j, w: 1 would not wait for the journal.
func (rs *ReplicaSet) everywhere() bson.D {
	withData := len(rs.members)
	if rs.options.Arbiter {
		withData--
	}
	return bson.D{{Key: "w", Value: withData}, {Key: "j", Value: true}}
}

func (rs *ReplicaSet) keyPath() string { return filepath.Join(rs.dir, "key") }

// writeKey writes the key by which members of a set with authentication know each
// other.
func (rs *ReplicaSet) writeKey() error {
	key := make([]byte, 96)
	_, _ = rand.Read(key) // never fails
	return os.WriteFile(rs.keyPath(), []byte(base64.StdEncoding.EncodeToString(key)), 0o400)
}

// freePorts picks n ports below the ranges that systems give to outgoing
// connections: while a killed member is down, no other program gets its port by chance.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range 200 {
		port := 20000 + mathrand.IntN(12000)
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		defer l.Close() // held until all are chosen, so that they differ
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, errors.New("found no free port between 20000 and 32000 on 127.0.0.1")
}
