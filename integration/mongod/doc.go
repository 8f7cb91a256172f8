// Package mongod runs real MongoDB servers for tests, the demo and the
// benchmarks: it finds a mongod (or installs one into the user's cache), starts
// replica sets and standalone servers on 127.0.0.1, and kills, pauses, stops and
// restarts their members. There is no fake MongoDB and no skipped test: where no
// mongod can be had, the error says what to install.
//
// A package whose tests need a database shares one replica set, which is started
// by the first test that asks for it:
//
//	func TestMain(m *testing.M) { os.Exit(mongod.Main(m)) }
//
//	func TestPending(t *testing.T) {
//		db := mongod.Database(t) // fresh, dropped when the test ends
//		...
//	}
//
// Tests that kill members, or that need a special configuration, start a set of
// their own with StartTest. What belongs to the avalon documents is not here but
// in package studio.
package mongod
