// Command demo shows sitesync at work on this machine: a real MongoDB replica set, an emulated Google Drive, a
// studio that publishes, and sitesync as a process of its own. Nothing has to be installed or configured, and
// nothing is left behind.
//
//	go run ./integration/demo
//
// It ends with a summary. The exit status is 1 if something that was published is not synced, or if a file's MD5
// on Drive is not the one on the storage.
//
// Reaction times are measured from outside, by the studio: from the moment at which the database has acknowledged
// the insert of a representation to the moment at which anybody can read that all its files are synced.
package main
