package drive

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// timeFormat is how Drive writes times.
const timeFormat = "2006-01-02T15:04:05.000Z"

func formatTime(t time.Time) string { return t.UTC().Format(timeFormat) }

// defaultFileMask is what Google shows of a file if no fields are asked for;
// those of the drive only for items of a shared drive.
var defaultFileMask = &mask{names: map[string]*mask{
	"kind": {}, "id": {}, "name": {}, "mimeType": {}, "driveId": {}, "teamDriveId": {},
}}

// wrongMD5 is what EffectWrongMD5 shows.
const wrongMD5 = "00000000000000000000000000000000"

// fileView is an item as an account sees it.
type fileView struct {
	it       *item
	by       *Account
	role     Role
	wrongMD5 bool

	documentSize int64 // Settings.DocumentSize
}

// fileFields make the fields of a File. nil leaves the field out.
var fileFields = map[string]func(*fileView) any{
	"kind":              func(*fileView) any { return "drive#file" },
	"id":                func(v *fileView) any { return v.it.id },
	"name":              func(v *fileView) any { return v.it.name },
	"mimeType":          func(v *fileView) any { return v.it.mime },
	"trashed":           func(v *fileView) any { return v.it.inTrash() },
	"explicitlyTrashed": func(v *fileView) any { return v.it.trashed },
	"trashedTime": func(v *fileView) any {
		return optional(v.it.trashed, func() any { return formatTime(v.it.trashAt) })
	},
	"createdTime":  func(v *fileView) any { return formatTime(v.it.created) },
	"modifiedTime": func(v *fileView) any { return formatTime(v.it.modified) },
	"version":      func(v *fileView) any { return strconv.FormatInt(v.it.version, 10) },
	"spaces":       func(*fileView) any { return []any{"drive"} },
	"driveId":      (*fileView).driveID,
	"teamDriveId":  (*fileView).driveID,
	"parents": func(v *fileView) any {
		// The folder of an item is not shown to those it is shared with.
		var ids []any
		for _, parent := range v.it.parents() {
			if parent.role(v.by) != NoRole {
				ids = append(ids, parent.id)
			}
		}
		return optional(len(ids) > 0, func() any { return ids })
	},
	"shortcutDetails": func(v *fileView) any {
		return optional(v.it.shortcut != nil, func() any {
			details := map[string]any{"targetId": v.it.shortcut.id, "targetMimeType": v.it.shortcut.mime}
			if v.it.shortcut.resourceKey != "" {
				details["targetResourceKey"] = v.it.shortcut.resourceKey
			}
			return details
		})
	},
	"resourceKey": func(v *fileView) any {
		key := v.it.resourceKey()
		return optional(key != "", func() any { return key })
	},
	"size": func(v *fileView) any {
		if n := v.documentSize; n > 0 && v.it.isDocument() {
			return strconv.FormatInt(n, 10)
		}
		return optional(v.it.content != nil, func() any { return strconv.FormatInt(v.it.size(), 10) })
	},
	"quotaBytesUsed": func(v *fileView) any { return strconv.FormatInt(v.it.size(), 10) },
	"md5Checksum": func(v *fileView) any {
		return optional(v.it.content != nil, func() any {
			if v.wrongMD5 {
				return wrongMD5
			}
			return v.it.content.md5
		})
	},
	"headRevisionId": func(v *fileView) any {
		return optional(v.it.content != nil, func() any { return fmt.Sprintf("%s-%d", v.it.id, v.it.revision) })
	},
	"originalFilename": func(v *fileView) any {
		if kept, ok := v.it.extra["originalFilename"]; ok {
			return kept
		}
		return optional(v.it.content != nil, func() any { return v.it.name })
	},
	"fileExtension": func(v *fileView) any {
		return optional(v.it.content != nil, func() any { return strings.TrimPrefix(path.Ext(v.it.name), ".") })
	},
	"owners": func(v *fileView) any {
		return optional(v.it.owner != nil, func() any { return []any{v.it.owner.asUser(v.by)} })
	},
	"ownedByMe": func(v *fileView) any {
		return optional(v.it.drive == nil, func() any { return v.it.owner == v.by })
	},
	"lastModifyingUser": func(v *fileView) any {
		return optional(v.it.modifier != nil, func() any { return v.it.modifier.asUser(v.by) })
	},
	"shared": func(v *fileView) any {
		for at := v.it; at != nil; at = at.parent {
			if len(at.shares) > 0 {
				return true
			}
		}
		return v.it.drive != nil && len(v.it.drive.members) > 0
	},
	"sharedWithMeTime": func(v *fileView) any {
		s, ok := v.it.shares[v.by]
		return optional(ok, func() any { return formatTime(s.at) })
	},
	"permissions":   (*fileView).permissions,
	"permissionIds": func(v *fileView) any { return resourceIDs(v.permissions()) },
	"capabilities":  (*fileView).capabilities,
	"webViewLink": func(v *fileView) any {
		switch {
		case v.it.isFolder():
			return "https://drive.google.com/drive/folders/" + v.it.id
		case v.it.isDocument():
			return "https://docs.google.com/" + strings.TrimPrefix(v.it.mime, nativeTypes) + "/d/" +
				v.it.id + "/edit?usp=drivesdk"
		}
		return "https://drive.google.com/file/d/" + v.it.id + "/view?usp=drivesdk"
	},
	"webContentLink": func(v *fileView) any {
		return optional(v.it.content != nil,
			func() any { return "https://drive.google.com/uc?id=" + v.it.id + "&export=download" })
	},
	"starred": func(v *fileView) any { return v.it.starred() },
}

