package drive

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxQueryDepth bounds the nesting of parentheses and nots in a query.
const maxQueryDepth = 64

// query is a parsed `q` parameter of files.list or drives.list.
type query struct {
	op          queryOp
	left, right *query    // and, or; not has only left
	term        queryTerm // for opTerm
}

type queryOp int

const (
	opTerm queryOp = iota
	opAnd
	opOr
	opNot
)

// queryTerm is a comparison such as name = 'x', or a membership: 'x' in parents.
type queryTerm struct {
	field, op string
	text      string
	flag      bool
	when      time.Time
	key       string // of properties has {key='...' and value='...'}
}

// searchable is what a query looks at.
type searchable interface {
	// matches decides a term.
	matches(t queryTerm) bool
}

// fileQueryFields maps the fields of files.list to the operators that they take.
var fileQueryFields = map[string]string{
	"name":         "= != contains",
	"mimeType":     "= != contains",
	"createdTime":  "<= < = != > >=",
	"modifiedTime": "<= < = != > >=",
	"trashed":      "= !=",
	"starred":      "= !=",
	"sharedWithMe": "= !=",
	"parents":      "in",
	// Not "= !=", which is a flag's.
	"shortcutDetails.targetId": "!= =",
	"owners":                   "in",
	"writers":                  "in",
	"readers":                  "in",
	"properties":               "has",
	"appProperties":            "has",
}

// driveQueryFields are those of drives.list.
var driveQueryFields = map[string]string{
	"name":        "= != contains",
	"createdTime": "<= < = != > >=",
	"hidden":      "= !=",
}

// parseQuery reads a query over the given fields.
func parseQuery(text string, fields map[string]string) (*query, error) {
	p := &queryParser{rest: text, fields: fields}
	if err := p.next(); err != nil {
		return nil, err
	}
	q, err := p.expression(0)
	if err != nil {
		return nil, err
	}
	if p.token.kind != tokenEnd {
		return nil, fmt.Errorf("unexpected %q", p.token.text)
	}
	return q, nil
}

// matches evaluates the query. A nil query matches everything.
func (q *query) matches(it searchable) bool {
	if q == nil {
		return true
	}
	switch q.op {
	case opAnd:
		return q.left.matches(it) && q.right.matches(it)
	case opOr:
		return q.left.matches(it) || q.right.matches(it)
	case opNot:
		return !q.left.matches(it)
	}
	return it.matches(q.term)
}

// parents lists every folder that the query names.
func (q *query) parents() []string {
	if q == nil {
		return nil
	}
	if q.op == opTerm {
		if q.term.field == "parents" {
			return []string{q.term.text}
		}
		return nil
	}
	return append(q.left.parents(), q.right.parents()...)
}

// requiredParent returns a folder in which every match must be, or "".
func (q *query) requiredParent() string {
	switch {
	case q == nil:
		return ""
	case q.op == opTerm && q.term.field == "parents":
		return q.term.text
	case q.op == opAnd:
		return or(q.left.requiredParent(), q.right.requiredParent())
	}
	return ""
}

type tokenKind int

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenString
	tokenSymbol
)

type queryToken struct {
	kind tokenKind
	text string
}

type queryParser struct {
	rest   string
	token  queryToken
	fields map[string]string
}

// next reads the next token.
func (p *queryParser) next() error {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	switch {
	case p.rest == "":
		p.token = queryToken{}
		return nil
	case p.rest[0] == '\'':
		text, rest, err := quoted(p.rest)
		p.token, p.rest = queryToken{tokenString, text}, rest
		return err
	}
	for _, symbol := range []string{"<=", ">=", "!=", "<", ">", "=", "(", ")", "{", "}"} {
		if rest, ok := strings.CutPrefix(p.rest, symbol); ok {
			p.token, p.rest = queryToken{tokenSymbol, symbol}, rest
			return nil
		}
	}
	end := strings.IndexFunc(p.rest, func(r rune) bool { return r != '.' && (r > 'z' || !unicode.IsLetter(r)) })
	if end < 0 {
		end = len(p.rest)
	}
	if end == 0 {
		return fmt.Errorf("unexpected %q", p.rest)
	}
	p.token, p.rest = queryToken{tokenWord, p.rest[:end]}, p.rest[end:]
	return nil
}

// quoted reads a string in single quotes; \' and \\ are the only escapes.
func quoted(text string) (value, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\'':
			if !utf8.ValidString(b.String()) {
				return "", "", errors.New("string is not UTF-8")
			}
			return b.String(), text[i+1:], nil
		case '\\':
			i++
			if i == len(text) || text[i] != '\'' && text[i] != '\\' {
				return "", "", errors.New("unknown escape in a string")
			}
		}
		b.WriteByte(text[i])
	}
	return "", "", errors.New("string without end")
}

func (p *queryParser) is(kind tokenKind, text string) bool {
	return p.token.kind == kind && p.token.text == text
}

func (p *queryParser) expect(kind tokenKind, text string) error {
	if !p.is(kind, text) {
		return fmt.Errorf("want %q, not %q", text, p.token.text)
	}
	return p.next()
}

// expression reads terms joined by and / or. Google's documentation says that
// both are evaluated from left to right, so neither binds stronger.
func (p *queryParser) expression(depth int) (*query, error) {
	left, err := p.operand(depth)
	for err == nil && (p.is(tokenWord, "and") || p.is(tokenWord, "or")) {
		op := opAnd
		if p.token.text == "or" {
			op = opOr
		}
		if err := p.next(); err != nil {
			return nil, err
		}
		right, err := p.operand(depth)
		if err != nil {
			return nil, err
		}
		left = &query{op: op, left: left, right: right}
	}
	return left, err
}

