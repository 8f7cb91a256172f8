package gdrive

import (
	"fmt"
	"maps"
	"sync"
	"time"

	"sitesync/site"
)

// A large file goes in one request, as that is fastest, unless something on the way does not let that through: a proxy
// that refuses large bodies (413, or some other page), cuts the connection, or takes all of a body before it forwards
// it and gives up meanwhile. Then it goes in pieces.
const (
	// granule is what Drive wants all pieces but the last to be a multiple of, bytes, and so the smallest piece.
	granule = 256 << 10

	// maxPiece is the first size tried where a larger body was refused, brokenPiece where one broke off, bytes.
	maxPiece    = 64 << 20
	brokenPiece = 16 << 20

	// muchLost is more than a broken connection loses by itself, bytes: something on the way had accepted and kept it.
	muchLost = 32 << 20

	// pieceTTL is how long a size that was found counts for all files: the network may be another one by then.
	pieceTTL = time.Hour

	// maxLost is how many times its size a file may be sent without effect before it pauses for lostPause. After that
	// it may be sent once more.
	maxLost   = 2
	lostPause = 10 * time.Minute

	// maxStuck is how often in a row Drive may fail to go on with a session before a new one is opened.
	maxStuck = 4

	// maxHistories bounds the number of histories, historyTTL their age.
	maxHistories = 1000
	historyTTL   = 24 * time.Hour
)

// pieces finds out how large the body of a request may be, for all files and for single ones. Its zero value is ready.
type pieces struct {
	mu        sync.Mutex
	maxBody   int64     // bytes that get through; 0 is any
	found     time.Time // when maxBody was found out
	histories map[string]*history

	pieced int // large files in a row that had to go in pieces
}

// history is that of a file that does not get through as it should. Guarded by pieces.mu.
type history struct {
	piece  int64 // largest for this file, bytes; 0 is any
	breaks int   // without a byte that was kept, since the last one that was
	stuck  int   // times that its session was given up for, since then
	lost   int64 // bytes sent without effect
	rest   time.Time
	seen   time.Time
}

// fit returns how many of n bytes may go in one request, for the file with the key: all of them, or a multiple of
// granule.
func (p *pieces) fit(key string, n int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.maxBody > 0 && time.Since(p.found) < pieceTTL {
		n = min(n, p.maxBody)
	}
	if t := p.histories[key]; t != nil && t.piece > 0 {
		n = min(n, t.piece)
	}
	return n
}

// tooLarge records that a body was refused for its size, and reports whether a smaller one can be tried.
func (p *pieces) tooLarge(n int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n <= granule {
		return false
	}
	piece := max(granule, min(n/2, maxPiece)/granule*granule)
	if p.maxBody == 0 || time.Since(p.found) >= pieceTTL || piece < p.maxBody {
		p.maxBody, p.found = piece, time.Now()
	}
	return true
}

// broke records that a body of a file did not get through, not for its size as far as is known, after so many bytes
// were sent. It reports whether the next ones will be smaller.
func (p *pieces) broke(key string, n, sent, size int64, answered bool) (smaller bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.history(key)
	t.lost += sent
	t.breaks++
	switch {
	case n <= granule:
		return false
	case !answered && t.breaks < 2 && sent < n/2:
		return false // it may have been bad luck, and little is lost
	case n > brokenPiece:
		t.piece = brokenPiece
	default:
		t.piece = max(granule, n/4/granule*granule)
	}
	if t.lost > size {
		t.piece = min(t.piece, finePiece(size))
	}
	return true
}

// lose records that so many bytes of a file of that size were lost with their session.
func (p *pieces) lose(key string, n, size int64) {
	if n <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.history(key)
	if t.lost += n; t.lost >= size/2 {
		t.piece = finePiece(size)
	}
}

// finePiece is the size for a file that lost much, so that it does not lose much more each time.
func finePiece(size int64) int64 { return max(granule, min(size/64, maxPiece)/granule*granule) }

// kept records that Drive has kept something.
func (p *pieces) kept(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.histories[key]; t != nil {
		t.breaks, t.stuck = 0, 0
	}
}

// done records that a file is on Drive. After two large files in a row that had to go in pieces, others do so at once.
func (p *pieces) done(key string, large bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.histories[key]
	delete(p.histories, key)
	switch {
	case !large:
	case t == nil || t.piece == 0:
		p.pieced = 0
	default:
		if p.pieced++; p.pieced > 1 && t.piece > granule && (p.maxBody == 0 || t.piece < p.maxBody) {
			p.maxBody, p.found = t.piece, time.Now()
		}
	}
}

// stuck records that a session made no progress, and reports whether a new one should replace it.
func (p *pieces) stuck(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.history(key)
	if t.stuck++; t.stuck < maxStuck {
		return false
	}
	t.stuck = 0
	return true
}

// may reports whether a file may be sent, after all that was lost of it.
func (p *pieces) may(key string, size int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.histories[key]
	if t == nil || t.lost < maxLost*size {
		return nil
	}
	now := time.Now()
	switch {
	case t.rest.IsZero():
		t.rest = now.Add(lostPause)
	case now.After(t.rest):
		t.rest, t.lost = time.Time{}, (maxLost-1)*size
		return nil
	}
	rest := time.Until(t.rest).Round(time.Second)
	return site.Classed(site.Transient, fmt.Errorf("%d bytes were sent in vain, so it is not sent for %s; is there "+
		"a proxy that does not let it through, or does Drive not keep it?", t.lost, rest))
}

// history is what is remembered of a file. p.mu must be held.
func (p *pieces) history(key string) *history {
	now := time.Now()
	t := p.histories[key]
	if t == nil {
		if len(p.histories) >= maxHistories {
			maps.DeleteFunc(p.histories, func(_ string, t *history) bool { return now.Sub(t.seen) > historyTTL })
		}
		for other := range p.histories {
			if len(p.histories) >= maxHistories {
				delete(p.histories, other)
			}
		}
		t = &history{}
		set(&p.histories, key, t)
	}
	t.seen = now
	return t
}

// errEvenSmallest is the error of a body that is refused however small it is.
func errEvenSmallest(err error, n int64) error {
	return fmt.Errorf("%w: even %d bytes in one request are refused; have the limit raised where that comes from",
		err, n)
}