func optional(ok bool, value func() any) any {
	if !ok {
		return nil
	}
	return value()
}

func (v *fileView) driveID() any {
	return optional(v.it.drive != nil, func() any { return v.it.drive.ID })
}

// permissions lists who may do what; only those who may share see it, and in a
// shared drive it is asked for by another method.
func (v *fileView) permissions() any {
	if v.role < Writer || v.it.drive != nil {
		return nil
	}
	var out []any
	add := func(a *Account, r Role) {
		out = append(out, map[string]any{
			"kind": "drive#permission", "id": a.permissionID, "type": "user",
			"emailAddress": a.Email, "displayName": a.Email, "role": r.String(), "deleted": false,
		})
	}
	add(v.it.owner, Owner)
	seen := map[*Account]bool{v.it.owner: true}
	for at := v.it; at != nil; at = at.parent {
		for _, a := range slices.SortedFunc(maps.Keys(at.shares),
			func(a, b *Account) int { return cmp.Compare(a.Email, b.Email) }) {
			if !seen[a] {
				seen[a] = true
				add(a, v.it.role(a))
			}
		}
	}
	return out
}

// resourceIDs keeps the ids of a list of resources.
func resourceIDs(list any) any {
	resources, ok := list.([]any)
	if !ok {
		return nil
	}
	out := make([]any, len(resources))
	for i, r := range resources {
		out[i] = r.(map[string]any)["id"]
	}
	return out
}

func (v *fileView) capabilities() any {
	it, r := v.it, v.role
	folder, write := it.isFolder(), r >= Writer
	shared := it.drive != nil
	out := map[string]any{
		"canAddChildren":                        folder && write,
		"canChangeCopyRequiresWriterPermission": write,
		"canComment":                            r >= Commenter,
		"canCopy":                               !folder,
		"canDelete":                             it.canDelete(r),
		"canDownload":                           it.shortcut == nil && !folder,
		"canEdit":                               write,
		"canListChildren":                       folder,
		"canModifyContent":                      write && !folder && it.shortcut == nil,
		"canMoveItemOutOfDrive":                 r == Owner || shared && r >= Organizer,
		"canMoveItemWithinDrive": it.parent != nil &&
			(!shared && write || shared && r >= ContentManager),
		"canReadRevisions":  !folder && write,
		"canRemoveChildren": folder && write,
		"canRename":         write && it.parent != nil,
		"canShare":          write,
		"canTrash":          it.canTrash(r),
		"canUntrash":        it.canTrash(r),
	}
	if shared {
		out["canDeleteChildren"] = folder && r >= Organizer
		out["canTrashChildren"] = folder && r >= ContentManager
		out["canMoveChildrenWithinDrive"] = folder && r >= ContentManager
		out["canReadDrive"] = it.drive.members[v.by] != NoRole
	}
	return out
}

func (it *item) starred() bool {
	starred, _ := it.extra["starred"].(bool)
	return starred
}

// render makes the File resource of an item. The tree must be locked.
func (c *call) render(it *item, m *mask) map[string]any {
	v := &fileView{it: it, by: c.account, role: it.role(c.account), wrongMD5: c.wrongMD5(),
		documentSize: c.s.Settings().DocumentSize}
	if m == nil {
		m = defaultFileMask
	}
	out := map[string]any{}
	add := func(name string, value any) {
		if value != nil {
			out[name] = m.at(name).apply(value)
		}
	}
	if m.everything() {
		for name, field := range fileFields {
			add(name, field(v))
		}
	} else {
		for name := range m.names {
			if field := fileFields[name]; field != nil {
				add(name, field(v))
			}
		}
	}
	for name, value := range it.extra {
		if m.wants(name) && fileFields[name] == nil {
			add(name, value)
		}
	}
	return out
}
