package drive

import (
	"strings"
	"testing"
	"time"
)

// record is a thing that queries look at, for tests of the grammar.
type record struct {
	name, mime    string
	modified      time.Time
	trashed, mine bool
	parents       string
	properties    map[string]string
}

func (r record) matches(t queryTerm) bool {
	switch t.field {
	case "name":
		return t.compareName(r.name)
	case "mimeType":
		return t.compareText(r.mime)
	case "modifiedTime":
		return t.compareTimes(r.modified)
	case "trashed":
		return t.compareFlag(r.trashed)
	case "sharedWithMe":
		return t.compareFlag(!r.mine)
	case "parents":
		return r.parents == t.text
	case "appProperties":
		return r.properties[t.key] == t.text
	}
	panic("field " + t.field)
}

func TestQuery(t *testing.T) {
	r := record{
		name: `Valentine's Day\sh010.exr`, mime: "image/x-exr", modified: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC),
		parents: "P", mine: true, properties: map[string]string{"k": "v'"},
	}
	for q, want := range map[string]bool{
		`name = 'Valentine\'s Day\\sh010.exr'`:                        true,
		`name='VALENTINE\'S day\\SH010.exr'`:                          true, // without regard to case
		`name != 'valentine\'s day\\sh010.exr'`:                       false,
		`name = 'x'`:                                                  false,
		`name contains 'val'`:                                         true,
		`name contains 'sh010 day'`:                                   true,
		`name contains 'alentine'`:                                    false, // words by their beginning only
		`mimeType = 'image/x-exr'`:                                    true,
		`mimeType contains 'image/'`:                                  true,
		`mimeType != 'image/x-exr'`:                                   false,
		`modifiedTime > '2024-05-06T07:08:08'`:                        true,
		`modifiedTime > '2024-05-06T07:08:09Z'`:                       false,
		`modifiedTime >= '2024-05-06T09:08:09+02:00'`:                 true,
		`modifiedTime < '2024-05-07'`:                                 true,
		`modifiedTime <= '2024-05-06T07:08:08.999Z'`:                  false,
		`modifiedTime = '2024-05-06T07:08:09.000Z'`:                   true,
		`modifiedTime != '2024-05-06T07:08:09Z'`:                      false,
		`trashed = false`:                                             true,
		`trashed=true`:                                                false,
		`trashed != true`:                                             true,
		`not trashed`:                                                 true,
		`not trashed = true and sharedWithMe = false`:                 true,
		`sharedWithMe`:                                                false,
		`sharedWithMe and trashed = false`:                            false,
		`'P' in parents`:                                              true,
		`'Q' in parents`:                                              false,
		`not 'Q' in parents`:                                          true,
		`not ('P' in parents or trashed = true)`:                      false,
		`'P' in parents and (name = 'x' or mimeType = 'image/x-exr')`: true,
		`(('P' in parents))`:                                          true,
		`trashed = false or name = 'x' and name = 'y'`:                false, // from left to right
		`trashed = false or (name = 'x' and name = 'y')`:              true,
		`name = 'x' and name = 'y' or trashed = false`:                true,
		"  trashed\n=\tfalse ":                                        true,
		`appProperties has {key='k' and value='v\''}`:                 true,
		`appProperties has { key = 'k' and value = 'v' }`:             false,
	} {
		parsed, err := parseQuery(q, fileQueryFields)
		if err != nil {
			t.Errorf("%s: %v", q, err)
		} else if got := parsed.matches(r); got != want {
			t.Errorf("%s: got %v", q, got)
		}
	}
}

func TestInvalidQueries(t *testing.T) {
	for _, q := range []string{
		``, `name`, `name =`, `name = x`, `name = "x"`, `name = 'x`, `name = 'it's'`, `name = 'a\b'`, `name = 'a\`,
		`name > 'x'`, `name in 'x'`,
		`title = 'x'`, `fullText contains 'x'`, `trashed = 'true'`, `trashed = maybe`, `trashed > false`,
		`modifiedTime > 'yesterday'`,
		`modifiedTime contains '2024'`, `'P' in name`, `'P' parents`, `'P' in`, `parents in 'P'`, `parents = 'P'`,
		`name = 'x' and`,
		`and name = 'x'`, `name = 'x' name = 'y'`, `(name = 'x'`, `name = 'x')`, `()`, `not`,
		`name = 'x' & trashed = false`, `name == 'x'`,
		`appProperties has {key='k'}`, `appProperties has 'k'`, `appProperties = 'k'`, `NAME = 'x'`,
		`name = 'x' AND name = 'y'`,
		"name = '\xff'", strings.Repeat("(", 1000) + "trashed" + strings.Repeat(")", 1000),
		strings.Repeat("not ", 1000) + "trashed",
	} {
		if _, err := parseQuery(q, fileQueryFields); err == nil {
			t.Errorf("%s: no error", q)
		}
	}
}

func TestRequiredParent(t *testing.T) {
	for q, want := range map[string]string{
		`'P' in parents`: "P",
		`name = 'x' and 'P' in parents and trashed = false`:   "P",
		`name = 'x' or 'P' in parents`:                        "",
		`not 'P' in parents`:                                  "",
		`('P' in parents or 'Q' in parents) and name = 'x'`:   "",
		`'P' in parents and name = 'x' or trashed = true`:     "",
		`name = 'x' and (trashed = false and 'P' in parents)`: "P",
	} {
		parsed, err := parseQuery(q, fileQueryFields)
		if err != nil {
			t.Fatal(err)
		}
		if got := parsed.requiredParent(); got != want {
			t.Errorf("%s: %q, want %q", q, got, want)
		}
	}
}

func FuzzQuery(f *testing.F) {
	for _, q := range []string{
		`name = 'it\'s' and 'P' in parents`, `not (trashed or sharedWithMe = false)`,
		`modifiedTime >= '2024-05-06T07:08:09Z'`,
		`appProperties has {key='k' and value='v'}`, `name contains 'a b' or mimeType != 'x'`,
	} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, q string) {
		parsed, err := parseQuery(q, fileQueryFields)
		if err != nil {
			return
		}
		// A query and its negation divide the world; the parts named as needed are.
		negated, err := parseQuery("not ("+q+")", fileQueryFields)
		if err != nil {
			if strings.Contains(err.Error(), "nested") {
				return
			}
			t.Fatalf("%q parses, its negation does not: %v", q, err)
		}
		for _, r := range []record{{}, {name: "a b", trashed: true}, {parents: "P", mine: true, mime: "x"}} {
			it := everyField{r}
			if parsed.matches(it) == negated.matches(it) {
				t.Fatalf("%q and its negation agree on %+v", q, r)
			}
			if p := parsed.requiredParent(); p != "" && parsed.matches(it) && r.parents != p {
				t.Fatalf("%q matches outside of %q", q, p)
			}
		}
	})
}

// everyField answers also fields that record does not have.
type everyField struct{ record }

func (e everyField) matches(t queryTerm) bool {
	switch t.field {
	case "createdTime":
		return t.compareTimes(e.modified)
	case "starred":
		return t.compareFlag(e.trashed)
	case "owners", "writers", "readers":
		return t.text == "me"
	case "properties":
		return e.properties[t.key] == t.text
	}
	return e.record.matches(t)
}
