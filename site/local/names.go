package local

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// refusedByWindows says why Windows can't have a file or folder of a name; "" if it can.
func refusedByWindows(name string) string {
	if i := strings.IndexFunc(name,
		func(r rune) bool { return r < ' ' || strings.ContainsRune(`<>:"|?*\`, r) }); i >= 0 {
		return fmt.Sprintf("has the character %q in it", name[i])
	}
	if last := name[len(name)-1]; last == '.' || last == ' ' {
		return fmt.Sprintf("ends with %q", last)
	}
	device, _, _ := strings.Cut(name, ".")
	device = strings.ToUpper(strings.TrimRight(device, " "))
	if slices.Contains([]string{"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}, device) || isPort(device) {
		return "is that of a device"
	}
	return ""
}

// isPort reports whether a name is that of a port: COM1 to COM9 and LPT1 to LPT9, also with raised digits.
func isPort(name string) bool {
	rest, ok := strings.CutPrefix(name, "COM")
	if !ok {
		rest, ok = strings.CutPrefix(name, "LPT")
	}
	return ok && (len(rest) == 1 && rest[0] >= '1' && rest[0] <= '9' || slices.Contains([]string{"¹", "²", "³"}, rest))
}

// checkWindowsNames returns an error if Windows can't have a path.
func checkWindowsNames(rel string) error {
	for _, name := range strings.Split(rel, "/") {
		if why := refusedByWindows(name); why != "" {
			return fmt.Errorf("the name %q %s, which Windows does not allow; rename it where it was published", name,
				why)
		}
	}
	return nil
}

// otherCase returns the path of what is there if that differs from the location in the case of letters: on a file
// system that does not distinguish them, as on Windows and macOS.
func (l location) otherCase() (there string, differs bool) {
	dir, real := l.root, ""
	for _, name := range strings.Split(l.rel, "/") {
		as := name
		if swapped := swapCase(name); swapped != name && isSame(filepath.Join(dir, name), filepath.Join(dir, swapped)) {
			as = inCase(namesIn(dir), name)
		}
		differs = differs || as != name
		dir, real = filepath.Join(dir, name), path.Join(real, as)
	}
	return filepath.Join(l.root, filepath.FromSlash(real)), differs
}

// inCase is the one of names that a name stands for where case does not matter.
func inCase(names []string, name string) string {
	if slices.Contains(names, name) {
		return name
	}
	for _, other := range names {
		if strings.EqualFold(other, name) {
			return other
		}
	}
	return name
}

func swapCase(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsUpper(r) {
			return unicode.ToLower(r)
		}
		return unicode.ToUpper(r)
	}, name)
}

func isSame(a, b string) bool {
	first, err := os.Lstat(a)
	if err != nil {
		return false
	}
	second, err := os.Lstat(b)
	return err == nil && os.SameFile(first, second)
}

// namesIn are the names in a folder, as far as it can be read.
func namesIn(folder string) []string {
	f, err := os.Open(folder)
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	return names
}
