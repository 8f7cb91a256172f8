package process

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Presets are the studio's settings, in the two files of Pype.
type Presets struct {
	RetryCnt   int    // default 3
	LoopDelay  string // seconds, as Pype's presets have it: a text; default "60"
	ActiveSite string // default "studio"
	RemoteSite string // default "gdrive"; "-" for none
	LocalRoot  any    // a path, or map[string]string by name; nil: left out
	Sites      map[string]Site
}

// Site is an entry of gdrive.json.
type Site struct {
	Credentials []byte // written into a file beside the presets
	Root        any    // a path, or map[string]string by name
	Subject     string // left out if empty
	Endpoint    string // left out if empty
}

// Write writes config.json, gdrive.json and the credentials into the folder.
func (p Presets) Write(dir string) error {
	remote := p.RemoteSite
	switch remote {
	case "":
		remote = "gdrive"
	case "-":
		remote = ""
	}
	config := map[string]any{
		"local_id":    "local_0",
		"retry_cnt":   max(p.RetryCnt, 1),
		"loop_delay":  "60",
		"active_site": "studio",
		"remote_site": remote,
	}
	if p.RetryCnt == 0 {
		config["retry_cnt"] = 3
	}
	if p.LoopDelay != "" {
		config["loop_delay"] = p.LoopDelay
	}
	if p.ActiveSite != "" {
		config["active_site"] = p.ActiveSite
	}
	if p.LocalRoot != nil {
		config["local_root"] = p.LocalRoot
	}
	sites := map[string]any{}
	for name, s := range p.Sites {
		key := filepath.Join(dir, name+"-credentials.json")
		if err := os.WriteFile(key, s.Credentials, 0o600); err != nil {
			return err
		}
		entry := map[string]any{"credentials_url": key, "root": s.Root}
		if s.Subject != "" {
			entry["subject"] = s.Subject
		}
		if s.Endpoint != "" {
			entry["endpoint"] = s.Endpoint
		}
		sites[name] = entry
	}
	for name, content := range map[string]any{"config.json": config, "gdrive.json": sites} {
		data, err := json.MarshalIndent(content, "", "    ")
		if err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
