package managed

import (
	"fmt"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

// outcome says how a run ended. It rests on the last event and on what Gantry
// did, never on how many of the events between were heard of.
func outcome(s RunStatus) string {
	end := entered(s)
	var text, by string
	if end.Actor != "" { // notifications name nobody
		by = " by " + end.Actor
		if _, ours := spacelift.MarkOf(spacelift.Transition{Note: end.Note, Username: end.Actor}); ours {
			by = " by Gantry"
		}
	}
	switch s.State {
	case spacelift.RunStateFinished:
		text = finished(s)
	case spacelift.RunStateFailed:
		text = "the run failed" + cause(s)
	case spacelift.RunStateDiscarded:
		text = "the plan was discarded" + by
	case spacelift.RunStateCanceled:
		text = "the run was cancelled before it started" + by
	case spacelift.RunStateStopped:
		text = "the run was stopped" + by
	case spacelift.RunStateSkipped:
		text = "Spacelift skipped the run"
	}
	if end.Note != "" && (s.Failure == nil || s.Failure.Source != "note") {
		text += decide.AfterColon(spacelift.Unsigned(end.Note))
	}
	return text
}

// cause says why a run failed, and what follows from it, as far as is known.
func cause(s RunStatus) (text string) {
	if s.Failure != nil {
		text = fmt.Sprintf(", and the cause is %s", s.Failure.Cause)
		if s.Failure.Evidence != "" {
			text += fmt.Sprintf(" (%s)", s.Failure.Evidence)
		}
	}
	switch {
	case s.Retry.calledOff():
		text += "; Gantry did not retry it: " + s.Retry.Reason
	case s.Retry.underWay():
		if s.Retry.By != "" {
			text += fmt.Sprintf("; %s retried it", s.Retry.By)
		} else {
			text += fmt.Sprintf("; attempt %d of %d follows", s.Retry.Attempt, s.Retry.Of)
		}
		if s.Retry.As.Run != "" && s.Retry.As != s.Run {
			text += fmt.Sprintf(" as run %s", s.Retry.As.Run)
		}
	}
	return text
}

func finished(s RunStatus) string {
	text := whatFinished(s)
	if s.Stop != nil {
		text += fmt.Sprintf("; %s wanted it stopped, which came too late", s.Stop.By)
		if len(s.Followers) > 0 || len(s.Released()) > 0 {
			text += ", so Gantry releases nothing that follows it"
		}
	}
	return text
}

func whatFinished(s RunStatus) string {
	switch {
	case s.Type == spacelift.RunTypeProposed:
		return "the preview finished"
	case s.Type == spacelift.RunTypeTask:
		return "the task finished"
	case s.Type == spacelift.RunTypeTesting:
		return "the module's test finished"
	case s.Type == spacelift.RunTypeDestroy:
		return "the stack's resources were destroyed"
	case s.Type != spacelift.RunTypeTracked || s.Delta == nil:
		return "the run finished"
	case s.Delta.Added+s.Delta.Changed+s.Delta.Deleted == 0:
		return "the run finished: the plan had no changes"
	}
	return fmt.Sprintf("the run finished and the plan was applied (%s)", applied(*s.Delta))
}

func applied(d spacelift.Delta) string {
	return fmt.Sprintf("%d added, %d changed, %d deleted", d.Added, d.Changed, d.Deleted)
}
