package drive

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
)

// secrets are texts with which one can act as another account.
type secrets struct {
	mu  sync.Mutex
	all []string
}

func (s *secrets) add(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if secret != "" {
		s.all = append(s.all, secret)
	}
}

// Secrets returns every secret that the server has given out or been sent since its start, for looking whether
// a program has leaked one: parts of private keys, client secrets, refresh and access tokens, assertions, and the ids
// of upload sessions. The URI of a session can be built from its id.
func (s *Server) Secrets() []string {
	s.secrets.mu.Lock()
	out := slices.Clone(s.secrets.all)
	s.secrets.mu.Unlock()
	s.tree.mu.RLock()
	defer s.tree.mu.RUnlock()
	for _, a := range s.tree.accounts {
		out = append(out, a.clientSecret, a.refreshToken)
		if a.Service {
			var key struct {
				PrivateKey string `json:"private_key"`
			}
			_ = json.Unmarshal(a.Credentials(), &key) // it was marshalled by ourselves
			for line := range strings.SplitSeq(key.PrivateKey, "\n") {
				if len(line) == 64 { // a line of the PEM block, not its frame
					out = append(out, line)
				}
			}
		}
	}
	return out
}
