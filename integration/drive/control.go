package drive

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// control answers the control endpoint, which drives a server from another
// process. It is no part of the Drive API, wants no token and is not counted.
//
//	GET, PUT, PATCH /_control/settings    Settings; PUT replaces, PATCH changes what it names
//	GET, POST, DELETE /_control/faults    list; add a Fault; remove all or the one with ?id=
//	GET, DELETE /_control/calls           counts by kind; set to zero
//	GET /_control/log                     the last requests
//	GET /_control/tree                    every file and folder
//	GET /_control/duplicates              paths held twice
//	GET, DELETE /_control/violations      requests that the API description forbids
//	POST /_control/revoke?account=EMAIL   revoke the account's tokens
//	POST /_control/expire                 end every resumable session
//	POST /_control/expirepages            make every page token worthless
//	GET, POST /_control/finish            how many uploads are being finished; finish them now
func (s *Server) control(w http.ResponseWriter, r *http.Request) {
	answer, err := s.controlled(r)
	status := http.StatusOK
	if err != nil {
		status, answer = http.StatusBadRequest, map[string]any{"error": err.Error()}
	}
	_ = writeJSON(w, status, answer) // the client sees a broken connection itself
}

func (s *Server) controlled(r *http.Request) (any, error) {
	type ok map[string]any
	what := strings.TrimPrefix(r.URL.Path, controlPrefix)
	switch r.Method + " " + what {
	case "GET settings":
		return s.Settings(), nil
	case "PUT settings", "PATCH settings":
		var text json.RawMessage // read whole before others are kept from changing settings
		if err := decodeControl(r, &text); err != nil {
			return nil, err
		}
		err := s.tryUpdateSettings(func(v *Settings) error {
			if r.Method == http.MethodPut {
				*v = Settings{}
			}
			return json.Unmarshal(text, v)
		})
		return s.Settings(), err
	case "GET faults":
		list := []ok{}
		for _, f := range s.Faults() {
			list = append(list, describe(f))
		}
		return list, nil
	case "POST faults":
		var f Fault
		if err := decodeControl(r, &f); err != nil {
			return nil, err
		}
		a, err := s.faults.add(f)
		if err != nil {
			return nil, err
		}
		return describe(a), nil
	case "DELETE faults":
		if !r.URL.Query().Has("id") {
			s.ClearFaults()
			return ok{}, nil
		}
		id, err := strconv.Atoi(r.URL.Query().Get("id"))
		if err != nil {
			return nil, fmt.Errorf("id of a fault: %w", err)
		}
		for _, f := range s.Faults() {
			if f.ID == id {
				f.Remove()
				return ok{}, nil
			}
		}
		return nil, fmt.Errorf("no fault with id %d", id)
	case "GET calls":
		return s.Calls(), nil
	case "DELETE calls":
		s.ResetCalls()
		return ok{}, nil
	case "GET log":
		return s.Log(), nil
	case "GET tree":
		return s.Files(), nil
	case "GET duplicates":
		return append([]string{}, s.Duplicates()...), nil
	case "GET violations":
		return append([]string{}, s.Violations()...), nil
	case "DELETE violations":
		s.ClearViolations()
		return ok{}, nil
	case "POST revoke":
		email := r.URL.Query().Get("account")
		s.tree.mu.RLock()
		a := s.tree.accounts[email]
		s.tree.mu.RUnlock()
		if a == nil {
			return nil, fmt.Errorf("no account %q", email)
		}
		s.RevokeTokens(a)
		return ok{}, nil
	case "POST expire":
		s.ExpireSessions()
		return ok{}, nil
	case "POST expirepages":
		s.ExpirePageTokens()
		return ok{}, nil
	case "GET finish":
		return ok{"finishing": s.Finishing()}, nil
	case "POST finish":
		s.FinishUploads()
		return ok{}, nil
	}
	return nil, fmt.Errorf("control: no %s %s", r.Method, what)
}

func describe(a *ActiveFault) map[string]any {
	return map[string]any{"id": a.ID, "fault": a.Fault, "hits": a.Hits(), "remaining": a.Remaining()}
}

func decodeControl(r *http.Request, into any) error {
	dec := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxMetadata))
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", r.URL.Path, err)
	}
	return nil
}
