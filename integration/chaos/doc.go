// Command chaos lets a studio publish while sitesync is killed at random moments, the primary of MongoDB is killed,
// steps down and hangs, and Google Drive fails at random and lists new files only after a while. In the end the faults
// stop until all is synced; then each file is looked up on Drive.
//
//	go run ./integration/chaos
//	go run ./integration/chaos --short
//
// The exit status is 1 if anything is lost, doubled, of other content or orphaned, or if sitesync has ended by itself.
//
// Publishes, kills and faults are derived from a seed, which is printed. Their exact timing depends on the machine, so
// two runs with one seed are similar, not identical.
//
// With go run -race, sitesync is checked for races too.
//
// The checks use no code of the product: see check.go.
package main
