package main

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// What the garbage collector may leave lying around: most of the memory is used for a moment only, so that collecting it
// less often saves a tenth of the processor time of a small file. The limit is on what Go has, without the program itself.
const (
	gcPercent   = 400
	memoryLimit = 40 << 20
)

// raiseEvery is how often the limit is looked at. A limit that is nearly all in use, as by a document of 16 MB, would have
// the collector run without end, on half of the processors.
const raiseEvery = time.Second

// tuneGC sets what the environment does not.
func tuneGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
		go func() {
			for range time.Tick(raiseEvery) {
				fitMemoryLimit()
			}
		}()
	}
}

// fitMemoryLimit leaves half as much room for garbage as there is in use, but the usual limit at least.
func fitMemoryLimit() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if limit := max(memoryLimit, int64(live[0].Value.Uint64())*3/2); limit != debug.SetMemoryLimit(-1) {
		debug.SetMemoryLimit(limit)
	}
}