func (p *queryParser) operand(depth int) (*query, error) {
	if depth > maxQueryDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxQueryDepth)
	}
	switch {
	case p.is(tokenWord, "not"):
		if err := p.next(); err != nil {
			return nil, err
		}
		inner, err := p.operand(depth + 1)
		if err != nil {
			return nil, err
		}
		return &query{op: opNot, left: inner}, nil
	case p.is(tokenSymbol, "("):
		if err := p.next(); err != nil {
			return nil, err
		}
		inner, err := p.expression(depth + 1)
		if err != nil {
			return nil, err
		}
		return inner, p.expect(tokenSymbol, ")")
	case p.token.kind == tokenString:
		return p.membership()
	case p.token.kind == tokenWord:
		return p.comparison()
	}
	return nil, fmt.Errorf("unexpected %q", p.token.text)
}

// membership reads 'x' in parents.
func (p *queryParser) membership() (*query, error) {
	t := queryTerm{op: "in", text: p.token.text}
	if err := p.next(); err != nil {
		return nil, err
	}
	if err := p.expect(tokenWord, "in"); err != nil {
		return nil, err
	}
	t.field = p.token.text
	if p.token.kind != tokenWord || p.fields[t.field] != "in" {
		return nil, fmt.Errorf("%q is no collection", t.field)
	}
	return &query{term: t}, p.next()
}

// comparison reads field op value, or the name of a boolean field alone.
func (p *queryParser) comparison() (*query, error) {
	t := queryTerm{field: p.token.text}
	ops, ok := p.fields[t.field]
	if !ok || ops == "in" {
		return nil, fmt.Errorf("unknown or not emulated field %q", t.field)
	}
	if err := p.next(); err != nil {
		return nil, err
	}
	boolean := ops == "= !="
	if boolean && !(p.token.kind == tokenSymbol && strings.ContainsAny(p.token.text, "=!<>")) {
		t.op, t.flag = "=", true
		return &query{term: t}, nil
	}
	t.op = p.token.text
	if p.token.kind == tokenString || p.token.kind == tokenEnd || !strings.Contains(" "+ops+" ", " "+t.op+" ") {
		return nil, fmt.Errorf("%s takes one of %q, not %q", t.field, ops, t.op)
	}
	if err := p.next(); err != nil {
		return nil, err
	}
	if t.op == "has" {
		return p.property(t)
	}
	switch {
	case boolean:
		if p.token.kind != tokenWord || p.token.text != "true" && p.token.text != "false" {
			return nil, fmt.Errorf("%s is true or false, not %q", t.field, p.token.text)
		}
		t.flag = p.token.text == "true"
	case p.token.kind != tokenString:
		return nil, fmt.Errorf("%s wants a string, not %q", t.field, p.token.text)
	default:
		t.text = p.token.text
		if strings.Contains(ops, "<") {
			var err error
			if t.when, err = queryTime(t.text); err != nil {
				return nil, err
			}
		}
	}
	return &query{term: t}, p.next()
}

// property reads {key='k' and value='v'}.
func (p *queryParser) property(t queryTerm) (*query, error) {
	text := func(name string) (string, error) {
		if err := p.expect(tokenWord, name); err != nil {
			return "", err
		}
		if err := p.expect(tokenSymbol, "="); err != nil {
			return "", err
		}
		value := p.token.text
		if p.token.kind != tokenString {
			return "", fmt.Errorf("%s wants a string, not %q", name, value)
		}
		return value, p.next()
	}
	err := p.expect(tokenSymbol, "{")
	if err == nil {
		t.key, err = text("key")
	}
	if err == nil {
		err = p.expect(tokenWord, "and")
	}
	if err == nil {
		t.text, err = text("value")
	}
	if err == nil {
		err = p.expect(tokenSymbol, "}")
	}
	return &query{term: t}, err
}

// queryTime reads RFC 3339; the zone is UTC if there is none.
func queryTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time", text)
}

// compareTimes decides t.op between a thing's time and the term's.
func (t queryTerm) compareTimes(have time.Time) bool {
	c := have.Truncate(time.Millisecond).Compare(t.when)
	switch t.op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	case ">=":
		return c >= 0
	case "!=":
		return c != 0
	}
	return c == 0
}

// compareName decides t.op for a name. Drive compares names without regard to
// case; contains looks for words that begin with each word of the text.
func (t queryTerm) compareName(have string) bool {
	switch t.op {
	case "contains":
		words := nameWords(have)
		for _, want := range nameWords(t.text) {
			found := false
			for _, word := range words {
				found = found || strings.HasPrefix(word, want)
			}
			if !found {
				return false
			}
		}
		return true
	case "!=":
		return !strings.EqualFold(have, t.text)
	}
	return strings.EqualFold(have, t.text)
}

func nameWords(name string) []string {
	return strings.FieldsFunc(strings.ToLower(name),
		func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) })
}

// compareText decides t.op for a text that is not a name.
func (t queryTerm) compareText(have string) bool {
	switch t.op {
	case "contains":
		return strings.Contains(have, t.text)
	case "!=":
		return have != t.text
	}
	return have == t.text
}

// compareFlag decides t.op for a boolean.
func (t queryTerm) compareFlag(have bool) bool { return (have == t.flag) == (t.op == "=") }
