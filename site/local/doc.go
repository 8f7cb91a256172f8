// Package local is a site on storages that are mounted on this machine. It reads what is below their roots, and below
// the folders that symbolic links may lead to; it tells a file's own trouble from that of a storage which is away, and
// never waits for one that hangs.
package local
