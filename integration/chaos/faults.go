package main

import (
	"time"

	"sitesync/integration/drive"
)

// weighted is a fault and its frequency relative to the others.
type weighted struct {
	weight float64
	fault  drive.Fault
}

// anyRequest are the faults of all requests.
var anyRequest = []weighted{
	{2, drive.Fault{Effect: drive.EffectStatus, Status: 500}},
	{1, drive.Fault{Effect: drive.EffectStatus, Status: 502}},
	{2, drive.Fault{Effect: drive.EffectStatus, Status: 503}},
	{2, drive.Fault{Effect: drive.EffectReset, When: drive.Before}},
	{1, drive.Fault{Effect: drive.EffectTruncate}},
	{1, drive.Fault{Effect: drive.EffectInvalidJSON}},
	{1, drive.Fault{Effect: drive.EffectDrip, Delay: 5 * time.Millisecond}}, // a response takes a second or two
}

// apiFaults are those of API requests. In some, the request is carried out and the response is lost.
var apiFaults = append([]weighted{
	{2, drive.Fault{Effect: drive.EffectStatus, Status: 403, Reason: "userRateLimitExceeded"}},
	{1, drive.Fault{Effect: drive.EffectStatus, Status: 403, Reason: "rateLimitExceeded"}},
	{1, drive.Fault{Effect: drive.EffectStatus, Status: 429, RetryAfter: time.Second}},
	{2, drive.Fault{Effect: drive.EffectReset, When: drive.InBody, AfterBytes: 500}},
	{2, drive.Fault{Effect: drive.EffectStatus, Status: 500, When: drive.After}},
	{1, drive.Fault{Effect: drive.EffectStatus, Status: 503, When: drive.After}},
	{3, drive.Fault{Effect: drive.EffectReset, When: drive.After}},
}, anyRequest...)

// uploadFaults are those of requests that send the content of a large file.
var uploadFaults = append([]weighted{
	{2, drive.Fault{Effect: drive.EffectReset, When: drive.InBody, AfterBytes: 300_000}},
	{3, drive.Fault{Effect: drive.EffectReset, When: drive.InBody, AfterBytes: 2_000_000}},
	{2, drive.Fault{Effect: drive.EffectReset, When: drive.InBody, AfterBytes: 5_000_000}},
}, apiFaults...)

// downloadFaults are those of requests that answer with the content of a file.
var downloadFaults = append([]weighted{
	{2, drive.Fault{Effect: drive.EffectTruncate, AfterBytes: 200}},
	{2, drive.Fault{Effect: drive.EffectTruncate, AfterBytes: 100_000}},
	{2, drive.Fault{Effect: drive.EffectTruncate, AfterBytes: 2_000_000}},
	{1, drive.Fault{Effect: drive.EffectIgnoreRange}},
}, apiFaults...)

// faults make the given fraction, 0 to 1, of the requests of each kind fail.
func faults(rate float64) []drive.Fault {
	if rate <= 0 {
		return nil
	}
	out := share("files.download", rate, downloadFaults)
	for _, kind := range []string{"files.*", "drives.*", "about.*", "upload.status"} {
		out = append(out, share(kind, rate, apiFaults)...)
	}
	return append(append(out, share("upload.put", rate, uploadFaults)...), share("token", rate, anyRequest)...)
}

// share divides the rate by weight. Only the first fault that hits a request counts, so later ones need a higher
// probability.
func share(kind string, rate float64, mix []weighted) []drive.Fault {
	var sum float64
	for _, w := range mix {
		sum += w.weight
	}
	var out []drive.Fault
	left := 1.0
	for _, w := range mix {
		part := rate * w.weight / sum
		w.fault.Kind, w.fault.Probability = kind, part/left
		left -= part
		out = append(out, w.fault)
	}
	return out
}
