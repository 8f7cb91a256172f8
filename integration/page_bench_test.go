package integration_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sitesync/integration/studio"
)

// BenchmarkPage asks for pages over HTTP, without failed files and with 10,000 of them, each in a representation of its
// own: the time to the first byte, while the database is counted and listed again and again, as the page is open.
//
//	go test ./integration -run '^$' -bench Page
func BenchmarkPage(b *testing.B) {
	median := map[string]time.Duration{}
	for _, failed := range []int{0, 10_000} {
		s := newTestStudio(b)
		project := s.project("Test")
		if failed > 0 {
			publishFailed(b, s, project, failed)
		}
		page := s.page(s.start(serve...))
		s.eventually("the failed files are listed", func() bool {
			_, body := page.get("/failed")
			return strings.Contains(body, "No file has failed") || strings.Contains(body, "1 to 100 of 10,000")
		})
		for _, path := range []string{"/", "/failed", "/failed?page=50"} {
			b.Run(fmt.Sprintf("failed=%d%s", failed, path), func(b *testing.B) {
				var all []time.Duration
				for b.Loop() {
					all = append(all, page.firstByte(b, path))
				}
				slices.Sort(all)
				at := func(q float64) float64 { return all[int(q*float64(len(all)-1))].Seconds() * 1000 }
				b.ReportMetric(at(0.5), "ms-median")
				b.ReportMetric(at(0.99), "ms-p99")
				b.ReportMetric(at(1), "ms-longest")
				b.ReportMetric(0, "ns/op")
				if half := at(0.5); half > 200 {
					b.Errorf("the first byte takes %.0f ms", half)
				}
				if median[path] == 0 {
					median[path] = all[len(all)/2]
				} else {
					b.ReportMetric(float64(all[len(all)/2])/float64(median[path]), "times-empty")
				}
			})
		}
	}
}

// firstByte is how long the first byte of a page takes.
func (p page) firstByte(b *testing.B, path string) time.Duration {
	b.Helper()
	var first time.Time
	ctx := httptrace.WithClientTrace(p.s.ctx,
		&httptrace.ClientTrace{GotFirstResponseByte: func() { first = time.Now() }})
	req := must(http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil))(b)
	start := time.Now()
	res := must(http.DefaultClient.Do(req))(b)
	defer res.Body.Close()
	if n, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK || n < 1000 {
		b.Fatalf("%s: %d bytes, %v", res.Status, n, err)
	}
	return first.Sub(start)
}

// publishFailed publishes representations whose tries are used up.
func publishFailed(b *testing.B, s *testStudio, p *studio.Project, n int) {
	b.Helper()
	tried := func(doc bson.D) bson.D {
		for i, field := range doc {
			if field.Key != "files" {
				continue
			}
			files := field.Value.(bson.A)
			for _, f := range files {
				for _, e := range f.(bson.D) {
					if e.Key == "sites" {
						sites := e.Value.(bson.A)
						sites[1] = append(sites[1].(bson.D), bson.E{Key: "tries", Value: 3},
							bson.E{Key: "error", Value: "there is a folder of that name on Drive"},
							bson.E{Key: "last_failed_dt", Value: time.Now().UTC()})
					}
				}
			}
			doc[i].Value = files
		}
		return doc
	}
	var pubs []studio.Publish
	for i := range n {
		pubs = append(pubs, studio.Publish{Asset: "Cylinder", Subset: fmt.Sprintf("modelMain%03d", i/100), Version: 1,
			Name: fmt.Sprintf("ma%02d", i%100), Size: 4822, RecordOnly: true, Change: tried})
		if len(pubs) == 500 || i == n-1 {
			must(p.PublishAll(s.ctx, pubs...))(b)
			pubs = nil
		}
	}
}
