package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"sitesync/integration/studio"
	"sitesync/integration/testenv"
)

// visibleInterval is the time between two looks at what can be seen of the files that arrive.
const visibleInterval = 100 * time.Millisecond

// visible looks at the files that arrive on the storages, and finds those that can be seen before they are complete.
type visible struct {
	contents map[string][]string // MD5 of all that was published, by path
	seen     map[string]string   // size and time of the last look, by path
	unknown  map[string]string   // MD5 that was not published when it was seen, by path
	files    int                 // different contents that were seen
	early    []string            // files that were seen with a content that was never published
}

// watch looks at all files until ctx ends.
func (v *visible) watch(ctx context.Context, reps func() []published) {
	for testenv.Sleep(ctx, visibleInterval) == nil {
		v.look(reps())
	}
}

// look looks at the files once.
func (v *visible) look(reps []published) {
	for _, rep := range reps {
		for _, f := range rep.Files {
			v.lookAt(rep.arrives(f), f)
		}
	}
}

func (v *visible) lookAt(at string, f studio.File) {
	if !slices.Contains(v.contents[at], f.MD5) {
		v.contents[at] = append(v.contents[at], f.MD5)
	}
	if sum, ok := v.unknown[at]; ok { // it may have come before its publish was noted
		if delete(v.unknown, at); !slices.Contains(v.contents[at], sum) {
			v.early = append(v.early, fmt.Sprintf("%s was seen with MD5 %s", at, sum))
		}
	}
	info, err := os.Stat(at)
	if err != nil {
		return
	}
	state := fmt.Sprint(info.Size(), info.ModTime().UnixNano())
	if v.seen[at] == state {
		return
	}
	sum, err := sumOf(at)
	if err != nil {
		return
	}
	v.seen[at] = state
	if v.files++; !slices.Contains(v.contents[at], sum) {
		v.unknown[at] = sum
	}
}
