// Command chaos lets a studio publish while sitesync is killed at random moments, the primary of MongoDB is killed,
// steps down and hangs, and Google Drive fails at random and shows in its listings only after a while what was
// created. In the end everything is left in peace until all is synced, and then each file is looked for on Drive.
//
//	go run ./integration/chaos
//	go run ./integration/chaos --short
//
// The exit status is 1 if anything is lost, doubled, of other content or orphaned, or if sitesync has ended by itself.
//
// What is published, killed and refused is derived from a seed, which is printed. Which instant that hits is up to
// the machine, so a run with the same seed is much alike, but not the same.
//
// With go run -race, sitesync is checked for races too.
//
// What was promised is checked here, without any code of the product: see check.go.
package main
