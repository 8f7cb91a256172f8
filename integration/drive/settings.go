package drive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"time"
)

// Google's published limits, used where a setting is zero.
const (
	googleDailyUpload      = 750_000_000_000
	googleSharedDriveItems = 500_000
	googleSharedDriveDepth = 100
	googleFolderChildren   = 500_000
	googleTokenLifetime    = time.Hour
	googleSessionLifetime  = 7 * 24 * time.Hour
)

// Settings say how the emulated Drive behaves. The zero value is Google's
// behaviour without any delay and without rate limits. In JSON a duration is a
// string like "150ms" or a number of nanoseconds.
type Settings struct {
	// Latency is added to each request before its work; Jitter adds a random
	// part between nothing and its value.
	Latency time.Duration `json:"latency"`
	Jitter  time.Duration `json:"jitter"`

	// UploadBandwidth and DownloadBandwidth are bytes a second that all
	// requests share; 0 is unlimited.
	UploadBandwidth   int64 `json:"uploadBandwidth"`
	DownloadBandwidth int64 `json:"downloadBandwidth"`
	// ConnectionDownload is bytes a second of the answers on each connection; 0 is
	// unlimited.
	ConnectionDownload int64 `json:"connectionDownload"`

	// TokenLifetime is how long a new access token is good for; 0 is an hour.
	TokenLifetime time.Duration `json:"tokenLifetime"`
	// SessionLifetime is how long a resumable session lives; 0 is a week.
	SessionLifetime time.Duration `json:"sessionLifetime"`

	// Finishing is what happens between the last byte of a resumable upload and
	// its file.
	Finishing Finishing `json:"finishing"`

	// ListingLag hides items from files.list until this long after their
	// creation through the API; files.get finds them at once. It is compared
	// when the listing is made: setting it to 0 shows everything.
	ListingLag time.Duration `json:"listingLag"`
	// DocumentSize is the size in bytes that Google Docs and their like show; 0
	// is none, as long was so. Google's description says that they have one.
	DocumentSize int64 `json:"documentSize"`
	// PageLimit caps the number of items a page of files.list holds, whatever
	// pageSize asks for, as Google may do; 0 is no cap.
	PageLimit int `json:"pageLimit"`
	// EmptyPages is how many pages without any item, but with a nextPageToken,
	// come before each page of files.list that has items, and after the last, as
	// Google may do.
	EmptyPages int `json:"emptyPages"`
	// PageTokenLifetime is how long a page token of files.list is good for; 0 is
	// without end. Google says several hours.
	PageTokenLifetime time.Duration `json:"pageTokenLifetime"`

	// Gateway is the proxy through which every request comes.
	Gateway Gateway `json:"gateway"`

	// Account.SetStorage and SharedDrive.SetStorage set another limit for one.

	// ServiceAccountStorage is the number of bytes that each service account
	// may own. 0 is none, as for new accounts at Google: then creating a file
	// that the account would own fails. Below 0 is unlimited.
	ServiceAccountStorage int64 `json:"serviceAccountStorage"`
	// UserStorage is the number of bytes that each user may own; 0 is
	// unlimited.
	UserStorage int64 `json:"userStorage"`
	// SharedDriveStorage is the number of bytes that each shared drive may hold,
	// trash included, as an administrator can set it; 0 is unlimited.
	SharedDriveStorage int64 `json:"sharedDriveStorage"`
	// DailyUpload is the number of bytes an account may upload in 24 hours;
	// 0 is Google's 750 GB, below 0 is unlimited.
	DailyUpload int64 `json:"dailyUpload"`

	// SharedDriveItems is the number of items that a shared drive holds, trash
	// included; 0 is Google's 500,000.
	SharedDriveItems int `json:"sharedDriveItems"`
	// SharedDriveDepth is the number of folder levels in a shared drive; 0 is
	// Google's 100.
	SharedDriveDepth int `json:"sharedDriveDepth"`
	// FolderChildren is the number of items in a folder; 0 is Google's 500,000.
	FolderChildren int `json:"folderChildren"`

	// AccountRate limits the requests of each account, ProjectRate those of all
	// together, WriteRate the creates, updates and deletes of each account.
	// Token requests and data sent to an upload session are not counted.
	AccountRate Rate `json:"accountRate"`
	ProjectRate Rate `json:"projectRate"`
	WriteRate   Rate `json:"writeRate"`
	// Units limits requests by their cost, as Google does for projects made
	// since May 2026.
	Units Units `json:"units"`
}

