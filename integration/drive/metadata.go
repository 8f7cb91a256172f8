package drive

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"slices"
	"time"
)

// Writable fields of a File. kind is taken and ignored, as Google's clients may
// send it along.
var (
	createFields = []string{
		"kind", "id", "name", "mimeType", "parents", "createdTime", "modifiedTime", "description", "starred",
		"properties", "appProperties", "originalFilename", "folderColorRgb", "writersCanShare",
		"copyRequiresWriterPermission", "viewersCanCopyContent", "viewedByMeTime", "contentHints", "shortcutDetails",
	}
	updateFields = []string{
		"kind", "name", "mimeType", "modifiedTime", "description", "starred", "trashed",
		"properties", "appProperties", "originalFilename", "folderColorRgb", "writersCanShare",
		"copyRequiresWriterPermission", "viewersCanCopyContent", "viewedByMeTime", "contentHints",
	}
	// ownFields are not kept in item.extra: they have a place of their own, or
	// (contentHints) are never shown.
	ownFields = []string{"kind", "id", "name", "mimeType", "parents", "createdTime", "modifiedTime", "trashed",
		"contentHints", "shortcutDetails"}
)

// metadata is a checked request body.
type metadata struct {
	// Empty and zero are not given.
	id, name, mime    string
	parent            string
	shortcutTarget    string // id
	created, modified time.Time
	trashed           *bool
	extra             map[string]any // null deletes
}

// parseMetadata checks the JSON of a create or update.
func (c *call) parseMetadata(data []byte) (*metadata, *apiError) {
	body, err := c.s.api.checkBody(c.m.Request, data)
	if err != nil {
		return nil, err
	}
	create := c.m.ID == "drive.files.create"
	m := &metadata{extra: map[string]any{}}
	writable := updateFields
	if create {
		writable = createFields
	}
	for name, value := range body {
		if !slices.Contains(writable, name) {
			if name == "parents" {
				return nil, &apiError{Code: 403, Reason: "fieldNotWritable",
					Message: "The parents field is not directly writable in update requests. Use the addParents and " +
						"removeParents parameters instead."}
			}
			return nil, errNotWritable()
		}
		if !slices.Contains(ownFields, name) {
			m.extra[name] = value
		}
	}
	text := func(name string) string {
		value, _ := body[name].(string) // null is not given
		return value
	}
	m.id, m.name, m.mime = text("id"), text("name"), text("mimeType")
	m.created, _ = time.Parse(time.RFC3339Nano, text("createdTime")) // the format was checked
	m.modified, _ = time.Parse(time.RFC3339Nano, text("modifiedTime"))
	if trashed, ok := body["trashed"].(bool); ok {
		m.trashed = &trashed
	}
	if parents, ok := body["parents"].([]any); ok && len(parents) > 0 {
		if len(parents) > 1 {
			return nil, &apiError{Code: 403, Reason: "cannotAddParent",
				Message: "Increasing the number of parents is not allowed"}
		}
		m.parent, _ = parents[0].(string)
	}
	details, _ := body["shortcutDetails"].(map[string]any)
	m.shortcutTarget, _ = details["targetId"].(string)
	if (m.mime == shortcutType) != (m.shortcutTarget != "") && create {
		return nil, errInvalidShortcut("A shortcut has a targetId, and nothing else has one.")
	}
	c.target = or(c.target, m.name)
	return m, nil
}

// metadata reads a create or update whose whole body is JSON.
func (c *call) metadata() (*metadata, error) {
	data, err := io.ReadAll(io.LimitReader(c.r.Body, maxMetadata+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxMetadata {
		return nil, errBadRequest("The metadata is too large.")
	}
	if len(bytes.TrimSpace(data)) > 0 {
		if kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type")); err != nil ||
			kind != "application/json" {
			return nil, &apiError{Code: 400, Reason: "badContent", violation: true,
				Message: fmt.Sprintf("Unsupported content with type: %s", c.r.Header.Get("Content-Type"))}
		}
	}
	m, refused := c.parseMetadata(data)
	if refused != nil {
		return nil, refused
	}
	return m, nil
}
