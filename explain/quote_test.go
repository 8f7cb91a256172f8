package explain

import "testing"

func TestPlural(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{"1 try": Plural(1, "try"), "0 tries": Plural(0, "try"),
		"1,234 files": Plural(int64(1234), "file")} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestShellQuote(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"MY_PROJECT": "MY_PROJECT", "Žižkov-2.1": "Žižkov-2.1", "Häschen 2": "'Häschen 2'", "it's": `'it'\''s'`,
		"$(reboot)": "'$(reboot)'", "": "''",
		"a\x1b": "'a\uFFFD'",
	} {
		if got := ShellQuote(text); got != want {
			t.Errorf("%q is typed as %s, want %s", text, got, want)
		}
	}
}
