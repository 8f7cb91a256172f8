// Command demo shows sitesync at work on this machine: a real MongoDB replica set, an emulated Google Drive, a
// studio that publishes, and sitesync as a process. Nothing has to be installed or configured, and nothing is left
// behind.
//
//	go run ./integration/demo
//
// It ends with a summary. The exit status is 1 if a publish is not synced, or if an MD5 on Drive differs from the
// storage.
//
// Reaction times are measured from outside, by the studio: from the moment at which the database has acknowledged
// the insert of a representation to the moment at which the database shows all its files as synced.
package main
