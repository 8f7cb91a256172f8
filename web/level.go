package web

import "sitesync/explain"

// Level is how good or bad something is. It is a class of the style sheet.
type Level string

// The levels.
const (
	OK         Level = "ok"
	InProgress Level = "in-progress"
	Warning    Level = "warning"
	Error      Level = "error"
	Neutral    Level = "neutral"
)

// levelOf is the level of a verdict of explain.
func levelOf(v explain.Severity) Level {
	switch v {
	case explain.OK:
		return OK
	case explain.Waiting:
		return InProgress
	case explain.Wrong:
		return Error
	}
	return Warning
}

// Text is the level for people who do not see colors.
func (l Level) Text() string {
	switch l {
	case OK:
		return "ok"
	case InProgress:
		return "in progress"
	case Warning:
		return "warning"
	case Error:
		return "error"
	}
	return "not known"
}
