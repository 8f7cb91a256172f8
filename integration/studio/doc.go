// Package studio publishes as the artists of a Pype studio do, for tests, the
// demo and the benchmarks: it writes files under a *.tmp name into a project's
// folders, inserts the documents that IntegrateNew inserts, and only then renames
// the files. It also does what people do to published records afterwards: ask for
// a re-upload, delete tries, add a site, publish again, delete.
//
//	s := studio.New(db, studio.Options{Root: dir})
//	p, err := s.Project(ctx, "Test")
//	rep, err := p.Publish(ctx, studio.Publish{Asset: "Cylinder", Family: "look",
//		Subset: "lookMain", Version: 10, Name: "ma", Size: 4822})
//	synced, err := s.WaitSynced(ctx, rep)
//	reaction := synced.Sub(rep.Acknowledged)
//
// The documents are built here and not with package avalon, so that a mistake in
// its model cannot hide by being on both sides. What is wrong with a document on
// purpose is made with Publish.Change, or, thousands of them in all ways, with
// Studio.MalformedDocuments.
package studio
