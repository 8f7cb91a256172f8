package drive

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// itemInQuery is an item as a query looks at it.
type itemInQuery struct {
	it *item
	by *Account
}

// matches decides a term for the item.
func (q itemInQuery) matches(t queryTerm) bool {
	it := q.it
	switch t.field {
	case "name":
		return t.compareName(it.name)
	case "mimeType":
		return t.compareText(it.mime)
	case "shortcutDetails.targetId":
		return it.shortcut != nil && t.compareText(it.shortcut.id)
	case "createdTime":
		return t.compareTimes(it.created)
	case "modifiedTime":
		return t.compareTimes(it.modified)
	case "trashed":
		return t.compareFlag(it.inTrash())
	case "starred":
		return t.compareFlag(it.starred())
	case "sharedWithMe":
		return t.compareFlag(it.owner != q.by && it.shares[q.by].role != NoRole)
	case "parents":
		return slices.ContainsFunc(it.parents(), func(p *item) bool {
			return p.id == t.text || t.text == "root" && p == q.by.root
		})
	case "owners":
		return it.owner != nil && q.is(it.owner, t.text)
	case "readers", "writers":
		want := Reader
		if t.field == "writers" {
			want = Writer
		}
		account := q.by
		if t.text != "me" {
			account = q.by.server.tree.accounts[t.text]
		}
		return account != nil && it.role(account) >= want
	case "properties", "appProperties":
		properties, _ := it.extra[t.field].(map[string]any)
		return properties[t.key] == t.text
	}
	return false
}

func (q itemInQuery) is(a *Account, text string) bool {
	return a.Email == text || text == "me" && a == q.by
}

// listing is a checked files.list.
type listing struct {
	query   *query
	order   []orderKey
	drive   *SharedDrive // only of this drive
	include bool         // items of shared drives too
	size    int
	after   *item // the last item of the page before, nil for the first page
	empty   int   // pages without items since then
	hash    string
}

// listFiles is files.list.
func (c *call) listFiles() error {
	c.target = c.query.Get("q")
	t := c.s.tree
	t.mu.RLock()
	l, err := c.parseListing()
	if err != nil {
		t.mu.RUnlock()
		return err
	}
	found := c.find(l)
	doc := map[string]any{"kind": "drive#fileList", "incompleteSearch": false}
	next := func(mark pageMark) { doc["nextPageToken"] = c.s.pageToken(l.hash, mark) }
	switch empty := c.s.Settings().EmptyPages; {
	case l.empty < empty:
		found = nil
		next(markAfter(l.after, l.empty+1))
	case len(found) > l.size:
		found = found[:l.size]
		next(markAfter(found[l.size-1], 0))
	case empty > 0 && len(found) > 0:
		next(markAfter(found[len(found)-1], 0))
	}
	var inner *mask
	if c.mask != nil {
		inner = c.mask.names["files"] // nil: files are left out, or the wildcard holds
		if inner == nil {
			inner = &mask{}
		}
	}
	files := make([]any, len(found))
	if c.mask.wants("files") {
		for i, it := range found {
			files[i] = c.render(it, inner)
		}
	}
	doc["files"] = files
	t.mu.RUnlock()
	return c.json(doc)
}

