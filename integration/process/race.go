//go:build race

package process

// buildFlags have sitesync checked for races when its caller is.
var buildFlags = []string{"-race"}
