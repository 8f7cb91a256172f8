package local

import (
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/unicode/norm"

	"sitesync/site"
)

// A document names a file in one normal form and the storage has it in another, or in a mixture. What goes to the site
// has the document's name.
func TestNormalForms(t *testing.T) {
	const name = "Décor/é/Bücher Ångström 각.ma"
	nfc, nfd := norm.NFC.String(name), norm.NFD.String(name)
	mixed := "De\u0301cor/é/Bücher A\u030angström 각.ma"
	forms := map[string]string{"NFC": nfc, "NFD": nfd, "mixed": mixed}
	for document, rel := range forms {
		for storage, there := range forms {
			t.Run(document+" finds "+storage, func(t *testing.T) {
				root := t.TempDir()
				writeBelow(t, root, there)
				f,
					err := New(Options{}).Open(t.Context(), site.Location{Root: root, Rel: "/" + rel},
					site.OpenOptions{Size: 5})
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				if name, err := f.Reading()("/" + rel); name != rel || err != nil ||
					f.String() != filepath.Join(root, there) {
					t.Errorf("%+q is read as %+q, %v", f.String(), name, err)
				}
			})
		}
	}
}

// Whatever else is there: the document's own form goes first, a folder in one form does not hide the file that is in
// the other, and what is in no form is still missing under its own name.
func TestNormalFormsSideBySide(t *testing.T) {
	nfc, nfd := norm.NFC.String("é/ü.ma"), norm.NFD.String("é/ü.ma")
	for name, test := range map[string]struct {
		there []string
		want  string
	}{
		"both":                      {[]string{nfc, nfd}, nfc},
		"a folder without the file": {[]string{norm.NFC.String("é/other"), nfd}, nfd},
		"a file of another name":    {[]string{norm.NFD.String("é/ö.ma"), "e/u.ma"}, nfc},
		"nothing":                   {nil, nfc},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for _, rel := range test.there {
				writeBelow(t, root, rel)
			}
			if got := (location{root: root, rel: nfc}).spelled(); got.rel != test.want {
				t.Errorf("%+q, want %+q", got.rel, test.want)
			}
		})
	}
}

// What is there in another normal form is written to: there is no second file or folder of a name.
func TestPutInAnotherForm(t *testing.T) {
	for form, to := range map[string]norm.Form{"NFC": norm.NFC, "NFD": norm.NFD} {
		t.Run("storage in "+form, func(t *testing.T) {
			root := t.TempDir()
			writeBelow(t, root, to.String("Décor/é/ü.ma"))
			other := norm.NFD
			if to == norm.NFD {
				other = norm.NFC
			}
			s := newTarget(t, Options{})
			for rel, content := range map[string]string{"Décor/é/ü.ma": "replaced", "Décor/é/å.ma": "new",
				"Décor/ñ/ü.ma": "new folder"} {
				rel = other.String(rel)
				obj, err := s.Put(t.Context(), incoming(root, rel, content))
				if err != nil || obj.ID != path.Base(rel) || obj.Replaced != (content == "replaced") {
					t.Errorf("%+v, %v", obj, err)
				}
			}
			wantOnly(t, root, map[string]string{
				to.String("Décor/é/ü.ma"):                    "replaced",
				to.String("Décor/é/") + other.String("å.ma"): "new",
				to.String("Décor/") + other.String("ñ/ü.ma"): "new folder",
			})
		})
	}
}

// No form of a name leads out of the root.
func TestNormalFormsStayInTheRoot(t *testing.T) {
	outside, root := t.TempDir(), t.TempDir()
	writeBelow(t, outside, norm.NFD.String("é.ma"))
	must(t, os.Symlink(outside, filepath.Join(root, norm.NFD.String("ü"))))
	s := location{root: root, rel: norm.NFC.String("ü/é.ma")}.spelled()
	if f, _, err := s.open(5); err == nil || !strings.Contains(err.Error(), "out of the root") {
		t.Errorf("%q is opened as %v, %v", s, f, err)
	}
}

// What is announced as *.tmp is waited for in whatever form.
func TestTemporaryFileInAnotherForm(t *testing.T) {
	root := t.TempDir()
	writeBelow(t, root, norm.NFC.String("é.ma"))
	f,
		err := New(Options{}).Open(t.Context(), site.Location{Root: root, Rel: norm.NFC.String("/é.ma")},
		site.OpenOptions{Size: 5})
	must(t, err)
	defer f.Close()
	if announced, err := f.(site.Announcer).NewerAnnounced(t.Context()); announced || err != nil {
		t.Error("nothing is announced")
	}
	writeBelow(t, root, norm.NFD.String("é.ma.tmp"))
	if announced, err := f.(site.Announcer).NewerAnnounced(t.Context()); !announced || err != nil {
		t.Error("the temporary file is not seen")
	}
}

// A look for what is missing reads no more of a large folder than a bounded part.
func TestSpellingsAreBounded(t *testing.T) {
	root := t.TempDir()
	for i := range 50 {
		writeBelow(t, root, norm.NFD.String("é")+strconv.Itoa(i))
	}
	s := spellings{asks: 10, entries: 20}
	if _, ok := s.below(root, []string{"é", "ü", "ö"}); ok || s.asks < 0 || s.entries < 0 {
		t.Errorf("%+v", s)
	}
	began := time.Now()
	for range 1000 {
		_ = location{root: root, rel: "plain/ascii.ma"}.spelled()
	}
	t.Logf("a plain name costs %v", time.Since(began)/1000)
}

func writeBelow(t *testing.T, root, rel string) {
	t.Helper()
	at := filepath.Join(root, filepath.FromSlash(rel))
	must(t, os.MkdirAll(filepath.Dir(at), 0o700))
	must(t, os.WriteFile(at, []byte("12345"), 0o600))
}
