package gdrive

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
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

	// maxPiece is the first to be tried where a larger body was refused, and brokenPiece where it broke off, bytes.
	maxPiece    = 64 << 20
	brokenPiece = 16 << 20

	// muchLost is what a connection that breaks does not lose, bytes: something on the way had taken it, and kept it.
	muchLost = 32 << 20

	// pieceFor is how long a size that was found out counts for all files: the network may be another one by then.
	pieceFor = time.Hour

	// maxLost is how many times its size a file may be sent without effect before it pauses for lostPause. After that
	// it may be sent once more.
	maxLost   = 2
	lostPause = 10 * time.Minute

	// maxStuck is how often in a row Drive may fail to go on with a session before a new one is begun.
	maxStuck = 4

	// maxTrips bounds the files that it is remembered of how they travel. tripTTL is for how long.
	maxTrips = 1000
	tripTTL  = 24 * time.Hour
)

// pieces knows how large the body of a request may be, for all files and for single ones. Its zero value is ready.
type pieces struct {
	mu    sync.Mutex
	most  int64     // bytes that get through; 0 is any
	found time.Time // when most was found out
	trips map[string]*trip

	pieced int // large files in a row that had to go in pieces
}

// trip is what is remembered of a file that does not get through as it should. Guarded by pieces.mu.
type trip struct {
	piece  int64 // largest for this file, bytes; 0 is any
	breaks int   // without a byte that was kept, since the last one that was
	stuck  int   // times that its session was given up for, since then
	lost   int64 // bytes sent without effect
	rest   time.Time
	seen   time.Time
}

// fit is how many of so many bytes may go in one request, for the file with the key: all of them, or a multiple of
// granule.
func (p *pieces) fit(key string, n int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.most > 0 && time.Since(p.found) < pieceFor {
		n = min(n, p.most)
	}
	if t := p.trips[key]; t != nil && t.piece > 0 {
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
	if p.most == 0 || time.Since(p.found) >= pieceFor || piece < p.most {
		p.most, p.found = piece, time.Now()
	}
	return true
}

// broke records that a body of a file did not get through, not for its size as far as is known, after so many bytes
// were sent. It reports whether the next ones will be smaller.
func (p *pieces) broke(key string, n, sent, size int64, answered bool) (smaller bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.trip(key)
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
	t := p.trip(key)
	if t.lost += n; t.lost >= size/2 {
		t.piece = finePiece(size)
	}
}

// finePiece is for a file that much was lost of: not much more is to be lost each time.
func finePiece(size int64) int64 { return max(granule, min(size/64, maxPiece)/granule*granule) }

// kept records that Drive has kept something.
func (p *pieces) kept(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.trips[key]; t != nil {
		t.breaks, t.stuck = 0, 0
	}
}

// done records that a file is on Drive. After two large files in a row that had to go in pieces, others do so at once.
func (p *pieces) done(key string, large bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.trips[key]
	delete(p.trips, key)
	switch {
	case !large:
	case t == nil || t.piece == 0:
		p.pieced = 0
	default:
		if p.pieced++; p.pieced > 1 && t.piece > granule && (p.most == 0 || t.piece < p.most) {
			p.most, p.found = t.piece, time.Now()
		}
	}
}

// stuck records that a session made no progress, and reports whether a new one should replace it.
func (p *pieces) stuck(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.trip(key)
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
	t := p.trips[key]
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
	return site.Classed(
		site.Transient,
		fmt.Errorf("%d bytes were sent in vain, so it is not sent for %s; is there a proxy that does "+
			"not let it through, or does Drive not keep it?", t.lost, time.Until(t.rest).Round(time.Second)),
	)
}

// trip is what is remembered of a file. p.mu must be held.
func (p *pieces) trip(key string) *trip {
	now := time.Now()
	t := p.trips[key]
	if t == nil {
		if p.trips == nil {
			p.trips = map[string]*trip{}
		}
		if len(p.trips) >= maxTrips {
			maps.DeleteFunc(p.trips, func(_ string, t *trip) bool { return now.Sub(t.seen) > tripTTL })
		}
		for other := range p.trips {
			if len(p.trips) < maxTrips {
				break
			}
			delete(p.trips, other)
		}
		t = &trip{}
		p.trips[key] = t
	}
	t.seen = now
	return t
}

// isTooLarge reports whether a body was refused for its size.
func isTooLarge(err error) bool {
	var ae *answerError
	return errors.As(err, &ae) && ae.status == http.StatusRequestEntityTooLarge
}

// isForeign reports whether an answer was not made by Drive's API.
func isForeign(err error) bool {
	var ae *answerError
	return errors.As(err, &ae) && ae.foreign
}

// errEvenSmallest is the error of a body that is refused however small it is.
func errEvenSmallest(err error, n int64) error {
	return fmt.Errorf(
		"%w: even %d bytes in one request are refused; have the limit raised where that comes from",
		err,
		n,
	)
}
