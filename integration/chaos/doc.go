// Command chaos lets a studio and an artist at home publish, each with a storage, an account of Google and a sitesync
// of their own, which bring everything to the other one by way of Drive. Meanwhile both sitesyncs are killed at random
// moments, the primary of MongoDB is killed, steps down and hangs, and Google Drive fails at random and lists new files
// only after a while. In the end the faults stop until all is synced; then each file is looked up on Drive and on the
// other storage. No file may be seen there before it is complete.
//
//	go run ./integration/chaos
//	go run ./integration/chaos --short
//
// The exit status is 1 if anything is lost, doubled, of other content, orphaned or seen half-written, or if sitesync
// has ended by itself.
//
// Publishes, kills and faults are derived from a seed, which is printed. Their exact timing depends on the machine, so
// two runs with one seed are similar, not identical.
//
// With go run -race, sitesync is checked for races too.
//
// The checks use no code of the product: see check.go.
package main
