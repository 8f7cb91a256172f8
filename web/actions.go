package web

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

const (
	// actionTimeout bounds what a button asks for.
	actionTimeout = time.Minute

	// maxForm bounds what a form sends, in bytes.
	maxForm = 16 << 10
)

// loginPage is the form to sign in.
type loginPage struct {
	Back  string
	Error string
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	page := loginPage{Back: back(r.URL.Query().Get("back"))}
	s.render(w, r, http.StatusOK, "login.html", frame{Title: "Sign in", Page: page})
}

// signIn signs in a person who knows the token.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	p := loginPage{Back: back(r.PostFormValue("back"))}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	status := http.StatusForbidden
	switch {
	case s.sessions == nil:
		p.Error = "This sitesync has no token, so nothing can be changed here."
	case !s.sessions.allowAttempt(host):
		status = http.StatusTooManyRequests
		w.Header().Set("Retry-After", strconv.Itoa(int(attemptInterval/time.Second)))
		p.Error = "Too many attempts. Wait a few seconds."
	case !s.sessions.verify(strings.TrimSpace(r.PostFormValue("token"))):
		s.Log.Warn("sign-in to the page refused: wrong token", zap.String("remote", r.RemoteAddr))
		p.Error = "That is not the token. It is in the file that --web-token-file names, or in SITESYNC_WEB_TOKEN."
	default:
		s.Log.Info("signed in to the page", zap.String("remote", r.RemoteAddr))
		s.sessions.setCookie(w, r, s.sessions.create(time.Now()))
		http.Redirect(w, r, p.Back, http.StatusSeeOther)
		return
	}
	s.render(w, r, status, "login.html", frame{Title: "Sign in", Page: p})
}

// back is where to go after a form: a page of ours.
func back(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") ||
		strings.Contains(to, `\`) || strings.HasPrefix(to, "/login") {
		return "/"
	}
	return u.RequestURI()
}

// authorized passes on requests of people who are signed in, by forms of our own pages.
func (s *Server) authorized(next func(http.ResponseWriter, *http.Request, *session)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		session := s.sessions.of(r, time.Now())
		switch {
		case s.sessions == nil:
			s.fail(w, r, http.StatusForbidden,
				"This page is read-only: sitesync was started without --web-token-file or SITESYNC_WEB_TOKEN.")
		case session == nil:
			s.fail(w, r, http.StatusForbidden,
				"You are not signed in, or your session has expired. Sign in and try again.")
		case !session.sent(r):
			s.fail(w, r, http.StatusForbidden,
				"This form is not from this page, or is too old. Reload the page and try again.")
		default:
			next(w, r, session)
		}
	}
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request, _ *session) {
	s.sessions.end(r)
	s.sessions.setCookie(w, r, "")
	http.Redirect(w, r, back(r.PostFormValue("back")), http.StatusSeeOther)
}

// act does what a button asks for, logs who asked, and goes back to the page, which shows the message that do returns.
func (s *Server) act(w http.ResponseWriter, r *http.Request, session *session, action string,
	do func(context.Context) (string, error)) {
	// An action is not interrupted when the browser goes away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), actionTimeout)
	defer cancel()
	log := s.Log.With(zap.String("what", action), zap.String("project", r.FormValue("project")),
		zap.String("representation", r.FormValue("id")), zap.String("remote", r.RemoteAddr))
	message, err := do(ctx)
	if err != nil {
		log.Warn("change from the page failed", zap.Error(err))
		message = "This did not work; the log says why."
	} else {
		log.Info("changed from the page", zap.String("done", message))
	}
	s.stats.Refresh()
	s.sessions.setFlash(session, message)
	http.Redirect(w, r, back(r.PostFormValue("back")), http.StatusSeeOther)
}

func (s *Server) retry(w http.ResponseWriter, r *http.Request, session *session) {
	project, id := r.FormValue("project"), r.FormValue("id")
	if project == "" {
		s.fail(w, r, http.StatusBadRequest, "The form does not say what to retry.")
		return
	}
	s.act(w, r, session, "retry", func(ctx context.Context) (string, error) {
		n, err := s.Actions.Retry(ctx, project, id)
		if n == 0 {
			return "There was nothing to retry: the files are synced, on their way, or gone.", err
		}
		return plural(n, "failed file") + " of " + project + " will be retried.", err
	})
}

func (s *Server) pause(w http.ResponseWriter, r *http.Request, session *session) {
	project := r.FormValue("project")
	s.act(w, r, session, "pause", func(ctx context.Context) (string, error) {
		return uploadsOf(project) + " are paused. Running uploads finish.",
			s.Actions.Pause(ctx, project, "the page, from "+r.RemoteAddr)
	})
}

func (s *Server) resume(w http.ResponseWriter, r *http.Request, session *session) {
	project := r.FormValue("project")
	s.act(w, r, session, "resume", func(ctx context.Context) (string, error) {
		return uploadsOf(project) + " are resumed.", s.Actions.Resume(ctx, project)
	})
}

func uploadsOf(project string) string {
	if project == "" {
		return "All uploads"
	}
	return "Uploads of " + project
}
