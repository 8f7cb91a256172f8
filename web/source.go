package web

import (
	"context"

	"sitesync/avalon"
	"sitesync/explain"
	"sitesync/site"
	"sitesync/state"
)

// Source reads what the page shows from the database and the remote site. All methods may be called at the same time
// from many goroutines; they are called seldom, and only while a page is open.
type Source interface {
	// Pauses returns what people have paused, all first.
	Pauses(ctx context.Context) ([]state.Pause, error)
	Projects(ctx context.Context) ([]avalon.Project, error)
	// Count counts the files of a project. It may take long.
	Count(ctx context.Context, project string) (avalon.Stats, error)
	// Failed returns at most limit files of a project that have no tries left, the last to fail first.
	Failed(ctx context.Context, project string, limit int) ([]avalon.FailedFile, error)
	// Quota returns the space of the remote site.
	Quota(ctx context.Context) (site.Quota, error)
	// Explain says why a representation is synced or not. The error is an [*explain.NotFoundError] if there is none.
	Explain(ctx context.Context, project, id string) (*explain.Report, error)
}

// Actions are what can be changed from the page.
type Actions interface {
	// Retry has failed files tried again: those of a representation, or all of a project if id is "". It returns how
	// many there were.
	Retry(ctx context.Context, project, id string) (int64, error)
	// Pause pauses the uploads of a project, or all if it is "". Running uploads finish, no other begins. by says
	// for people who has paused them.
	Pause(ctx context.Context, project, by string) error
	// Resume ends a pause.
	Resume(ctx context.Context, project string) error
}

// About says which sitesync this is.
type About struct {
	ActiveSite, RemoteSite string // the latter is empty if nothing is synced
	Host                   string
	Version                string
}
