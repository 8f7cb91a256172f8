package main

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// journal is the file that has the logs of all sitesync processes and what was done to them, in order.
type journal struct {
	mu   sync.Mutex
	file *os.File
}

// Write appends a line of sitesync's log.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.file.Write(p)
}

// record appends what was done.
func (j *journal) record(format string, args ...any) {
	fmt.Fprintf(j, "%s chaos: %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}
