//go:build unix

package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// with is a good config.json with one more key.
func with(key, value string) string {
	return `{"remote_site": "gdrive", "` + key + `": ` + value + `}`
}

// oneSite is a gdrive.json whose only site has these keys.
func oneSite(keys string) string { return `{"gdrive": {` + keys + `}}` }

const (
	credentials = `"credentials_url": "account.json"`
	root        = `"root": "/My Drive"`
)

// Every wrong value is refused with a sentence that names the place, the value
// and what would be right.
func TestWrong(t *testing.T) {
	const (
		retry  = ` but must be a whole number from 1 to 1000, e.g. 3`
		delay  = ` but must be a number of seconds or a duration such as 90s, 5m or 1h, from 10ms to 24h`
		name   = ` but must be the name of a site, without "." in it or "$" at its start`
		remote = ` but must be "/My Drive", "/My Drive/FOLDER" or "/NAME OF A SHARED DRIVE/FOLDER", without empty, ` +
			`"." or ".." parts`
		local = ` but must be an absolute path of this machine, e.g. "/mnt/studio"`
		uri   = ` but must be a MongoDB connection string such as ` +
			`mongodb://USER:PASSWORD@HOST:27017/?replicaSet=NAME, with %XX for special characters in the password: `
		keyFile = `gdrive.json: gdrive.credentials_url names the credentials file DIR/account.json, which `
		proxy   = ` but must be the absolute http or https URL of an emulator or a proxy, e.g. ` +
			`http://127.0.0.1:9000, or absent to use Google's`
	)
	long := strings.Repeat("x", 64)
	for _, test := range []struct {
		name     string
		config   string            // config.json, if not good
		gdrive   string            // gdrive.json, if not good
		account  string            // account.json, if not good
		env      map[string]string // besides the good one
		flags    Flags
		want     []string
		warnings []string
	}{
		// config.json
		{name: "retry_cnt word", config: with("retry_cnt", `"three"`),
			want: []string{`config.json: retry_cnt is "three"` + retry}},
		{name: "retry_cnt none", config: with("retry_cnt", `0`),
			want: []string{`config.json: retry_cnt is "0"` + retry}},
		{name: "retry_cnt part", config: with("retry_cnt", `2.5`),
			want: []string{`config.json: retry_cnt is "2.5"` + retry}},
		{name: "retry_cnt huge", config: with("retry_cnt", `1e99`),
			want: []string{`config.json: retry_cnt is "1e99"` + retry}},
		{name: "retry_cnt NaN", config: with("retry_cnt", `"NaN"`),
			want: []string{`config.json: retry_cnt is "NaN"` + retry}},
		{name: "retry_cnt empty", config: with("retry_cnt", `""`),
			want: []string{`config.json: retry_cnt is ""` + retry}},
		{name: "retry_cnt list", config: with("retry_cnt", `[3]`),
			want: []string{`config.json: retry_cnt is a list` + retry}},
		{name: "retry_cnt bool", config: with("retry_cnt", `true`),
			want: []string{`config.json: retry_cnt is true (a boolean)` + retry}},
		{name: "retry_cnt variable", env: map[string]string{"SITESYNC_RETRY_CNT": "x"},
			want: []string{`SITESYNC_RETRY_CNT is "x"` + retry}},
		{name: "retry_cnt flag", flags: Flags{RetryCnt: new("x")}, want: []string{`--retry-cnt is "x"` + retry}},
		{name: "loop_delay word", config: with("loop_delay", `"a while"`),
			want: []string{`config.json: loop_delay is "a while"` + delay}},
		{name: "loop_delay none", config: with("loop_delay", `0`),
			want: []string{`config.json: loop_delay is "0"` + delay}},
		{name: "loop_delay negative", config: with("loop_delay", `-60`),
			want: []string{`config.json: loop_delay is "-60"` + delay}},
		{name: "loop_delay huge", config: with("loop_delay", `1e300`),
			want: []string{`config.json: loop_delay is "1e300"` + delay}},
		{name: "loop_delay NaN", config: with("loop_delay", `"NaN"`),
			want: []string{`config.json: loop_delay is "NaN"` + delay}},
		{name: "loop_delay object", config: with("loop_delay", `{}`),
			want: []string{`config.json: loop_delay is an object` + delay}},
		{name: "active_site number", config: with("active_site", `1`),
			want: []string{`config.json: active_site is 1 (a number)` + name}},
		{name: "active_site empty", config: with("active_site", `""`),
			want: []string{`config.json: active_site is ""` + name}},
		{name: "active_site dot", config: with("active_site", `"a.b"`),
			want: []string{`config.json: active_site is "a.b"` + name}},
		{name: "active_site dollar", config: with("active_site", `"$a"`),
			want: []string{`config.json: active_site is "$a"` + name}},
		{name: "active_site NUL", config: with("active_site", `"a\u0000"`),
			want: []string{`config.json: active_site is "a\x00"` + name}},
		{name: "active_site flag", flags: Flags{ActiveSite: new("a.b")},
			want: []string{`--active-site is "a.b"` + name}},
		{name: "remote_site bool", config: `{"remote_site": false}`,
			want: []string{`config.json: remote_site is false (a boolean)` + name + `, or empty`}},
		{name: "remote_site dollar", config: `{"remote_site": "$x"}`,
			want: []string{`config.json: remote_site is "$x"` + name + `, or empty`}},
		{
			name: "remote_site near", config: `{"remote_site": "gdriv"}`,
			want: []string{`config.json: remote_site is "gdriv", which is not a site of gdrive.json; it has ` +
				`"gdrive"; did you mean "gdrive"?`},
		},
		{
			name: "remote_site far", env: map[string]string{"SITESYNC_REMOTE_SITE": "cloud"},
			gdrive: `{"b": {}, "a": {}}`,
			want:   []string{`SITESYNC_REMOTE_SITE is "cloud", which is not a site of gdrive.json; it has "a", "b"`},
		},
		{
			name: "remote_site of none", gdrive: `{}`, flags: Flags{RemoteSite: new("x")},
			want: []string{`--remote-site is "x", which is not a site of gdrive.json; it has none`},
		},
		{
			name: "remote_site is active_site", config: `{"remote_site": "gdrive", "active_site": "gdrive"}`,
			want: []string{`config.json: remote_site is "gdrive", the same as active_site, but must be another ` +
				`site, one of gdrive.json, or empty to sync nothing`},
		},
		{name: "local_id number", config: with("local_id", `17`),
			want: []string{`config.json: local_id is 17 (a number)` + name + `, or empty`}},
		{name: "local_root relative", config: with("local_root", `"studio"`),
			want: []string{`config.json: local_root is "studio"` + local}},
		{name: "local_root of Windows", config: with("local_root", `{"work": "P:/x"}`),
			want: []string{`config.json: local_root.work is "P:/x"` + local}},
		{name: "local_root list", config: with("local_root", `["/a"]`),
			want: []string{`config.json: local_root is a list but must be a path, or an object {"NAME": "PATH"}`}},
		{name: "local_root name", config: with("local_root", `{"": "/a"}`),
			want: []string{`config.json: local_root."" has an empty name; a root's name is the NAME of {root[NAME]} ` +
				`in the paths`}},
		{name: "local_root value", config: with("local_root", `{"a": 1}`),
			want: []string{`config.json: local_root.a is 1 (a number) but must be a path`}},
		{name: "local_root flag", flags: Flags{LocalRoot: []string{"a=b"}},
			want: []string{`--local-root is "a=b"` + local}},
		{name: "local_root flag unnamed", flags: Flags{LocalRoot: []string{"=/b"}},
			want: []string{`--local-root is "=/b", whose name is empty, but must be PATH or NAME=PATH`}},
		{
			name: "local_root flags", flags: Flags{LocalRoot: []string{"a=/b", "/c"}},
			want: []string{`--local-root has "/c", but several roots must each have a name of their own: NAME=PATH`},
		},
		{
			name: "local_root variable", env: map[string]string{"SITESYNC_LOCAL_ROOT": "a=/b;a=/c"},
			want: []string{`SITESYNC_LOCAL_ROOT has "a=/c", but several roots must each have a name of their own: ` +
				`NAME=PATH`},
		},

		// the files as such
		{name: "a list", config: `[]`, want: []string{`config.json: is a list but must be an object, { ... }`}},

		// gdrive.json
		{name: "site list", gdrive: `{"gdrive": []}`,
			want: []string{`gdrive.json: gdrive is a list but must be an object with credentials_url and root`}},
		{name: "site null", gdrive: `{"gdrive": null}`,
			want: []string{`gdrive.json: gdrive is null but must be an object with credentials_url and root`}},
		{name: "site name", gdrive: `{"gdrive": {` + credentials + `, ` + root + `}, "a.b": {}}`,
			want: []string{`gdrive.json: "a.b" is "a.b"` + name}},
		{
			name: "site empty", gdrive: `{"gdrive": {}}`,
			want: []string{
				`gdrive.json: gdrive.credentials_url is missing but must be the path of a JSON file with the ` +
					`credentials`,
				`gdrive.json: gdrive.root is missing but must be a folder, e.g. "/My Drive/studio" or "/SHARED ` +
					`DRIVE NAME", or an object {"NAME": "PATH"}`,
			},
		},
		{name: "root relative", gdrive: oneSite(credentials + `, "root": "My Drive"`),
			want: []string{`gdrive.json: gdrive.root is "My Drive"` + remote}},
		{name: "root slash", gdrive: oneSite(credentials + `, "root": "/"`),
			want: []string{`gdrive.json: gdrive.root is "/"` + remote}},
		{name: "root dots", gdrive: oneSite(credentials + `, "root": "/My Drive/../x"`),
			want: []string{`gdrive.json: gdrive.root is "/My Drive/../x"` + remote}},
		{name: "root dot", gdrive: oneSite(credentials + `, "root": "/./x"`),
			want: []string{`gdrive.json: gdrive.root is "/./x"` + remote}},
		{name: "root empty part", gdrive: oneSite(credentials + `, "root": {"w": "/My Drive//x"}`),
			want: []string{`gdrive.json: gdrive.root.w is "/My Drive//x"` + remote}},
		{name: "root two slashes", gdrive: oneSite(credentials + `, "root": "/My Drive//"`),
			want: []string{`gdrive.json: gdrive.root is "/My Drive//"` + remote}},
		{name: "root name", gdrive: oneSite(credentials + `, "root": {"": "/My Drive"}`),
			want: []string{`gdrive.json: gdrive.root."" has an empty name; a root's name is the NAME of ` +
				`{root[NAME]} in the paths`}},
		{name: "root number", gdrive: oneSite(credentials + `, "root": 5`),
			want: []string{`gdrive.json: gdrive.root is 5 (a number) but must be a path, or an object {"NAME": ` +
				`"PATH"}`}},
		{name: "root of a site not in use", gdrive: `{"gdrive": {` + credentials + `, ` + root +
			`}, "x": {"root": "a"}}`, want: []string{`gdrive.json: x.root is "a"` + remote}},
		{name: "subject", gdrive: oneSite(credentials + `, ` + root + `, "subject": "Ann <ann@b.example>"`),
			want: []string{`gdrive.json: gdrive.subject is "Ann <ann@b.example>" but must be the e-mail address of ` +
				`the user to act for, e.g. pipeline@studio.example`}},
		{
			name: "subject of a user", gdrive: oneSite(credentials + `, ` + root + `, "subject": "ann@b.example"`),
			account: `{"type": "authorized_user", "client_id": "a", "client_secret": "b", "refresh_token": "c"}`,
			want: []string{`gdrive.json: gdrive.subject is "ann@b.example", but only a service account can act ` +
				`for a user, and credentials_url has a user's own credentials; remove subject`},
		},
		{name: "endpoint relative", gdrive: oneSite(credentials + `, ` + root + `, "endpoint": "localhost:9"`),
			want: []string{`gdrive.json: gdrive.endpoint is "localhost:9"` + proxy}},
		{name: "endpoint password", gdrive: oneSite(credentials + `, ` + root + `, "endpoint": "http://a:S3cr3t@b"`),
			want: []string{`gdrive.json: gdrive.endpoint has a user or password in it, which is not supported,` +
				proxy}},
		{name: "endpoint malformed", gdrive: oneSite(credentials + `, ` + root +
			`, "endpoint": "http://a:S3c%zzr3t@b"`),
			want: []string{`gdrive.json: gdrive.endpoint is not a URL` + proxy}},

		{name: "local_root address", config: with("local_root", `{"work": {"a": "//server/share"}}`),
			want: []string{`config.json: local_root.work.a is "//server/share" but must be where that share is ` +
				`mounted on this machine, e.g. "/mnt/studio", not its address in the network`}},
		{name: "local_root tab", config: with("local_root", `"/mnt\test"`),
			want: []string{`config.json: local_root is "/mnt\test" but must not contain a tab, a line break or ` +
				`another control character; write / or \\ for the backslash of a Windows path`}},
		{name: "local_root_links number", config: with("local_root_links", `["/a", 7]`),
			want: []string{`config.json: local_root_links has a number in it but must be a path, or a list of paths`}},
		{name: "local_root_links everything", config: with("local_root_links", `"/"`),
			want: []string{`config.json: local_root_links is "/" but must not be everything; name the folders that ` +
				`links lead to`}},
		{name: "local_root_links relative", config: with("local_root_links", `"mnt"`),
			want: []string{`config.json: local_root_links is "mnt" but must be an absolute path of this machine, ` +
				`e.g. "/mnt/studio"`}},
		{name: "always_accessible_on object", config: with("always_accessible_on", `{"studio": true}`),
			want: []string{`config.json: always_accessible_on has an object in it` + name + `, or a list of names`}},
		{name: "always_accessible_on number", config: with("always_accessible_on", `["studio", 7]`),
			want: []string{`config.json: always_accessible_on has a number in it` + name + `, or a list of names`}},
		{name: "always_accessible_on dot and nothing", config: with("always_accessible_on", `["a.b", "studio", ""]`),
			want: []string{`config.json: always_accessible_on is "a.b"` + name,
				`config.json: always_accessible_on is ""` + name}},
		{name: "always_accessible_on variable", env: map[string]string{"SITESYNC_ALWAYS_ACCESSIBLE_ON": "a;$b"},
			want: []string{`SITESYNC_ALWAYS_ACCESSIBLE_ON is "$b"` + name}},
		{name: "always_accessible_on flag", flags: Flags{AlwaysAccessibleOn: []string{"a", "b."}},
			want: []string{`--always-accessible-on is "b."` + name}},

		// credentials
		{name: "credentials object", gdrive: oneSite(`"credentials_url": {"private_key": "S3cr3t"}, ` + root),
			want: []string{`gdrive.json: gdrive.credentials_url is an object but must be the path of a JSON file ` +
				`with the credentials`}},
		{name: "credentials inline", gdrive: oneSite(`"credentials_url": " {\"private_key\": \"S3cr3t\"}", ` + root),
			want: []string{`gdrive.json: gdrive.credentials_url holds the credentials themselves but must be the ` +
				`path of a file with them`}},
		{name: "credentials line break", gdrive: oneSite(`"credentials_url": "a\nb", ` + root),
			want: []string{`gdrive.json: gdrive.credentials_url has a line break or another control character in it ` +
				`but must be the path of a file`}},
		{name: "credentials web", gdrive: oneSite(`"credentials_url": "https://x/S3cr3t", ` + root),
			want: []string{`gdrive.json: gdrive.credentials_url is an address of https but must be the path of a ` +
				`file on this machine`}},
		{name: "credentials host", gdrive: oneSite(`"credentials_url": "file://nas/a.json", ` + root),
			want: []string{`gdrive.json: gdrive.credentials_url is "file://nas/a.json" but must be a path or a URL ` +
				`of this machine, e.g. file:///run/secrets/gdrive.json`}},
		{name: "credentials gone", gdrive: oneSite(`"credentials_url": "gone.json", ` + root),
			want: []string{`gdrive.json: gdrive.credentials_url names the credentials file DIR/gone.json, which ` +
				`cannot be read: no such file or directory`}},
		{name: "credentials folder", gdrive: oneSite(`"credentials_url": ".", ` + root),
			want: []string{`gdrive.json: gdrive.credentials_url names the credentials file DIR, which cannot be ` +
				`read: is not a file`}},
		{name: "credentials not JSON", account: "{\n\"S3cr3t\"",
			want: []string{keyFile + `is not valid JSON (line 2, column 9); download the key from Google again`}},
		{name: "credentials list", account: `["S3cr3t"]`,
			want: []string{keyFile + `is not a JSON object; download the key from Google again`}},
		{name: "credentials null", account: `null`,
			want: []string{keyFile + `is not a JSON object; download the key from Google again`}},
		{name: "credentials type", account: `{"type": "S3cr3t"}`,
			want: []string{keyFile + `must have type service_account or authorized_user`}},
		{name: "credentials client", account: `{"installed": {"client_secret": "S3cr3t"}}`,
			want: []string{keyFile + `describes an OAuth client, not an account; it must be the key of a service ` +
				`account, with type service_account`}},
		{
			name:    "credentials service account",
			account: `{"type": "service_account", "client_email": 5, "private_key": "S3cr3t"}`,
			want: []string{
				keyFile + `lacks client_email, which type service_account needs; download the key from Google again`,
				keyFile + `lacks token_uri, which type service_account needs; download the key from Google again`,
				keyFile + `has a private_key that is not an RSA key in PEM format; were its line breaks (\n) lost ` +
					`on the way?`,
			},
		},
		{
			name: "credentials user", account: `{"type": "authorized_user", "client_id": "S3cr3t", "token_uri": ` +
				`"S3cr3t"}`,
			want: []string{
				keyFile + `lacks client_secret, which type authorized_user needs; download the key from Google again`,
				keyFile + `lacks refresh_token, which type authorized_user needs; download the key from Google again`,
				keyFile + `has a token_uri that is not an http or https URL`,
			},
		},

		// MongoDB
		{name: "mongo scheme", env: map[string]string{"AVALON_MONGO": "localhost:27017"},
			want: []string{`AVALON_MONGO is "localhost:27017"` + uri + `scheme must be "mongodb" or "mongodb+srv"`}},
		{name: "mongo option", flags: Flags{Mongo: new("mongodb://h/?w=-1")},
			want: []string{`--mongo is "mongodb://h/?w=-1"` + uri + `invalid value for "w": "..."`}},
		{name: "mongo password", flags: Flags{Mongo: new("mongodb://u:S3cr3t@S3cr3t@h")},
			want: []string{`--mongo is "mongodb://u:***@h"` + uri + `unescaped @ sign in user info`}},
		{name: "mongo empty", flags: Flags{Mongo: new("")},
			want: []string{`--mongo is ""` + uri + `scheme must be "mongodb" or "mongodb+srv"`}},
		{name: "mongo missing", env: map[string]string{"AVALON_MONGO": ""},
			want: []string{`the MongoDB address is not given; set AVALON_MONGO or SITESYNC_MONGO, or give --mongo ` +
				`or --mongo-file, e.g. mongodb://HOST:27017/?replicaSet=NAME`}},
		{name: "db", env: map[string]string{"AVALON_DB": "a.b"},
			want: []string{`AVALON_DB is "a.b" but must be the name of a database, 1 to 63 bytes without spaces or ` +
				`any of /\."$*<>:|?, e.g. avalon`}},
		{name: "db long", flags: Flags{DB: new(long)},
			want: []string{`--db is "` + long +
				`" but must be the name of a database, 1 to 63 bytes without spaces or any of /\."$*<>:|?, e.g. ` +
				`avalon`}},
		{name: "db admin", flags: Flags{DB: new("admin")},
			want: []string{`--db is "admin", which belongs to MongoDB itself, but must be another database, e.g. ` +
				`avalon`}},

		// tuning
		{name: "transfers", flags: Flags{Transfers: new("257")},
			want: []string{`--transfers is "257" but must be a whole number from 1 to 256, e.g. 8`}},
		{name: "log format", flags: Flags{LogFormat: new("jsn")},
			want: []string{`--log-format is "jsn" but must be auto, console or json; did you mean "json"?`}},
		{name: "log level", env: map[string]string{"SITESYNC_LOG_LEVEL": "trace"},
			want: []string{`SITESYNC_LOG_LEVEL is "trace" but must be debug, info, warn or error`}},
		{name: "settle", flags: Flags{SourceGracePeriod: new("-1")},
			want: []string{`--settle is "-1" but must be a number of seconds or a duration such as 90s, 5m or 1h, ` +
				`from 0s to 24h`}},
		{name: "retry delay", flags: Flags{RetryDelay: new("0")},
			want: []string{`--retry-delay is "0" but must be a number of seconds or a duration such as 90s, 5m or ` +
				`1h, from 1ms to 24h`}},
		{name: "max retry delay", flags: Flags{MaxRetryDelay: new("9s")},
			want: []string{`--max-retry-delay is 9s but must not be less than retry-delay, 10s`}},
		{name: "shutdown timeout", flags: Flags{ShutdownTimeout: new("soon")},
			want: []string{`--shutdown-timeout is "soon" but must be a number of seconds or a duration such as 90s, ` +
				`5m or 1h, from 0s to 1h`}},
		{name: "no index", env: map[string]string{"SITESYNC_NO_INDEX": "maybe"},
			want: []string{`SITESYNC_NO_INDEX is "maybe" but must be true or false`}},
		{name: "neither", flags: Flags{NoPoll: new(true)}, env: map[string]string{"SITESYNC_NO_STREAM": "1"},
			want: []string{`no-stream and no-poll are both set, so nothing would ever be found to sync; remove one ` +
				`of them`}},

		// the folder
		{name: "no folder", env: map[string]string{"SITESYNC_PRESETS": ""},
			want: []string{`the presets folder is not given; name the folder of config.json and gdrive.json by ` +
				`--presets or SITESYNC_PRESETS, or set PYPE_CONFIG to the folder above presets`}},
		{name: "folder gone", flags: Flags{Presets: new("/nowhere/at/all")},
			want: []string{`--presets names the presets folder /nowhere/at/all: no such file or directory`}},

		// all together
		{
			name:   "several",
			config: `{"retry_cnt": "x", "loop_delay": [], "remote_site": "gdrive"}`,
			gdrive: oneSite(credentials + `, "root": "x"`),
			flags:  Flags{Transfers: new("many"), DB: new("")},
			want: []string{
				`config.json: retry_cnt is "x"` + retry,
				`config.json: loop_delay is a list` + delay,
				`gdrive.json: gdrive.root is "x"` + remote,
				`--db is "" but must be the name of a database, 1 to 63 bytes without spaces or any of /\."$*<>:|?, ` +
					`e.g. avalon`,
				`--transfers is "many" but must be a whole number from 1 to 256, e.g. 8`,
			},
		},

		// what only warns
		{
			name:   "unknown keys",
			config: `{"remote_site": "gdrive", "retry_count": 3, "Active-Site": "x", "colour": 1}`,
			gdrive: oneSite(credentials + `, ` + root + `, "roots": "", "provider": "gdrive"`),
			warnings: []string{
				`config.json: unknown key "retry_count" is ignored; did you mean "retry_cnt"?`,
				`config.json: unknown key "Active-Site" is ignored; did you mean "active_site"?`,
				`config.json: unknown key "colour" is ignored`,
				`gdrive.json: gdrive: unknown key "roots" is ignored; did you mean "root"?`,
				`gdrive.json: gdrive: unknown key "provider" is ignored`,
			},
		},
		{
			name:   "double keys",
			config: "{\"remote_site\": \"x\",\n\n  \"remote_site\": \"gdrive\"}",
			gdrive: "\n{\"gdrive\": {\n" + credentials + ", " + root + ",\n" + root + "}}",
			warnings: []string{
				`config.json: remote_site is given twice, again in line 3; the last one counts`,
				`gdrive.json: gdrive.root is given twice, again in line 4; the last one counts`,
			},
		},
		{
			name:   "blanks around the names of sites",
			config: `{"remote_site": " gdrive ", "active_site": "studio\t", "local_id": " art-17"}`,
			gdrive: `{"gdrive ": {` + credentials + ", " + root + "}}",
			warnings: []string{
				`config.json: local_id is " art-17"; the blanks around "art-17" are ignored, as Pype does`,
				`config.json: active_site is "studio\t"; the blanks around "studio" are ignored, as Pype does`,
				`config.json: remote_site is " gdrive "; the blanks around "gdrive" are ignored, as Pype does`,
				`gdrive.json: "gdrive " is read as "gdrive"; the blanks around it are ignored, as Pype does`,
			},
		},
		{
			name:   "only blanks",
			config: `{"remote_site": "  ", "active_site": " "}`,
			want:   []string{`config.json: active_site is " "` + name},
		},
		{
			name:   "one site twice, but for blanks",
			gdrive: `{"gdrive": {` + credentials + ", " + root + `}, " gdrive": {}}`,
			want: []string{`gdrive.json: " gdrive" is the site "gdrive" again, except for the blanks around it, ` +
				`which do not count; remove one`},
		},
		{
			name:   "nested roots",
			config: with("local_root", `{"disk1": {"work": "P:/x", "a]": "/a"}}`),
			want: []string{
				`config.json: local_root.disk1.work is "P:/x"` + local,
				`config.json: local_root.disk1.a] has a bracket or brace in its name; a root's name is the NAME of ` +
					`{root[NAME]} in the paths`,
			},
		},
		{
			name:   "my drive",
			gdrive: oneSite(credentials + `, "root": {"w": "/my drive/x"}`),
			warnings: []string{`gdrive.json: gdrive.root.w is "/my drive/x", which names a shared drive; did you ` +
				`mean "/My Drive"?`},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStudio(t)
			for name, content := range map[string]string{configFile: test.config, gdriveFile: test.gdrive,
				"account.json": test.account} {
				if content != "" {
					s.write(name, content)
				}
			}
			for name, v := range test.env {
				s.env[name] = v
			}
			_, warnings, errs := s.load(test.flags)
			if diff := cmp.Diff(test.want, errs); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.warnings, warnings); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
			if all := strings.Join(append(errs, warnings...), "\n"); strings.Contains(all, "S3cr3t") {
				t.Errorf("shows a secret:\n%s", all)
			}
		})
	}
}

