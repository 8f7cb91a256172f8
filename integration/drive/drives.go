package drive

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// drive finds a shared drive of which the account is a member. The tree must be
// locked.
func (t *tree) drive(a *Account, id string) *SharedDrive {
	for _, d := range t.drives {
		if d.ID == id && d.members[a] != NoRole {
			return d
		}
	}
	return nil
}

// driveInQuery is a shared drive as a query looks at it.
type driveInQuery struct{ *SharedDrive }

// matches decides a term for the drive.
func (d driveInQuery) matches(t queryTerm) bool {
	switch t.field {
	case "name":
		return t.compareName(d.Name)
	case "createdTime":
		return t.compareTimes(d.created)
	case "hidden":
		return t.compareFlag(false)
	}
	return false
}

// resource is the Drive as the account sees it.
func (d *SharedDrive) resource(by *Account) map[string]any {
	r := d.members[by]
	return map[string]any{
		"kind": "drive#drive", "id": d.ID, "name": d.Name, "hidden": false, "createdTime": formatTime(d.created),
		"capabilities": map[string]any{
			"canAddChildren": r >= Writer, "canComment": r >= Commenter, "canCopy": true,
			"canDeleteChildren": r >= Organizer,
			"canDeleteDrive":    r >= Organizer, "canDownload": true, "canEdit": r >= Writer, "canListChildren": true,
			"canManageMembers": r >= Organizer, "canReadRevisions": r >= Reader, "canRename": r >= Writer,
			"canRenameDrive": r >= Organizer, "canShare": r >= ContentManager, "canTrashChildren": r >= ContentManager,
		},
		"restrictions": map[string]any{
			"adminManagedRestrictions": false, "copyRequiresWriterPermission": false,
			"domainUsersOnly": false, "driveMembersOnly": false,
		},
	}
}

// defaultDriveMask is what Google shows of a shared drive if no fields are asked
// for.
var defaultDriveMask = &mask{names: map[string]*mask{"kind": {}, "id": {}, "name": {}}}

// listDrives is drives.list, in the order in which the drives were made.
func (c *call) listDrives() error {
	c.target = c.query.Get("q")
	var q *query
	var err error
	if text := c.query.Get("q"); text != "" {
		if q, err = parseQuery(text, driveQueryFields); err != nil {
			return errInvalid("q", "Invalid Value: "+err.Error())
		}
	}
	size, _ := strconv.Atoi(or(c.query.Get("pageSize"), "10"))
	begin, err := readDriveToken(c.query.Get("q"), c.query.Get("pageToken"))
	if err != nil {
		return errInvalid("pageToken", "Invalid Value")
	}
	t := c.s.tree
	t.mu.RLock()
	defer t.mu.RUnlock()
	drives := []any{}
	doc := map[string]any{"kind": "drive#driveList"}
	for i := min(begin, len(t.drives)); i < len(t.drives); i++ {
		d := t.drives[i]
		if d.members[c.account] == NoRole || !q.matches(driveInQuery{d}) {
			continue
		}
		if len(drives) == size {
			doc["nextPageToken"] = driveToken(c.query.Get("q"), i)
			break
		}
		resource := d.resource(c.account)
		if c.mask == nil {
			resource = defaultDriveMask.apply(resource).(map[string]any)
		}
		drives = append(drives, resource)
	}
	doc["drives"] = drives
	return c.json(doc)
}

// driveToken binds the place of the next drive to the query.
func driveToken(q string, i int) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(i) + " " + q))
}

func readDriveToken(q, token string) (int, error) {
	if token == "" {
		return 0, nil
	}
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return 0, err
	}
	place, query, ok := strings.Cut(string(data), " ")
	if !ok || query != q {
		return 0, errOtherQuery
	}
	i, err := strconv.ParseUint(place, 10, 31)
	return int(i), err
}

// getDrive is drives.get.
func (c *call) getDrive() error {
	t := c.s.tree
	t.mu.RLock()
	d := t.drive(c.account, c.id)
	var doc map[string]any
	if d != nil {
		doc = d.resource(c.account)
	}
	t.mu.RUnlock()
	if d == nil {
		return errDriveNotFound(c.id)
	}
	if c.mask == nil {
		doc = defaultDriveMask.apply(doc).(map[string]any)
	}
	return c.json(doc)
}

// What Google Docs can be exported as, and made of: the formats that matter most
// of those that Google lists. Neither is emulated but as far as an upload can
// make a Doc.
var (
	exportFormats = map[string][]string{DocumentType: {
		"application/vnd.openxmlformats-officedocument.wordprocessingml.document",
		"application/vnd.oasis.opendocument.text",
		"application/pdf", "application/rtf", "text/plain", "text/html", "application/zip", "application/epub+zip",
	}}
	importFormats = map[string][]string{
		"application/vnd.openxmlformats-officedocument.wordprocessingml.document": {DocumentType},
		"text/plain": {DocumentType}, "text/html": {DocumentType}, "application/rtf": {DocumentType},
	}
)

// getAbout is about.get.
func (c *call) getAbout() error {
	if c.mask == nil {
		return &apiError{Code: 400, Reason: "required", Message: "The 'fields' parameter is required for this method.",
			LocationType: "parameter", Location: "fields", violation: true}
	}
	t := c.s.tree
	t.mu.RLock()
	var trash int64
	for _, it := range t.items {
		if it.owner == c.account && it.inTrash() {
			trash += it.size()
		}
	}
	usage, limit := c.account.usage, c.s.storageLimit(c.account)
	t.mu.RUnlock()
	quota := map[string]any{
		"usage": strconv.FormatInt(usage, 10), "usageInDrive": strconv.FormatInt(usage, 10),
		"usageInDriveTrash": strconv.FormatInt(trash, 10),
	}
	if limit >= 0 {
		quota["limit"] = strconv.FormatInt(limit, 10)
	}
	upload, _ := c.s.api.find("POST", "files")
	return c.json(map[string]any{
		"kind": "drive#about", "user": c.account.asUser(c.account), "storageQuota": quota,
		"maxUploadSize": upload.MediaUpload.MaxSize, "canCreateDrives": false, "canCreateTeamDrives": false,
		"appInstalled": false, "importFormats": importFormats, "exportFormats": exportFormats,
	})
}
