package drive

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// apiModule is the Go module that ships Google's description of the Drive API.
const apiModule = "google.golang.org/api"

// description is Google's own machine-readable account of the Drive API.
type description struct {
	Parameters map[string]*schema   `json:"parameters"`
	Resources  map[string]*resource `json:"resources"`
	Schemas    map[string]*schema   `json:"schemas"`

	methods []*method
}

type resource struct {
	Methods map[string]*method `json:"methods"`
}

// method is one call of the API.
type method struct {
	ID            string             `json:"id"`
	HTTPMethod    string             `json:"httpMethod"`
	Path          string             `json:"path"`
	Parameters    map[string]*schema `json:"parameters"`
	Request       *schema            `json:"request"`
	Response      *schema            `json:"response"`
	MediaUpload   *mediaUpload       `json:"mediaUpload"`
	MediaDownload bool               `json:"supportsMediaDownload"`
	Scopes        []string           `json:"scopes"`

	segments []string
}

type mediaUpload struct {
	MaxSize string `json:"maxSize"`
}

// schema describes a parameter, or a value in a body.
type schema struct {
	Ref                  string             `json:"$ref"`
	Type                 string             `json:"type"`
	Format               string             `json:"format"`
	Enum                 []string           `json:"enum"`
	Minimum              string             `json:"minimum"`
	Maximum              string             `json:"maximum"`
	Required             bool               `json:"required"`
	Repeated             bool               `json:"repeated"`
	Location             string             `json:"location"`
	Properties           map[string]*schema `json:"properties"`
	Items                *schema            `json:"items"`
	AdditionalProperties *schema            `json:"additionalProperties"`
}

// loadDescription reads the description once in a process.
var loadDescription = sync.OnceValues(func() (*description, error) {
	dir, err := apiModuleDir()
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(dir, "drive", "v3", "drive-api.json"))
	if err != nil {
		return nil, fmt.Errorf("read Google's description of the Drive API: %w", err)
	}
	return parseDescription(data)
})

// apiModuleDir asks the go tool where the module's files are. A fresh clone may
// not have them yet: then they are downloaded.
func apiModuleDir() (string, error) {
	list := []string{"list", "-m", "-f", "{{.Dir}}", apiModule}
	dir, err := goTool(list...)
	if err == nil && dir == "" {
		if _, err = goTool("mod", "download", apiModule); err == nil {
			dir, err = goTool(list...)
		}
	}
	if err == nil && dir == "" {
		err = errors.New("the go tool names no folder")
	}
	if err != nil {
		return "", fmt.Errorf("find module %s (the emulator checks requests by its drive-api.json): %w", apiModule, err)
	}
	return dir, nil
}

// goTool runs the go tool in this package's folder if the source is there, so
// that a program that was started elsewhere still asks about this module.
func goTool(args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		if _, err := os.Stat(file); err == nil {
			cmd.Dir = filepath.Dir(file)
		}
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(string(out)), nil
}

func parseDescription(data []byte) (*description, error) {
	d := &description{}
	if err := json.Unmarshal(data, d); err != nil {
		return nil, fmt.Errorf("parse Google's description of the Drive API: %w", err)
	}
	for _, r := range d.Resources {
		for _, m := range r.Methods {
			m.segments = strings.Split(m.Path, "/")
			d.methods = append(d.methods, m)
		}
	}
	if len(d.methods) == 0 {
		return nil, errors.New("parse Google's description of the Drive API: it names no methods")
	}
	return d, nil
}

// find returns the method for a path below /drive/v3/ and the values of the
// path's parameters, or nil. Fixed segments win over parameters: files/trash
// and files/generateIds are not files.
func (d *description) find(httpMethod, path string) (*method, map[string]string) {
	segments := strings.Split(path, "/")
	var found *method
	fixed := -1
	for _, m := range d.methods {
		if m.HTTPMethod != httpMethod || len(m.segments) != len(segments) {
			continue
		}
		n := 0
		ok := true
		for i, want := range m.segments {
			if strings.HasPrefix(want, "{") {
				ok = ok && segments[i] != ""
			} else if want == segments[i] {
				n++
			} else {
				ok = false
			}
		}
		if ok && n > fixed {
			found, fixed = m, n
		}
	}
	if found == nil {
		return nil, nil
	}
	params := map[string]string{}
	for i, want := range found.segments {
		if name, ok := strings.CutPrefix(want, "{"); ok {
			params[strings.TrimSuffix(name, "}")] = segments[i]
		}
	}
	return found, params
}

func violation(location, format string, args ...any) *apiError {
	return &apiError{
		Code: 400, Reason: "invalidParameter", Message: fmt.Sprintf(format, args...),
		LocationType: "parameter", Location: location, violation: true,
	}
}

