//go:build race

package main

// sitesync is checked for races when this command, or its test, is.
var buildFlags = []string{"-race"}
