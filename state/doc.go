// Package state is sitesync's own database: what must outlive the process and what several processes must agree on.
// The avalon database belongs to the pipeline, so none of it is kept there.
//
// It has these collections:
//
//	leases    one document for each avalon database and route: which process works on it
//	ids       Drive ids that are reserved for names in folders, one document a write; forgotten after two days
//	pauses    what is paused, one document for a route or a project of it
//	sessions  upload sessions of large files; forgotten after a week, as they end then
//
// An upload session's URI is a secret, as it is enough to upload. It is written here and nowhere else.
package state
