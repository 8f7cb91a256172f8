package gdrive

import (
	"io"
	"sync"
)

// What is read ahead of an upload's request, so that reading and summing go on while TLS and the network are busy:
// 384 KiB for each large upload.
const (
	aheadParts = 3
	aheadPart  = 128 << 10 // bytes
)

// ahead reads from a reader before it is asked to. end must be called; only then may the reader be used again.
type ahead struct {
	filled, free chan []byte
	part, rest   []byte // what is being read, and what is left of it
	err          error  // that the reader ended with, once filled is closed
	stop         chan struct{}
	stopped      sync.Once
}

func readAhead(r io.Reader) *ahead {
	a := &ahead{filled: make(chan []byte, aheadParts), free: make(chan []byte, aheadParts), stop: make(chan struct{})}
	for range aheadParts {
		a.free <- make([]byte, aheadPart)
	}
	go a.fill(r)
	return a
}

// fill reads until the reader's error, its end included, or ours.
func (a *ahead) fill(r io.Reader) {
	defer close(a.filled)
	for {
		select {
		case part := <-a.free:
			n, err := r.Read(part[:aheadPart])
			if n > 0 {
				a.filled <- part[:n]
			}
			if err != nil {
				a.err = err
				return
			}
		case <-a.stop:
			return
		}
	}
}

// Read hands out what was read. The reader's error comes after all that was read before it.
func (a *ahead) Read(p []byte) (int, error) {
	if len(a.rest) == 0 {
		if a.part != nil {
			a.free <- a.part
			a.part = nil
		}
		select {
		case part, ok := <-a.filled:
			if !ok {
				return 0, a.err
			}
			a.part, a.rest = part, part
		case <-a.stop:
			return 0, errSlowSource
		}
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// end stops reading, and returns when the reader is not used any more. Nothing may be read after it.
func (a *ahead) end() {
	a.leave()
	for range a.filled {
	}
}

// leave stops reading without waiting for the reader, which must not be used any more by anybody else. Who reads from it
// is not kept waiting either.
func (a *ahead) leave() { a.stopped.Do(func() { close(a.stop) }) }
