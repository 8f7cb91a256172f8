package drive

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	allFiles = `"files":[{"id":"1","name":"a","owners":[{"emailAddress":"e","me":true}],` +
		`"appProperties":{"x":"1","y":"2"}},{"id":"2"}]`
	document = `{"kind":"k","nextPageToken":"t",` + allFiles + `}`
)

func TestMask(t *testing.T) {
	for text, want := range map[string]string{
		`*`:                                `(all)`,
		`kind`:                             `{"kind":"k"}`,
		`nextPageToken, files(id, name)`:   `{"nextPageToken":"t","files":[{"id":"1","name":"a"},{"id":"2"}]}`,
		`files/id`:                         `{"files":[{"id":"1"},{"id":"2"}]}`,
		`files/id,files/name`:              `{"files":[{"id":"1","name":"a"},{"id":"2"}]}`,
		`files(id),kind,files(name)`:       `{"kind":"k","files":[{"id":"1","name":"a"},{"id":"2"}]}`,
		`files(id),files`:                  `{` + allFiles + `}`,
		`files,files(id)`:                  `{` + allFiles + `}`,
		`files(owners/me,appProperties/y)`: `{"files":[{"owners":[{"me":true}],"appProperties":{"y":"2"}},{}]}`,
		`files(owners(me),id)`:             `{"files":[{"owners":[{"me":true}],"id":"1"},{"id":"2"}]}`,
		`files/owners(emailAddress)`:       `{"files":[{"owners":[{"emailAddress":"e"}]},{}]}`,
		`files(*)`:                         `{` + allFiles + `}`,
		`kind,*`:                           `(all)`,
		`incompleteSearch`:                 `{}`,
	} {
		m, err := parseMask(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if want == "(all)" {
			want = document
		}
		var have, expected any
		if err := json.Unmarshal([]byte(document), &have); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(want), &expected); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(expected, m.apply(have)); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

func TestInvalidMasks(t *testing.T) {
	for _, text := range []string{
		``, ` `, `,`, `a,`, `,a`, `a()`, `a(`, `a(b`, `a)`, `a(b))`, `a/`, `/a`, `a//b`, `a b`, `a(b)c`, `a*`, `ä`,
		`a[0]`,
		strings.Repeat("a(", 1000) + "b" + strings.Repeat(")", 1000),
	} {
		if _, err := parseMask(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestMaskAgainstTheDescription(t *testing.T) {
	d, err := loadDescription()
	if err != nil {
		t.Fatal(err)
	}
	list, _ := d.find("GET", "files")
	for text, ok := range map[string]bool{
		`*`: true, `files(id,owners(emailAddress,me),capabilities/canEdit,appProperties/anything)`: true,
		`nextPageToken`: true,
		`id`:            false, `files(title)`: false, `files(owners(email))`: false, `files/id/x`: false,
		`files(capabilities(canFly))`: false,
	} {
		m, err := parseMask(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.checkMask(m, list.Response); (err == nil) != ok {
			t.Errorf("%s: %v, want allowed = %v", text, err, ok)
		}
	}
}

func FuzzMask(f *testing.F) {
	for _, text := range []string{`*`, `a,b(c,d/e)`, `files(id, name),nextPageToken`, `a/b(c)`} {
		f.Add(text)
	}
	var have any
	if err := json.Unmarshal([]byte(document), &have); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseMask(text)
		if err != nil {
			return
		}
		once := m.apply(have)
		if diff := cmp.Diff(once, m.apply(once)); diff != "" {
			t.Fatalf("%q is not idempotent: %s", text, diff)
		}
		wider, err := parseMask(text + ",kind")
		if err != nil {
			t.Fatalf("%q parses, with another name it does not: %v", text, err)
		}
		if !wider.wants("kind") {
			t.Fatalf("%q does not want kind", text+",kind")
		}
	})
}
