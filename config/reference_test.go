package config

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zapcore"
)

// referencePage is generated: meanings from the help texts, defaults from a configuration in which nothing is set, and
// what is allowed from what Load says about a value that is not.
const referencePage = "../docs/configuration.md"

const referenceHead = `# Configuration

<!-- Written by "go test ./config -run TestReference -update": change the help texts in config/flags.go, or the words in
config/reference_test.go, not this page. -->

All settings of sitesync. A studio must set the two preset files and the connection string of MongoDB; everything else
has a default.

The order of precedence is flag, environment variable, file, default. An empty variable counts as not set, except
for SITESYNC_REMOTE_SITE and SITESYNC_LOCAL_ID. sitesync does not start with invalid values: it reports all of them at
once, each with its place and the fix. For an unknown key in a file it logs a warning with the nearest known one.
"sitesync check" checks a configuration, and the line "sitesync starts" in the log shows all of it, without secrets.

A time is a number of seconds, or a number with a unit, such as 90s, 5m or 1h30m.

`

// siteMeanings are the keys of a site in gdrive.json. Flags explain themselves; these have no flag.
var siteMeanings = map[string][2]string{
	"credentials_url": {
		"required",
		"JSON file with the credentials: the key of a service account, or those of a user (`authorized_user`). " +
			"A path, relative to the folder of gdrive.json, or a `file://` URL",
	},
	"root": {
		"required",
		"The folder on Drive that stands for `{root}`; or an object with one for each NAME of `{root[NAME]}`. It " +
			"must exist; sitesync never creates it",
	},
	"subject": {"", "E-mail address of the user that the service account acts for, by domain-wide delegation. " +
		"See [My Drive](quickstart.md#why-not-my-drive)"},
	"endpoint": {"", "URL of the Drive API instead of `https://www.googleapis.com`: a proxy, or an emulator in tests"},
}

var (
	namesVariables = regexp.MustCompile(` \(\$[^)]*\)$`)
	overridesKey   = regexp.MustCompile(`; overrides (\w+) of config\.json(, default [^.;]+)?`)
	namesDefault   = regexp.MustCompile(`[,;] default [^,;)]+?(\.?$|; )`)
)

// probe is what Load allows, from its error for an invalid value; empty if it accepts anything.
func probe(t *testing.T, s *studio, where string, set func(wrong string)) string {
	t.Helper()
	set("$ /?.") // is no number, time, word, name, path or address
	_, _, errs := s.load(Flags{})
	for _, e := range errs {
		if _, want, ok := strings.Cut(e, "but must "); ok && strings.HasPrefix(e, where+" ") {
			want = strings.TrimPrefix(want, "be ")
			for _, detail := range []string{", e.g. ", " e.g. ", " such as mongodb:", ": "} {
				want, _, _ = strings.Cut(want, detail)
			}
			return strings.TrimPrefix(want, "a number of seconds or a duration such as 90s, 5m or 1h, ")
		}
	}
	return ""
}

func row(b *strings.Builder, cells ...string) {
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(c, "|", `\|`)
	}
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