// Rate is a token bucket and the error for a request that finds it empty.
type Rate struct {
	// PerSecond is how many requests a second are sustained; 0 is unlimited.
	PerSecond float64 `json:"perSecond"`
	// Burst is how many requests may come at once; below 1 is 1.
	Burst int `json:"burst"`
	// Status is 403 if 0, Reason what Google says for that limit if empty.
	Status int    `json:"status"`
	Reason string `json:"reason"`
	// RetryAfter is sent in whole seconds if not 0.
	RetryAfter time.Duration `json:"retryAfter"`
}

// Finishing is the time that Drive takes to make a file of a resumable upload
// whose bytes have all arrived. The file, or the new content of one, appears at
// its end, whether or not the client still waits.
type Finishing struct {
	// Time is how long it takes; 0 is not at all. FinishUploads cuts it short.
	Time time.Duration `json:"time"`
	// From is the size in bytes from which an upload needs it.
	From int64 `json:"from"`
	// Answers says to which requests Drive answers meanwhile, 308 with the full
	// Range. All others hear nothing until the file is there.
	Answers Answers `json:"answers"`
}

// Answers says which requests are answered while an upload is finished.
type Answers string

// What Drive answers while it finishes an upload.
const (
	AnswerNone   Answers = ""       // nothing
	AnswerStatus Answers = "status" // requests for the status, not those with data
	AnswerAll    Answers = "all"    // also the one that brought the last byte
)

// Units are cost units a minute: a read costs 5, a list 100, an edit 50, a
// download 200. 0 is unlimited; Google gives 1,000,000 and 325,000.
type Units struct {
	ProjectPerMinute int `json:"projectPerMinute"`
	AccountPerMinute int `json:"accountPerMinute"`
}

func or[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// Settings returns a copy of the settings in force.
func (s *Server) Settings() Settings { return *s.settings.Load() }

// SetSettings replaces all settings.
func (s *Server) SetSettings(settings Settings) {
	s.UpdateSettings(func(v *Settings) { *v = settings })
}

// UpdateSettings changes some settings.
func (s *Server) UpdateSettings(change func(*Settings)) {
	_ = s.tryUpdateSettings(func(v *Settings) error { change(v); return nil })
}

// tryUpdateSettings changes settings, or nothing if change fails.
func (s *Server) tryUpdateSettings(change func(*Settings) error) error {
	s.settingsMu.Lock()
	defer s.settingsMu.Unlock()
	settings := *s.settings.Load()
	if err := change(&settings); err != nil {
		return err
	}
	s.settings.Store(&settings)
	s.limits.configure(settings)
	return nil
}

// UnmarshalJSON changes the settings that the document names.
func (s *Settings) UnmarshalJSON(data []byte) error {
	type plain Settings
	return unmarshalWithDurations(data, (*plain)(s))
}

// MarshalJSON writes durations as strings.
func (s Settings) MarshalJSON() ([]byte, error) { return marshalWithDurations(reflect.ValueOf(s)) }

// UnmarshalJSON changes what the document names.
func (f *Finishing) UnmarshalJSON(data []byte) error {
	type plain Finishing
	return unmarshalWithDurations(data, (*plain)(f))
}

// MarshalJSON writes durations as strings.
func (f Finishing) MarshalJSON() ([]byte, error) { return marshalWithDurations(reflect.ValueOf(f)) }

// UnmarshalJSON changes what the document names.
func (a *Answers) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	switch Answers(text) {
	case AnswerNone, AnswerStatus, AnswerAll:
		*a = Answers(text)
		return nil
	}
	return fmt.Errorf("answers %q is none of \"\", status, all", text)
}

// UnmarshalJSON changes what the document names.
func (r *Rate) UnmarshalJSON(data []byte) error {
	type plain Rate
	return unmarshalWithDurations(data, (*plain)(r))
}

// MarshalJSON writes durations as strings.
func (r Rate) MarshalJSON() ([]byte, error) { return marshalWithDurations(reflect.ValueOf(r)) }

var durationType = reflect.TypeFor[time.Duration]()

// unmarshalWithDurations decodes a struct whose durations may be written as
// strings, and refuses unknown names.
func unmarshalWithDurations(data []byte, into any) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	t := reflect.TypeOf(into).Elem()
	for i := range t.NumField() {
		f := t.Field(i)
		var text string
		if f.Type != durationType || json.Unmarshal(raw[f.Tag.Get("json")], &text) != nil {
			continue
		}
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Tag.Get("json"), err)
		}
		raw[f.Tag.Get("json")] = json.RawMessage(fmt.Sprint(int64(d)))
	}
	data, err := json.Marshal(raw)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}

func marshalWithDurations(v reflect.Value) ([]byte, error) {
	out := make(map[string]any, v.NumField())
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if d, ok := v.Field(i).Interface().(time.Duration); ok {
			out[f.Tag.Get("json")] = d.String()
		} else {
			out[f.Tag.Get("json")] = v.Field(i).Interface()
		}
	}
	return json.Marshal(out)
}
