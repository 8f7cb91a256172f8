package drive

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

func TestContentRange(t *testing.T) {
	for header, want := range map[string]contentRange{
		"bytes 0-9/20":                        {0, 9, 20},
		"bytes 10-19/20":                      {10, 19, 20},
		"bytes 0-0/1":                         {0, 0, 1},
		"bytes 0-9/*":                         {0, 9, -1},
		"bytes */20":                          {-1, -1, 20},
		"bytes */0":                           {-1, -1, 0},
		"bytes */*":                           {-1, -1, -1},
		"bytes 0-5497558138879/5497558138880": {0, 5497558138879, 5497558138880},
	} {
		if got, err := parseContentRange(header); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", header, got, err, want)
		}
	}
	for _, header := range []string{
		"", "bytes", "bytes ", "bytes 0-9", "bytes 0-9/", "0-9/20", "bytes 9-0/20", "bytes 0-20/20", "bytes -1-9/20",
		"bytes 0-/20",
		"bytes -9/20", "bytes a-b/c", "bytes 0-9/-1", "bytes  0-9/20", "bytes 0-9/99999999999999999999", "items 0-9/20",
		"bytes +0-9/20",
	} {
		if got, err := parseContentRange(header); err == nil {
			t.Errorf("%q: no error, %+v", header, got)
		}
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 0-9/20")
	f.Add("bytes */20")
	f.Add("bytes 0-9/*")
	f.Fuzz(func(t *testing.T, header string) {
		r, err := parseContentRange(header)
		if err != nil {
			return
		}
		if r.first < 0 {
			if r.first != -1 || r.last != -1 || r.total < -1 {
				t.Fatalf("%q: %+v", header, r)
			}
			return
		}
		if r.length() < 1 || r.total != -1 && r.last >= r.total || r.final() && r.total == -1 {
			t.Fatalf("%q: %+v", header, r)
		}
	})
}

func multipartBody(meta, kind, content string) string {
	return "--b\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n" + meta + "\r\n--b\r\nContent-Type: " +
		kind + "\r\n\r\n" + content + "\r\n--b--\r\n"
}

func TestSplitMultipart(t *testing.T) {
	for _, content := range []string{"", "abc", "\r\n--bb\r\n", "--", "\r\n", strings.Repeat("x", 1<<20)} {
		meta, kind, media, err := splitMultipart(`multipart/related; boundary="b"`,
			strings.NewReader(multipartBody(`{"name":"x"}`, "text/plain", content)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(media)
		if err != nil || string(got) != content || string(meta) != `{"name":"x"}` || kind != "text/plain" {
			t.Fatalf("%.20q: meta %q, type %q, content %.20q, %v", content, meta, kind, got, err)
		}
	}
	encoded := "--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\nContent-Type: " +
		"x/y\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--b--"
	_, _, media, err := splitMultipart("multipart/related; boundary=b", strings.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(media); err != nil || string(got) != "hello" {
		t.Fatal(string(got), err)
	}
}

func FuzzMultipart(f *testing.F) {
	f.Add("multipart/related; boundary=b", []byte(multipartBody("{}", "text/plain", "abc")))
	f.Add("multipart/related; boundary=b", []byte("--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\n\r\nabc"))
	d, err := loadDescription()
	if err != nil {
		f.Fatal(err)
	}
	create, _ := d.find("POST", "files")
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		meta, _, media, err := splitMultipart(header, bytes.NewReader(body))
		if err != nil {
			return
		}
		if len(meta)+4 > len(body) {
			t.Fatalf("%d bytes of metadata from %d", len(meta), len(body))
		}
		// Neither may panic, whatever stands there.
		_, _ = d.checkBody(create.Request, meta)
		if n, err := io.Copy(io.Discard, media); err == nil && n > int64(len(body)) {
			t.Fatalf("%d bytes of content from %d", n, len(body))
		}
	})
}

func TestIDsProveThemselves(t *testing.T) {
	tr := newTree()
	a, b := &Account{Email: "a"}, &Account{Email: "b"}
	id := tr.newID(a)
	if !tr.generated(a, id) || tr.generated(b, id) || tr.generated(nil, id) || newTree().generated(a, id) {
		t.Fatal("an id is good for its account only")
	}
	for _, bad := range []string{"", "1", "0" + id[1:], id + "A", id[:32], strings.Repeat("A", 33)} {
		if tr.generated(a, bad) {
			t.Errorf("%q is taken for a generated id", bad)
		}
	}
}

func TestDraftKeepsWholeGranules(t *testing.T) {
	s := newStore(t.TempDir(), false)
	d := s.draft()
	data := bytes.Repeat([]byte("0123456789abcdef"), 3*granule/16)
	cut := io.MultiReader(bytes.NewReader(data[:granule+100]), brokenReader{})
	if err := d.readFrom(cut, int64(len(data)), true); err != errBroken || d.size != granule {
		t.Fatal(d.size, err)
	}
	if err := d.readFrom(bytes.NewReader(data[granule:2*granule+5]), 2*granule, true); err != io.ErrUnexpectedEOF ||
		d.size != 2*granule {
		t.Fatal(d.size, err)
	}
	if err := d.readFrom(bytes.NewReader(data[2*granule:]), granule, true); err != nil || d.size != 3*granule {
		t.Fatal(d.size, err)
	}
	b := d.finish()
	f, err := b.open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, data) {
		t.Fatal(len(got), err)
	}
}

// Holes are kept as such, at the end too.
func TestDraftKeepsHoles(t *testing.T) {
	d := newStore(t.TempDir(), false).draft()
	parts := [][]byte{make([]byte, 2*granule), []byte("x"), make([]byte, 2*granule+5)}
	for _, part := range parts {
		if err := d.readFrom(bytes.NewReader(part), -1, false); err != nil {
			t.Fatal(err)
		}
	}
	b := d.finish()
	f, err := b.open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, bytes.Join(parts, nil)) || b.size != int64(len(got)) {
		t.Fatal(len(got), b.size, err)
	}
}

// A folder may hold what an earlier server left there.
func TestStoresShareAFolder(t *testing.T) {
	dir := t.TempDir()
	read := func(b *blob) string {
		f, err := b.open()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		data, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	var blobs []*blob
	for _, content := range []string{"one", "two"} {
		d := newStore(dir, false).draft()
		if err := d.readFrom(strings.NewReader(content), -1, false); err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, d.finish())
	}
	if one, two := read(blobs[0]), read(blobs[1]); one != "one" || two != "two" {
		t.Fatalf("%q, %q", one, two)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errBroken }
