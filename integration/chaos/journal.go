package main

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// journal is the file in which sitesync's log, of all its lives, and what was done to it stand in order.
type journal struct {
	mu   sync.Mutex
	file *os.File
}

// Write takes a line of sitesync's log.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.file.Write(p)
}

// tell writes what was done.
func (j *journal) tell(format string, args ...any) {
	fmt.Fprintf(j, "%s chaos: %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}
