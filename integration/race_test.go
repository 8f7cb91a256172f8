//go:build race

package integration_test

// The daemon is checked for races when its tests are.
var buildFlags = []string{"-race"}
