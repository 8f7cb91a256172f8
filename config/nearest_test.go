package config

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"local_id", "retry_cnt", "loop_delay", "active_site", "remote_site", "local_root", "root",
		"credentials_url", "x"}
	for word, want := range map[string]string{
		"retry_count": "retry_cnt",
		"RETRY-CNT":   "retry_cnt",
		"retrycnt":    "retry_cnt",
		"loop_deley":  "loop_delay",
		"loop delay":  "loop_delay",
		"activ_site":  "active_site",
		"site":        "",
		"roots":       "root",
		"Root":        "root",
		"credentials": "credentials_url",
		"local":       "",
		"lokal_id":    "local_id",
		"colour":      "",
		"y":           "",
		"":            "",
		"rööt":        "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("nearest to %q is %q, want %q", word, got, want)
		}
	}
	if got := Nearest("a", nil); got != "" {
		t.Errorf("nearest of nothing is %q", got)
	}
}
