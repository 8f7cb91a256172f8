package testenv

import "strings"

// TriggerWriter collects what is written, and calls Trigger before each write that contains Text.
type TriggerWriter struct {
	strings.Builder
	Text    string
	Trigger func()
}

// Write is part of [io.Writer].
func (w *TriggerWriter) Write(p []byte) (int, error) {
	if strings.Contains(string(p), w.Text) {
		w.Trigger()
	}
	return w.Builder.Write(p)
}
