package main

import (
	"time"

	"sitesync/integration/drive"
)

// weighted is a fault and how often it comes compared with others.
type weighted struct {
	weight float64
	fault  drive.Fault
}

// everything is what happens to any request.
var everything = []weighted{
	{2, drive.Fault{Effect: drive.EffectStatus, Status: 500}},
	{1, drive.Fault{Effect: drive.EffectStatus, Status: 502}},
	{2, drive.Fault{Effect: drive.EffectStatus, Status: 503}},
	{2, drive.Fault{Effect: drive.EffectReset, When: drive.Before}},
	{1, drive.Fault{Effect: drive.EffectTruncate}},
	{1, drive.Fault{Effect: drive.EffectInvalidJSON}},
	{1, drive.Fault{Effect: drive.EffectDrip, Delay: 5 * time.Millisecond}}, // an answer takes a second or two
}

// calls is what happens to requests of the API besides. The work is done in some, and the answer lost.
var calls = append([]weighted{
	{2, drive.Fault{Effect: drive.EffectStatus, Status: 403, Reason: "userRateLimitExceeded"}},
	{1, drive.Fault{Effect: drive.EffectStatus, Status: 403, Reason: "rateLimitExceeded"}},
	{1, drive.Fault{Effect: drive.EffectStatus, Status: 429, RetryAfter: time.Second}},
	{2, drive.Fault{Effect: drive.EffectReset, When: drive.InBody, AfterBytes: 500}},
	{2, drive.Fault{Effect: drive.EffectStatus, Status: 500, When: drive.After}},
	{1, drive.Fault{Effect: drive.EffectStatus, Status: 503, When: drive.After}},
	{3, drive.Fault{Effect: drive.EffectReset, When: drive.After}},
}, everything...)

// puts is what happens while a large file is sent besides.
var puts = append([]weighted{
	{2, drive.Fault{Effect: drive.EffectReset, When: drive.InBody, AfterBytes: 300_000}},
	{3, drive.Fault{Effect: drive.EffectReset, When: drive.InBody, AfterBytes: 2_000_000}},
	{2, drive.Fault{Effect: drive.EffectReset, When: drive.InBody, AfterBytes: 5_000_000}},
}, calls...)

// faults let that part of the requests of each kind go wrong.
func faults(rate float64) []drive.Fault {
	if rate <= 0 {
		return nil
	}
	var out []drive.Fault
	for _, kind := range []string{"files.*", "drives.*", "about.*", "upload.status"} {
		out = append(out, share(kind, rate, calls)...)
	}
	return append(append(out, share("upload.put", rate, puts)...), share("token", rate, everything)...)
}

// share divides the rate up by weight. The first fault that hits is the only one, so those that come later need
// more of what is left.
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