func TestFiles(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(s *studio)
		want []string
	}{
		{"empty", func(s *studio) { s.write(configFile, "") }, []string{
			`config.json: line 1, column 1: not valid JSON: the file is empty; write {} for no settings`,
		}},
		{"no config.json", func(s *studio) { s.remove(configFile) }, []string{
			`config.json: there is no such file in DIR; that must be the folder with the presets of the sync server`,
		}},
		{"no gdrive.json", func(s *studio) { s.remove(gdriveFile) }, []string{
			`gdrive.json: there is no such file in DIR; that must be the folder with the presets of the sync server`,
		}},
		{"folder", func(s *studio) { s.remove(configFile); s.write("config.json/x", "") }, []string{
			`config.json: cannot be read in DIR: is not a file`,
		}},
		{"huge", func(s *studio) { s.write(configFile, strings.Repeat(" ", maxFile+1)) }, []string{
			`config.json: cannot be read in DIR: is larger than 1048576 bytes`,
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStudio(t)
			test.do(s)
			_, _, errs := s.load(Flags{})
			if diff := cmp.Diff(test.want, errs); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

func (s *studio) remove(name string) {
	s.t.Helper()
	if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
		s.t.Fatal(err)
	}
}

// Credentials that others can read only warn: Kubernetes mounts them so.
func TestCredentialsMode(t *testing.T) {
	s := newStudio(t)
	s.write("data/account.json", account())
	if err := os.Chmod(filepath.Join(s.dir, "data/account.json"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.remove("account.json")
	if err := os.Symlink("data/account.json", filepath.Join(s.dir, "account.json")); err != nil {
		t.Fatal(err)
	}
	_, warnings, errs := s.load(Flags{})
	want := []string{`gdrive.json: gdrive.credentials_url names the credentials file DIR/account.json, which others ` +
		`can read (mode 0644); run chmod 600 on it (Kubernetes: set defaultMode: 0440 on the secret's volume, and ` +
		`fsGroup)`}
	if diff := cmp.Diff(want, warnings); diff != "" || errs != nil {
		t.Errorf("errors %q, warnings (-want +got):\n%s", errs, diff)
	}
}

// described is a file of a user with a mode.
type described struct {
	fs.FileInfo
	mode fs.FileMode
	user int
}

func (d described) Mode() fs.FileMode { return d.mode }
func (d described) Sys() any          { return &syscall.Stat_t{Uid: uint32(d.user)} }

// Any bit lets others read a file of our own. Another user's file is given to us through its group.
func TestReadableByOthers(t *testing.T) {
	us := os.Geteuid()
	for file, want := range map[described]bool{
		{mode: 0o600, user: us}:     false,
		{mode: 0o640, user: us}:     true,
		{mode: 0o604, user: us}:     true,
		{mode: 0o440, user: us + 1}: false,
		{mode: 0o444, user: us + 1}: true,
	} {
		p := &problems{}
		p.warnFileMode("key.json", file)
		if got := len(p.warnings) == 1; got != want {
			t.Errorf("mode %04o of user %d (we are %d): %q", file.mode, file.user, us, p.warnings)
		}
	}
}
