package integration_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"sitesync/integration/process"
	"sitesync/integration/studio"
)

// 10,000 malformed documents, half of them there at the start, half of them coming while sitesync runs, among 1,000
// good ones.
func TestMalformedDocuments(t *testing.T) {
	t.Parallel()
	const seed, malformed, good, batch = 1, 10_000, 1_000, 50
	s := newTestStudio(t)
	p := s.project("Test")
	var reps []*studio.Representation
	publish := func(n int) (live []*studio.Representation) {
		var pubs []studio.Publish
		for range n {
			i := len(reps) + len(pubs)
			pubs = append(pubs, studio.Publish{Asset: fmt.Sprintf("Asset%02d", i%20), Subset: "modelMain",
				Version: 1 + i/20, Name: "ma", Size: 100, NoTmp: true})
		}
		live = must(p.PublishAll(s.ctx, pubs...))(t)
		reps = append(reps, live...)
		return live
	}
	for range good / 2 / batch {
		publish(batch)
	}
	docs := must(s.studio.MalformedDocuments(seed, malformed, reps))(t)
	insert := func(docs []studio.Malformed) {
		var many []any
		for _, d := range docs {
			many = append(many, d.Doc)
		}
		must(p.Collection().InsertMany(s.ctx, many, options.InsertMany().SetOrdered(false)))(t)
	}
	insert(docs[:malformed/2])

	d := s.start("--settle", "100ms", "--retry-delay", "20ms", "--loop-delay", "1h")
	rest := docs[malformed/2:]
	live := map[string]bool{}
	for range good / 2 / batch {
		n := len(rest) / (good / 2 / batch)
		if len(reps) == good-batch {
			n = len(rest)
		}
		insert(rest[:n])
		rest = rest[n:]
		for _, rep := range publish(batch) {
			live[rep.ID.Hex()] = true
		}
	}
	if len(rest) > 0 || len(reps) != good {
		t.Fatalf("%d are left to be inserted, %d are published", len(rest), len(reps))
	}
	for _, rep := range reps {
		s.synced(rep)
	}

	// What must be logged for each.
	const reportedText, failedText, syncedText = "invalid document", "failed for good", "synced"
	expected := map[studio.Expected][]string{studio.ExpectReported: {reportedText},
		studio.ExpectPartial: {reportedText, syncedText}, studio.ExpectSynced: {syncedText},
		studio.ExpectFailed: {failedText}}
	expectations, missing := map[studio.Expected]int{}, map[string]bool{}
	for _, doc := range docs {
		expectations[doc.Expected]++
		for _, text := range expected[doc.Expected] {
			missing[text+doc.ID] = true
		}
	}
	s.log(d, func(l process.Line) bool { // sees each line once
		for _, text := range []string{reportedText, failedText, syncedText} {
			if strings.Contains(l.Message, text) {
				delete(missing, text+l.Text("representation"))
			}
		}
		return len(missing) == 0
	})
	// Another whole poll logs none again. What it finds last is a document that no stream has reported.
	last := s.publish(p, studio.Publish{Size: 100, Asset: "Last", DictSites: true,
		Change: func(doc bson.D) bson.D { return with(doc, "type", "draft") }})
	must(p.Collection().UpdateByID(s.ctx, last.ID,
		bson.D{{Key: "$set", Value: bson.D{{Key: "type", Value: "representation"}}}}))(t)
	check(t, s.project("Gone").Collection().Drop(s.ctx)) // that has everything polled
	s.synced(last)
	check(t, d.Stop())

	logged := func(text string) map[string][]process.Line { // by representation
		out := map[string][]process.Line{}
		for _, l := range d.Lines(process.Message(text)) {
			out[l.Text("representation")] = append(out[l.Text("representation")], l)
		}
		return out
	}
	reported, failed, synced := logged(reportedText), logged(failedText), logged(syncedText)
	var slowest, average time.Duration
	for id := range live {
		reaction := time.Duration(synced[id][0].Float("reaction") * float64(time.Second))
		slowest = max(slowest, reaction)
		average += reaction / time.Duration(len(live))
	}
	t.Logf("%v; of %d good ones published meanwhile the average was synced after %v, the slowest after %v",
		expectations, len(live), average, slowest)
	if slowest > waitTimeout/2 {
		t.Errorf("a publish had to wait %v", slowest)
	}
	wrong := 0
	complain := func(doc studio.Malformed, format string, args ...any) {
		if wrong++; wrong <= 20 {
			t.Errorf("%s, which is %s: %s", doc.What, doc.Expected, fmt.Sprintf(format, args...))
		}
	}
	idOf := func(doc bson.Raw) string { return doc.Lookup("_id").Type.String() + string(doc.Lookup("_id").Value) }
	now := map[string]bson.Raw{}
	cursor := must(p.Collection().Find(s.ctx, bson.D{}))(t)
	for cursor.Next(s.ctx) {
		now[idOf(cursor.Current)] = bytes.Clone(cursor.Current)
	}
	check(t, cursor.Err())
	for _, doc := range docs {
		want := map[studio.Expected]int{studio.ExpectReported: 1, studio.ExpectPartial: 1}[doc.Expected]
		lines := reported[doc.ID]
		if len(lines) != want {
			complain(doc, "it is logged %d times: %v", len(lines), lines)
		}
		for _, l := range lines {
			if l.Text("project") != "Test" || l.Text("reason") == "" || l.Level != "warn" {
				complain(doc, "logged as %v", l.Fields)
			}
		}
		if n := len(failed[doc.ID]); (n > 0) != (doc.Expected == studio.ExpectFailed) || n > 2 {
			complain(doc, "%d of its files have failed for good", n)
		}
		after := now[idOf(doc.Doc)]
		if unchanged := bytes.Equal(after, doc.Doc); unchanged != (doc.Expected == studio.ExpectReported ||
			doc.Expected == studio.ExpectIgnored) {
			complain(doc, "unchanged: %v", unchanged)
		}
		if doc.Expected == studio.ExpectSynced {
			if pending := pendingRecords(after); pending > 0 {
				complain(doc, "%d record(s) are not marked, files are now %.500s", pending, after.Lookup("files"))
			}
		}
	}
	if wrong > 20 {
		t.Errorf("... and %d more", wrong-20)
	}
	for message, want := range map[string]int{"panic": 0, "goroutine ": 0, "uploads are held": 0, "does not work": 0} {
		if lines := d.Lines(process.Message(message)); len(lines) != want {
			t.Errorf("%q is logged %d times, first %v", message, len(lines), lines[0])
		}
	}
	s.checkNoDuplicates()
}

// pendingRecords counts the records of the remote site that have no date.
func pendingRecords(doc bson.Raw) (n int) {
	files, _ := doc.Lookup("files").ArrayOK()
	entries, _ := files.Values()
	for _, e := range entries {
		sites := e.Document().Lookup("sites")
		if dict, ok := sites.DocumentOK(); ok {
			if dict.Lookup("gdrive", "created_dt").Type != bson.TypeDateTime {
				n++
			}
			continue
		}
		list, _ := sites.ArrayOK()
		records, _ := list.Values()
		for _, r := range records {
			rec, ok := r.DocumentOK()
			if name, _ := rec.Lookup("name").StringValueOK(); ok && strings.EqualFold(name, "gdrive") &&
				rec.Lookup("created_dt").Type != bson.TypeDateTime {
				n++
			}
		}
	}
	return n
}
