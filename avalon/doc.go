// Package avalon is the only package that knows what Pype's documents look like: it decodes
// representations, finds the pending ones, watches for changes that make one pending, and writes the
// outcome of an upload back. It is a guest: the avalon database belongs to the pipeline, every collection
// in it is a project, and nothing here ever creates a collection or touches more of a document than the
// record of one file on one site. What is done about a pending file is decided elsewhere.
package avalon
