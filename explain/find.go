package explain

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"sitesync/avalon"
)

const (
	// maxFound bounds the representations that are found by a path.
	maxFound = 50
	// maxDepth is how many folders a path may have; MongoDB's regular expressions nest no deeper than 250.
	maxDepth = 100
)

// found is what was asked for.
type found struct {
	key     avalon.Key
	rep     *avalon.Representation // nil if there is a problem
	problem string                 // of a document that is malformed
	files   []*avalon.File         // of rep, those that were asked for
	others  []string               // ids of other representations that have the path, the newest first
	more    bool                   // there are more of them
}

// Representation returns the id of the representation that [Explainer.Explain] would explain, of a project of those.
// The error is a *NotFoundError if there is none that can be synced.
func (e *Explainer) Representation(ctx context.Context, project string, projects []string, asked string) (
	avalon.ID, error) {
	found, err := e.find(ctx, project, projects, asked)
	if err != nil {
		return avalon.ID{}, err
	}
	if found.problem != "" {
		return avalon.ID{}, notFound("%s; fix the document, or publish again", found.problem)
	}
	return found.key.ID, nil
}

// find finds what was asked for.
func (e *Explainer) find(ctx context.Context, project string, projects []string, asked string) (*found, error) {
	key, rep, err := e.Store.Find(ctx, project, asked)
	if !errors.Is(err, avalon.ErrNotFound) {
		return foundOf(key, rep, err)
	}
	pattern, ignoreCase, err := pathPattern(asked)
	if err != nil {
		return nil, err
	}
	named, err := e.Store.FindPath(ctx, project, pattern, ignoreCase, maxFound)
	if err != nil {
		return nil, err
	}
	if len(named) == 0 {
		return nil, e.nowhere(ctx, project, projects, asked)
	}
	// What follows the root counts in full: of /mnt/a/b, {root}/a/b is meant rather than {root}/b.
	depth := func(n avalon.PathMatch) int { return len(parts(n.Path)) }
	deepest := depth(slices.MaxFunc(named, func(a, b avalon.PathMatch) int { return depth(a) - depth(b) }))
	more := len(named) == maxFound
	if len(parts(asked)) > 1 {
		named = slices.DeleteFunc(named, func(n avalon.PathMatch) bool { return depth(n) < deepest })
	}
	rep, err = e.Store.Representation(ctx, named[0].Key)
	f, err := foundOf(named[0].Key, rep, err)
	if errors.Is(err, avalon.ErrNotFound) {
		return nil, notFound("representation %s was just removed, as it is being published again; try again",
			named[0].Key)
	}
	if err != nil {
		return nil, err
	}
	f.more = more
	for _, n := range named[1:] {
		f.others = append(f.others, n.Key.ID.String())
	}
	if ignoreCase {
		pattern = "(?i)" + pattern
	}
	fits, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	f.files = slices.DeleteFunc(f.files, func(file *avalon.File) bool { return !fits.MatchString(file.Path) })
	return f, nil
}

// foundOf is what was found by reading a representation; the error is that of reading, unless it is a malformed one.
func foundOf(key avalon.Key, rep *avalon.Representation, err error) (*found, error) {
	f := &found{key: key, rep: rep, others: []string{}}
	if malformed := new(avalon.MalformedError); errors.As(err, &malformed) {
		f.problem = malformed.Error()
		return f, nil
	}
	if err != nil {
		return nil, err
	}
	for i := range rep.Files {
		f.files = append(f.files, &rep.Files[i])
	}
	return f, nil
}

// nowhere is the error if nothing was found. It names another project that has it.
func (e *Explainer) nowhere(ctx context.Context, project string, projects []string, asked string) error {
	if strings.ContainsAny(asked, `/\`) {
		return notFound("no representation of project %s names %s: check the path and the project; "+
			"what was not published by Pype is not synced", project, asked)
	}
	for _, other := range projects {
		_, _, err := e.Store.Find(ctx, other, asked)
		if err == nil {
			return notFound("project %s has no representation %s, but project %s has", project, asked, other)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return notFound("project %s has no representation %s, and no file of that name: it was deleted, "+
		"or published again under another id", project, asked)
}

// parts are the names in a path of any system.
func parts(path string) []string {
	return slices.DeleteFunc(strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '\\' }),
		func(name string) bool { return name == "." })
}

const (
	separator = `[/\\]+`
	end       = `\z` // to MongoDB, $ also is before a line's end
)

// pathPattern is a regular expression, of Go and of MongoDB, for the paths of documents that a path may mean: those
// that have its end after their root, as it is not known under which root its user sees the storage.
func pathPattern(asked string) (pattern string, ignoreCase bool, err error) {
	names := parts(asked)
	switch {
	case len(names) == 0:
		return "", false, notFound("%q is neither an id nor a path", asked)
	case len(names) > maxDepth:
		return "", false, notFound("the path has %d folders, more than any path that is synced", len(names)-1)
	case !utf8.ValidString(asked) || strings.ContainsRune(asked, 0):
		return "", false, notFound("the path %q is not UTF-8, or contains NUL", asked)
	}
	root := `\{root(?:\[[^\]]*\])?\}`
	if strings.HasPrefix(names[0], "{root") {
		if len(names) == 1 {
			return "", false, notFound("%q is a root, not a file", asked)
		}
		return "^" + regexp.QuoteMeta(names[0]) + separator + joined(names[1:]) + end, false, nil
	}
	if len(names) == 1 && !strings.ContainsAny(asked, `/\`) {
		return `[/\\}]` + joined(names) + end, false, nil // the name of a file, wherever it is
	}
	// Windows ignores case.
	ignoreCase = strings.Contains(asked, `\`) || len(names[0]) == 2 && names[0][1] == ':'
	below := escaped(names[0])
	for _, name := range names[1:] {
		below = "(?:" + below + separator + ")?" + escaped(name)
	}
	// Some hosts publish paths without a root, as they saw them.
	return "^(?:" + root + separator + below + `|[/\\]*` + joined(names) + ")" + end, ignoreCase, nil
}

// joined matches a path of these names, which have no slash in them.
func joined(names []string) string {
	return strings.ReplaceAll(escaped(strings.Join(names, "/")), "/", separator)
}

// escaped matches a name. Braces may be doubled in a document, as it has format strings. What stands for the number of
// a frame matches one with at least so many digits.
func escaped(name string) string {
	quoted := strings.NewReplacer(`\{`, `\{{1,2}`, `\}`, `\}{1,2}`).Replace(regexp.QuoteMeta(name))
	return frameNumber.ReplaceAllStringFunc(quoted, func(number string) string {
		digits := len(number)
		if number[0] == '%' {
			digits = int(number[2] - '0')
		}
		return fmt.Sprintf(`(?:%s|[0-9]{%d,})`, number, digits)
	})
}

// frameNumber is how the paths of sequences are written: name.####.exr or name.%04d.exr.
var frameNumber = regexp.MustCompile(`#{2,20}|%0[1-9]d`)

// notFound means that there is nothing to explain.
func notFound(format string, args ...any) error { return &NotFoundError{fmt.Errorf(format, args...)} }