// parseListing checks the parameters of files.list. The tree must be locked.
func (c *call) parseListing() (*listing, *apiError) {
	t := c.s.tree
	get := c.query.Get
	l := &listing{include: c.flag("includeItemsFromAllDrives") || c.flag("includeTeamDriveItems")}
	var err error
	if get("q") != "" {
		if l.query, err = parseQuery(get("q"), fileQueryFields); err != nil {
			return nil, errInvalid("q", "Invalid Value: "+err.Error())
		}
	}
	if l.order, err = parseOrder(get("orderBy")); err != nil {
		return nil, errInvalid("orderBy", "Invalid Value: "+err.Error())
	}
	for space := range strings.SplitSeq(or(get("spaces"), "drive"), ",") {
		if space != "drive" {
			return nil, errInvalid("spaces", "Invalid Value: only the space drive is emulated")
		}
	}
	corpora, driveID := or(get("corpora"), "user"), or(get("driveId"), get("teamDriveId"))
	switch corpora {
	case "user", "domain", "drive", "allDrives":
	case "teamDrive":
		corpora = "drive"
	case "user,allTeamDrives", "allTeamDrives":
		corpora = "allDrives"
	default:
		return nil, errInvalid("corpora", "Invalid Value")
	}
	if (corpora == "drive") != (driveID != "") {
		return nil, &apiError{Code: 403, Reason: "teamDriveIdRequiresTeamDriveCorpora",
			Message: "The driveId parameter must be specified if and only if corpora is set to drive."}
	}
	if (corpora == "drive" || corpora == "allDrives") && !l.include {
		return nil, &apiError{Code: 403, Reason: "teamDrivesIncludeItemsRequired",
			Message: "The includeItemsFromAllDrives parameter must be set to true when driveId is specified or " +
				"corpora contains drive or allDrives."}
	}
	if l.include && !c.allDrives() {
		return nil, &apiError{Code: 403, Reason: "teamDrivesSupportRequired",
			Message: "The supportsAllDrives parameter must be set to true if includeItemsFromAllDrives is set to true."}
	}
	if driveID != "" {
		if l.drive = t.drive(c.account, driveID); l.drive == nil {
			return nil, errDriveNotFound(driveID)
		}
	}
	for _, id := range l.query.parents() {
		if t.lookup(c.account, id, true) == nil {
			return nil, errNotFound("") // Google leaves the id out here
		}
	}
	l.size, _ = strconv.Atoi(or(get("pageSize"), "100"))
	if most := c.s.Settings().PageLimit; most > 0 {
		l.size = min(l.size, most)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", []string{c.account.Email, get("q"), get("orderBy"), corpora, driveID,
		fmt.Sprint(l.include)}))
	l.hash = base64.RawURLEncoding.EncodeToString(sum[:9])
	if token := get("pageToken"); token != "" {
		if l.after, l.empty, err = c.s.readPageToken(l.hash, token); err != nil {
			return nil, errInvalid("pageToken", "Invalid Value")
		}
	}
	return l, nil
}

// find lists the items of the page, and one more if there are. The tree must be
// locked.
func (c *call) find(l *listing) []*item {
	var found []*item
	hidden := c.s.now().Add(-c.s.Settings().ListingLag)
	consider := func(it *item) {
		if it.parent == nil || !it.born.IsZero() && it.born.After(hidden) ||
			l.drive != nil && it.drive != l.drive || it.drive != nil && !l.include {
			return
		}
		if l.after != nil && l.compare(it, l.after) <= 0 {
			return
		}
		if l.query.matches(itemInQuery{it, c.account}) && it.role(c.account) != NoRole {
			found = append(found, it)
		}
	}
	if id := l.query.requiredParent(); id != "" {
		for child := range c.s.tree.lookup(c.account, id, true).children {
			consider(child)
		}
	} else {
		for _, it := range c.s.tree.items {
			consider(it)
		}
	}
	slices.SortFunc(found, l.compare)
	return found[:min(len(found), l.size+1)]
}

// orderKey is one key of orderBy.
type orderKey struct {
	compare func(a, b *item) int
	desc    bool
}