// checkQuery checks the query parameters of a call.
func (d *description) checkQuery(m *method, query url.Values, upload bool) *apiError {
	for _, name := range slices.Sorted(maps.Keys(query)) {
		p := m.Parameters[name]
		if p == nil || p.Location != "query" {
			p = d.Parameters[name]
		}
		if p == nil {
			return violation(name, "unknown query parameter %q for %s", name, m.ID)
		}
		if len(query[name]) > 1 && !p.Repeated {
			return violation(name, "query parameter %q is given %d times", name, len(query[name]))
		}
		for _, value := range query[name] {
			if err := p.checkText(name, value); err != nil {
				return err
			}
		}
	}
	for name, p := range m.Parameters {
		if p.Required && p.Location == "query" && !query.Has(name) {
			return violation(name, "required parameter %q is missing", name)
		}
	}
	if query.Get("alt") == "media" && !m.MediaDownload {
		return violation("alt", "%s has no alt=media", m.ID)
	}
	if query.Get("alt") == "proto" {
		return violation("alt", "alt=proto is not emulated")
	}
	if upload {
		if m.MediaUpload == nil {
			return violation("uploadType", "%s takes no upload", m.ID)
		}
		if t := query.Get("uploadType"); t != "media" && t != "multipart" && t != "resumable" {
			return violation("uploadType", "uploadType %q is none of media, multipart, resumable", t)
		}
	}
	return nil
}

// checkText checks a parameter's value.
func (p *schema) checkText(name, value string) *apiError {
	switch p.Type {
	case "boolean":
		if value != "true" && value != "false" {
			return violation(name, "Invalid boolean value: '%s'.", value)
		}
	case "integer":
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			return violation(name, "Invalid integer value: '%s'.", value)
		}
		minimum, errMin := strconv.ParseInt(p.Minimum, 10, 64)
		maximum, errMax := strconv.ParseInt(p.Maximum, 10, 64)
		if errMin == nil && n < minimum || errMax == nil && n > maximum {
			return violation(name, "Invalid value '%s'. Values must be within the range: [%s, %s]", value, p.Minimum,
				p.Maximum)
		}
	}
	if len(p.Enum) > 0 && !slices.Contains(p.Enum, value) {
		return violation(name, "Invalid string value: '%s'. Allowed values: [%s]", value, strings.Join(p.Enum, ", "))
	}
	return nil
}

// checkBody decodes a request's JSON and checks it against the schema. An empty
// body is an empty object.
func (d *description) checkBody(s *schema, data []byte) (map[string]any, *apiError) {
	if len(bytes.TrimSpace(data)) == 0 {
		return map[string]any{}, nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var body any
	err := dec.Decode(&body)
	if err == nil {
		if _, more := dec.Token(); more != io.EOF {
			err = errors.New("data after the JSON document")
		}
	}
	if err != nil {
		return nil, &apiError{Code: 400, Reason: "parseError", Message: "Parse Error: " + err.Error(), violation: true}
	}
	if body == nil {
		return map[string]any{}, nil // Google's Go client sends null for a nil resource
	}
	object, ok := body.(map[string]any)
	if !ok {
		return nil, &apiError{Code: 400, Reason: "parseError", Message: "Parse Error: the body is no JSON object",
			violation: true}
	}
	if err := d.checkValue("", s, object); err != nil {
		return nil, err
	}
	return object, nil
}

func (d *description) resolve(s *schema) *schema {
	for s != nil && s.Ref != "" {
		s = d.Schemas[s.Ref]
	}
	return s
}

// checkValue checks a decoded JSON value. null is allowed everywhere: it clears
// a field.
func (d *description) checkValue(path string, s *schema, value any) *apiError {
	s = d.resolve(s)
	if s == nil || value == nil {
		return nil
	}
	wrong := func() *apiError {
		return &apiError{
			Code: 400, Reason: "invalid", Message: fmt.Sprintf("Invalid value for field %q: want %s %s", path, s.Type,
				s.Format),
			LocationType: "other", Location: path, violation: true,
		}
	}
	switch s.Type {
	case "object":
		object, ok := value.(map[string]any)
		if !ok {
			return wrong()
		}
		for _, name := range slices.Sorted(maps.Keys(object)) {
			property := s.Properties[name]
			if property == nil {
				property = s.AdditionalProperties
			}
			inner := strings.TrimPrefix(path+"."+name, ".")
			if property == nil {
				return &apiError{
					Code: 400, Reason: "invalid", Message: fmt.Sprintf("Unknown field %q in the request body", inner),
					LocationType: "other", Location: inner, violation: true,
				}
			}
			if err := d.checkValue(inner, property, object[name]); err != nil {
				return err
			}
		}
	case "array":
		list, ok := value.([]any)
		if !ok {
			return wrong()
		}
		for i, element := range list {
			if err := d.checkValue(fmt.Sprintf("%s[%d]", path, i), s.Items, element); err != nil {
				return err
			}
		}
	case "boolean":
		if _, ok := value.(bool); !ok {
			return wrong()
		}
	case "integer", "number":
		number, ok := value.(json.Number)
		if !ok {
			return wrong()
		}
		if _, err := number.Int64(); err != nil && s.Type == "integer" {
			return wrong()
		}
	case "string":
		text, ok := value.(string)
		if number, isNumber := value.(json.Number); isNumber && s.Format == "int64" {
			text, ok = number.String(), true // Google takes both forms of an int64
		}
		if !ok || !validFormat(s.Format, text) || len(s.Enum) > 0 && !slices.Contains(s.Enum, text) {
			return wrong()
		}
	}
	return nil
}

func validFormat(format, text string) bool {
	var err error
	switch format {
	case "int64":
		_, err = strconv.ParseInt(text, 10, 64)
	case "date-time":
		_, err = time.Parse(time.RFC3339Nano, text)
	case "byte":
		if _, err = base64.StdEncoding.DecodeString(text); err != nil {
			_, err = base64.URLEncoding.DecodeString(text)
		}
	}
	return err == nil
}