// TestReference fails if docs/configuration.md does not match the code.
func TestReference(t *testing.T) {
	var cli struct {
		Flags `embed:""`
	}
	parser, err := kong.New(&cli, kong.Name("sitesync"), kong.Vars(FlagHelp))
	if err != nil {
		t.Fatal(err)
	}
	defaults := zapcore.NewMapObjectEncoder()
	bare := newStudio(t)
	bare.write(configFile, `{"remote_site": "gdrive"}`)
	if err := bare.mustLoad(Flags{}).MarshalLogObject(defaults); err != nil {
		t.Fatal(err)
	}

	var page strings.Builder
	page.WriteString(referenceHead)
	page.WriteString("## Flags and environment\n")
	keys, group := map[string]string{}, ""
	for _, f := range parser.Model.Flags {
		if f.Name == "help" {
			continue
		}
		if f.Group.Title != group {
			group = f.Group.Title
			fmt.Fprintf(&page, "\n### %s\n\n", group)
			row(&page, "Flag", "Environment", "config.json", "Default", "Allowed", "Meaning")
			page.WriteString("|---|---|---|---|---|---|\n")
		}
		variables := regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(namesVariables.FindString(f.Help), -1)
		var names []string
		for _, v := range variables {
			names = append(names, code(v[1]))
		}
		meaning := namesVariables.ReplaceAllString(f.Help, "")
		key := ""
		if found := overridesKey.FindStringSubmatch(meaning); found != nil {
			key = found[1]
			keys[key] = f.Name
		}
		meaning = namesDefault.ReplaceAllString(overridesKey.ReplaceAllString(meaning, ""), "$1")
		value, _ := defaults.Fields[strings.ReplaceAll(f.Name, "-", "_")].(string)
		if f.Name == "presets" {
			value = "$PYPE_CONFIG/presets"
		}
		if f.Name == "remote-site" || f.Name == "mongo" {
			value = "" // a name and an address of the test
		}
		if f.Name == "settle" {
			value = "loop_delay"
		}
		flag := "--" + f.Name
		allowed := "true or false"
		if f.IsBool() {
			value = "false"
		} else {
			flag += " " + f.PlaceHolder
			s := newStudio(t)
			allowed = probe(t, s, variable(f.Name), func(wrong string) { s.env[variable(f.Name)] = wrong })
		}
		row(&page, code(flag), strings.Join(names, ", "), code(key), code(value), allowed, meaning)
	}

	page.WriteString(
		"\n## config.json\n\nThe file of Pype, unchanged. `local_root`, `local_root_links` and " +
			"`always_accessible_on` are\nadditions of sitesync, which Pype does not read.\n\n",
	)
	row(&page, "Key", "Value", "Allowed", "Meaning")
	page.WriteString("|---|---|---|---|\n")
	for _, key := range configKeys {
		if keys[key] == "" {
			t.Errorf("no flag says that it overrides %s of config.json", key)
			continue
		}
		kinds := "a string"
		switch key {
		case "retry_cnt", "loop_delay":
			kinds = "a number, or a string with one"
		case "local_root_links", "always_accessible_on":
			kinds = "a string, or a list of strings"
		case "local_root":
			kinds = "a string, or an object with a string for each name"
		}
		s := newStudio(t)
		allowed := probe(t, s, "config.json: "+key, func(wrong string) {
			s.write(configFile, fmt.Sprintf(`{"remote_site": "gdrive", %q: %q}`, key, wrong))
		})
		row(&page, code(key), kinds, allowed, fmt.Sprintf("As `--%s`", keys[key]))
		delete(keys, key)
	}
	for key := range keys {
		t.Errorf("a flag overrides %s of config.json, which is no key of it", key)
	}

	page.WriteString(
		"\n## gdrive.json\n\nThe file of Pype, unchanged: an object with a key for each site, whose name must not " +
			"have a `.` in it " +
			"or `$` at its\nstart. `subject` and `endpoint` are additions of sitesync. Missing keys are an error " +
			"only in the\nsite that is `remote_site`.\n\n",
	)
	row(&page, "Key of a site", "Needed", "Allowed", "Meaning")
	page.WriteString("|---|---|---|---|\n")
	for _, key := range siteKeys {
		s := newStudio(t)
		site := map[string]string{"credentials_url": "account.json", "root": "/SHOW"}
		allowed := probe(t, s, "gdrive.json: gdrive."+key, func(wrong string) {
			site[key] = wrong
			var members []string
			for k, v := range site {
				members = append(members, fmt.Sprintf("%q: %q", k, v))
			}
			slices.Sort(members)
			s.write(gdriveFile, `{"gdrive": {`+strings.Join(members, ", ")+`}}`)
		})
		meaning, ok := siteMeanings[key]
		if !ok {
			t.Errorf("key %s of a site is not explained", key)
		}
		row(&page, code(key), meaning[0], allowed, meaning[1])
	}
	if len(siteMeanings) != len(siteKeys) {
		t.Errorf("%d keys of a site are explained, there are %d", len(siteMeanings), len(siteKeys))
	}
	page.WriteString(referenceFoot)

	got := page.String()
	if *update {
		if err := os.WriteFile(referencePage, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.ReplaceAll(string(want), "\r\n", "\n"), got); diff != "" {
		t.Errorf("%s (-there +wanted; go test ./config -run TestReference -update rewrites it):\n%s",
			referencePage, diff)
	}
}

const referenceFoot = `
### Several roots

Paths in documents begin with ` + "`{root}`, or with `{root[NAME]}`" + ` in projects with several roots. For the
first, "root" is a string; for the second an object:

` + "```json" + `
{
    "gdrive": {
        "credentials_url": "gdrive-key.json",
        "root": {"work": "/STUDIO/work", "publish": "/STUDIO/publish"}
    }
}
` + "```" + `

The same goes for ` + "`local_root`" + `. On the command line it is ` +
	"`--local-root work=/mnt/work --local-root\npublish=/mnt/publish`" + `, in the environment ` +
	"`SITESYNC_LOCAL_ROOT=work=/mnt/work;publish=/mnt/publish`" + `.

### Several sites

gdrive.json may have any number of sites. A sitesync serves one of them, ` + "`remote_site`" + `; see
[operations](operations.md#several-sites).
`
