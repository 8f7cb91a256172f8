package gdrive

import (
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// writtenConn keeps what is written to it.
type writtenConn struct {
	net.Conn
	writes []string
	err    error
}

func (c *writtenConn) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	c.writes = append(c.writes, string(p))
	return len(p), nil
}

func (c *writtenConn) Close() error { return nil }

func (c *writtenConn) sizes() (sizes []int) {
	for _, w := range c.writes {
		sizes = append(sizes, len(w))
	}
	return sizes
}

func TestGatheredWrites(t *testing.T) {
	const full = fullRecord + 22
	for name, test := range map[string]struct{ writes, want []int }{
		"small ones go at once":             {[]int{5, 6, fullRecord - 1}, []int{5, 6, fullRecord - 1}},
		"full ones go with the last":        {[]int{full, full, 100, 7}, []int{2*full + 100, 7}},
		"many full ones go when it is much": {slices.Repeat([]int{full}, 13), []int{6 * full, 6 * full, full}},
		"one that nothing follows":          {[]int{full}, []int{full}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				to := &writtenConn{}
				c := &gatheringConn{Conn: to}
				for _, n := range test.writes {
					if wrote, err := c.Write(make([]byte, n)); wrote != n || err != nil {
						t.Errorf("%d bytes of %d, %v", wrote, n, err)
					}
				}
				time.Sleep(gatherFor)
				synctest.Wait()
				if got := to.sizes(); !slices.Equal(got, test.want) {
					t.Errorf("written %v, want %v", got, test.want)
				}
			})
		})
	}
}

func TestGatheredWritesKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &writtenConn{}
		c := &gatheringConn{Conn: to}
		var want strings.Builder
		for i := range 500 {
			part := strings.Repeat(string(rune('a'+i%26)), rand.IntN(3*fullRecord))
			want.WriteString(part)
			if _, err := c.Write([]byte(part)); err != nil {
				t.Fatal(err)
			}
			if rand.IntN(5) == 0 {
				time.Sleep(2 * gatherFor)
			}
		}
		time.Sleep(gatherFor)
		synctest.Wait()
		if strings.Join(to.writes, "") != want.String() {
			t.Error("what is written is not what was sent")
		}
	})
}

// A write that fails when it is too late to tell so ends the connection for whoever writes next, also a small write.
func TestGatheredWriteFails(t *testing.T) {
	for _, next := range []int{10, fullRecord} {
		synctest.Test(t, func(t *testing.T) {
			broken := errors.New("broken")
			to := &writtenConn{err: broken}
			c := &gatheringConn{Conn: to}
			if _, err := c.Write(make([]byte, fullRecord)); err != nil {
				t.Error(err)
			}
			time.Sleep(gatherFor)
			synctest.Wait()
			to.err = nil // nothing may go after what is lost
			if _, err := c.Write(make([]byte, next)); err != broken || len(to.writes) != 0 {
				t.Errorf("%v, %v", err, to.sizes())
			}
		})
	}
}

// Nothing is sent once the connection is closed.
func TestGatheredWritesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &writtenConn{}
		c := &gatheringConn{Conn: to}
		if _, err := c.Write(make([]byte, fullRecord)); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if len(to.writes) != 0 {
			t.Errorf("written %v", to.sizes())
		}
	})
}
