package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

// A limit below what is in use would have the garbage collector run without end.
func TestMemoryLimitFitsWhatIsInUse(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	debug.SetMemoryLimit(memoryLimit)
	func() {
		used := make([]byte, 3*memoryLimit)
		runtime.GC()
		fitMemoryLimit()
		if limit := debug.SetMemoryLimit(-1); limit < int64(len(used))*3/2 {
			t.Errorf("the limit is %d bytes, %d are in use", limit, len(used))
		}
		runtime.KeepAlive(used)
	}()
	runtime.GC()
	fitMemoryLimit()
	if limit := debug.SetMemoryLimit(-1); limit >= 3*memoryLimit {
		t.Errorf("then the limit is %d bytes", limit)
	}
}
