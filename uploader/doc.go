// Package uploader takes keys of representations, decides from the document as it stands which files are
// due, uploads them, and records what came of it. Whose trouble an error is, the site says; what that means
// for the file is decided here.
package uploader