var orderKeys = map[string]func(a, b *item) int{
	"name":           func(a, b *item) int { return cmp.Compare(a.name, b.name) },
	"name_natural":   func(a, b *item) int { return cmp.Compare(strings.ToLower(a.name), strings.ToLower(b.name)) },
	"createdTime":    func(a, b *item) int { return a.created.Compare(b.created) },
	"modifiedTime":   func(a, b *item) int { return a.modified.Compare(b.modified) },
	"recency":        func(a, b *item) int { return a.modified.Compare(b.modified) },
	"folder":         func(a, b *item) int { return compareBool(b.isFolder(), a.isFolder()) },
	"starred":        func(a, b *item) int { return compareBool(b.starred(), a.starred()) },
	"quotaBytesUsed": func(a, b *item) int { return cmp.Compare(a.size(), b.size()) },
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func parseOrder(text string) ([]orderKey, error) {
	if text == "" {
		return nil, nil
	}
	var out []orderKey
	for key := range strings.SplitSeq(text, ",") {
		words := strings.Fields(key)
		if len(words) == 0 || len(words) > 2 || len(words) == 2 && words[1] != "desc" || orderKeys[words[0]] == nil {
			return nil, fmt.Errorf("unknown or not emulated sort key %q", key)
		}
		out = append(out, orderKey{orderKeys[words[0]], len(words) == 2})
	}
	return out, nil
}

// compare orders by the keys, then the newest first.
func (l *listing) compare(a, b *item) int {
	for _, key := range l.order {
		n := key.compare(a, b)
		if key.desc {
			n = -n
		}
		if n != 0 {
			return n
		}
	}
	return cmp.Compare(b.seq, a.seq)
}

// errOtherQuery says that a page token was not made by the same query.
var errOtherQuery = errors.New("page token of another query")

// errOldToken says that a page token has expired.
var errOldToken = errors.New("page token has expired")

// pageMark is what a page token says: after which item the next page begins. So
// a page is right even if items came or went meanwhile.
type pageMark struct {
	Hash     string    `json:"h"`
	First    bool      `json:"f,omitempty"` // after none: it is still the first page
	Empty    int       `json:"e,omitempty"` // pages without items since then
	Seq      int64     `json:"s"`
	Name     string    `json:"n"`
	Mime     string    `json:"m"`
	Created  time.Time `json:"c"`
	Modified time.Time `json:"d"`
	Size     int64     `json:"z"`
	Starred  bool      `json:"t"`
	Issued   time.Time `json:"i"`
	Epoch    int64     `json:"x,omitempty"`
}

func markAfter(last *item, empty int) pageMark {
	if last == nil {
		return pageMark{First: true, Empty: empty}
	}
	return pageMark{Empty: empty, Seq: last.seq, Name: last.name, Mime: last.mime, Created: last.created,
		Modified: last.modified, Size: last.size(), Starred: last.starred()}
}

// ExpirePageTokens makes every page token of files.list worthless that was given
// out so far.
func (s *Server) ExpirePageTokens() { s.pageEpoch.Add(1) }

func (s *Server) pageToken(hash string, mark pageMark) string {
	mark.Hash, mark.Issued, mark.Epoch = hash, s.now().UTC(), s.pageEpoch.Load()
	data, _ := json.Marshal(mark)
	return "~!!~" + base64.RawURLEncoding.EncodeToString(data)
}

// readPageToken returns the last item of the page before and the number of empty
// pages since then.
func (s *Server) readPageToken(hash, token string) (last *item, empty int, err error) {
	text, ok := strings.CutPrefix(token, "~!!~")
	data, err := base64.RawURLEncoding.DecodeString(text)
	var mark pageMark
	if err == nil {
		err = json.Unmarshal(data, &mark)
	}
	life := s.Settings().PageTokenLifetime
	switch {
	case err != nil || !ok || mark.Hash != hash:
		return nil, 0, errOtherQuery
	case mark.Epoch != s.pageEpoch.Load() || life > 0 && s.now().Sub(mark.Issued) > life:
		return nil, 0, errOldToken
	case mark.First:
		return nil, mark.Empty, nil
	}
	return &item{
		seq: mark.Seq, name: mark.Name, mime: mark.Mime, created: mark.Created, modified: mark.Modified,
		content: &blob{size: mark.Size}, extra: map[string]any{"starred": mark.Starred},
	}, mark.Empty, nil
}
