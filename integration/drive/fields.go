package drive

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// maxMaskDepth bounds the nesting of a fields mask.
const maxMaskDepth = 32

// mask is a parsed `fields` parameter: the names that are wanted, each with the
// mask of its inside. A mask without names wants everything.
type mask struct {
	names map[string]*mask
}

// parseMask reads a mask such as "nextPageToken, files(id,owners/emailAddress)".
func parseMask(text string) (*mask, error) {
	p := &maskParser{rest: text}
	root := &mask{}
	if err := p.list(root, 0); err != nil {
		return nil, err
	}
	if p.rest != "" {
		return nil, fmt.Errorf("unexpected %q in fields", p.rest)
	}
	return root, nil
}

type maskParser struct{ rest string }

func (p *maskParser) space() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

func (p *maskParser) accept(token string) bool {
	p.space()
	rest, ok := strings.CutPrefix(p.rest, token)
	if ok {
		p.rest = rest
	}
	return ok
}

// list reads "field, field, ..." into m.
func (p *maskParser) list(m *mask, depth int) error {
	if depth > maxMaskDepth {
		return fmt.Errorf("fields is nested deeper than %d", maxMaskDepth)
	}
	for {
		if err := p.field(m, depth); err != nil {
			return err
		}
		if !p.accept(",") {
			p.space()
			return nil
		}
	}
}

// field reads "name", "name/name", "name(list)" or "*" into m.
func (p *maskParser) field(m *mask, depth int) error {
	for {
		p.space()
		end := strings.IndexFunc(p.rest, func(r rune) bool {
			return !(r == '*' || r == '_' || r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' ||
				r >= 'A' && r <= 'Z')
		})
		if end < 0 {
			end = len(p.rest)
		}
		name := p.rest[:end]
		if name == "" {
			return fmt.Errorf("fields lacks a name before %q", p.rest)
		}
		p.rest = p.rest[end:]
		if strings.Contains(name, "*") && name != "*" {
			return fmt.Errorf("fields holds %q", name)
		}
		m = m.child(name)
		if p.accept("(") {
			if err := p.list(m, depth+1); err != nil {
				return err
			}
			if !p.accept(")") {
				return fmt.Errorf("fields lacks a closing parenthesis before %q", p.rest)
			}
			return nil
		}
		if !p.accept("/") {
			m.names = map[string]*mask{wildcard: {}} // the whole of it, whatever else is named inside
			return nil
		}
	}
}

// wildcard is the name that stands for every field.
const wildcard = "*"

func (m *mask) child(name string) *mask {
	if m.names == nil {
		m.names = map[string]*mask{}
	}
	c := m.names[name]
	if c == nil {
		c = &mask{}
		m.names[name] = c
	}
	return c
}

// everything reports whether no field is left out.
func (m *mask) everything() bool {
	return m == nil || len(m.names) == 0 || m.names[wildcard] != nil
}

// wants reports whether the field is wanted.
func (m *mask) wants(name string) bool { return m.everything() || m.names[name] != nil }

// at returns the mask for the inside of a field, nil for everything.
func (m *mask) at(name string) *mask {
	if m.everything() {
		return nil
	}
	return m.names[name]
}

// checkMask finds a field that the schema does not have.
func (d *description) checkMask(m *mask, s *schema) *apiError {
	s = d.resolve(s)
	for s != nil && s.Type == "array" {
		s = d.resolve(s.Items)
	}
	for _, name := range slices.Sorted(maps.Keys(m.names)) {
		if name == wildcard {
			continue
		}
		var property *schema
		if s != nil {
			if property = s.Properties[name]; property == nil {
				property = s.AdditionalProperties
			}
		}
		if property == nil {
			return violation("fields", "Invalid field selection %s", name)
		}
		if err := d.checkMask(m.names[name], property); err != nil {
			return err
		}
	}
	return nil
}

// apply keeps of a JSON value what the mask wants.
func (m *mask) apply(value any) any {
	if m.everything() {
		return value
	}
	switch v := value.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, inner := range v {
			if m.wants(name) {
				out[name] = m.at(name).apply(inner)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, inner := range v {
			out[i] = m.apply(inner)
		}
		return out
	}
	return value
}
