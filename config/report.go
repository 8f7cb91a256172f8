package config

import (
	"fmt"
)

// A report collects everything that is wrong or odd, so that one start tells
// all of it. where names the place: `config.json: retry_cnt`, `--retry-cnt` or
// `SITESYNC_RETRY_CNT`. A report's sentences are one line each.
type report struct {
	errs     []error
	warnings []Warning
}

func (r *report) wrong(where, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s %s", where, fmt.Sprintf(format, args...)))
}

func (r *report) odd(where, format string, args ...any) {
	r.warnings = append(r.warnings, Warning(where+" "+fmt.Sprintf(format, args...)))
}
