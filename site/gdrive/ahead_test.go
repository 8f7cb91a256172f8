package gdrive

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestAhead(t *testing.T) {
	want := strings.Repeat("0123456789", aheadPart) // ten parts
	broken := errors.New("broken")
	for name, r := range map[string]io.Reader{
		"whole parts":  strings.NewReader(want),
		"bit by bit":   iotest.HalfReader(strings.NewReader(want)),
		"data and EOF": iotest.DataErrReader(strings.NewReader(want)),
	} {
		t.Run(name, func(t *testing.T) {
			a := readAhead(io.MultiReader(r, iotest.ErrReader(broken)))
			got, err := io.ReadAll(a)
			if string(got) != want || err != broken {
				t.Errorf("%d bytes, then %v", len(got), err)
			}
			a.end()
		})
	}
}

// After its end the source belongs to somebody else, who reads on as if the rest had not been read ahead.
func TestAheadEnds(t *testing.T) {
	for _, n := range []int64{0, 1, aheadPart, 2*aheadPart + 5} {
		c := newContent(upload("", []byte(large(20*aheadPart))))
		a := readAhead(c)
		if _, err := io.CopyN(io.Discard, a, n); err != nil {
			t.Fatal(err)
		}
		a.end()
		if c.hashed > n+(aheadParts+1)*aheadPart {
			t.Errorf("%d bytes were read for %d", c.hashed, n)
		}
		c.seek(n)
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Fatal(err)
		}
		if c.sum() != md5Of(large(20*aheadPart)) {
			t.Error("the sum is wrong")
		}
	}
}
