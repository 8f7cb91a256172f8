// Package local is a site on storages that are mounted on this machine. It reads what is below their roots, and below
// the folders that symbolic links may lead to; it distinguishes a file's own failure from a storage that is away, and
// never waits for one that hangs.
package local
