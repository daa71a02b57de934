package reconcile

import (
	"fmt"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
)

// Level says whether somebody should act.
type Level string

// The levels.
const (
	LevelOK       Level = "ok"
	LevelWarning  Level = "warning"
	LevelCritical Level = "critical"
)

// Replica is a replica's report of its own work.
type Replica struct {
	Name    string
	Problem string // why it did not answer; the rest is unknown then

	Writable bool // it can store events
	Pending  int  // events that wait for Temporal
	Dead     int  // events that Temporal refused permanently
	Down     bool // Temporal doesn't answer it
	Since    time.Time
}

// Judge returns whether all is well with replicas, findings and accounts, some of which
// Temporal doesn't answer for, and a sentence that says it.
func Judge(replicas []Replica, findings []Finding, unknown []string) (Level, string) {
	critical, warnings := judgeReplicas(replicas)
	for _, f := range findings {
		if f.Kind.Severity() == SeverityCritical {
			critical = append(critical, f.Summary)
		} else {
			warnings = append(warnings, f.Summary)
		}
	}
	if len(unknown) > 0 && len(critical) == 0 {
		critical = append(critical, "Temporal doesn't answer, so Gantry doesn't know how account "+strings.Join(unknown, ", ")+" is")
	}
	level := LevelCritical
	all := append(critical, warnings...)
	switch {
	case len(all) == 0:
		return LevelOK, "All is well: Gantry stores notifications, Temporal answers, and there are no findings."
	case len(critical) == 0:
		level = LevelWarning
	}
	text := decide.Sentence(all[0])
	switch more := len(all) - 1; {
	case more == 1:
		text += " One more thing needs attention."
	case more > 1:
		text += fmt.Sprintf(" %d more things need attention.", more)
	}
	return level, text
}

func judgeReplicas(replicas []Replica) (critical, warnings []string) {
	var down Replica
	dead := 0
	for _, r := range replicas {
		if r.Problem != "" {
			warnings = append(warnings, fmt.Sprintf("replica %s doesn't answer: %s", r.Name, r.Problem))
			continue
		}
		if !r.Writable {
			critical = append(critical, fmt.Sprintf("replica %s can't store events, so it refuses what Spacelift sends", r.Name))
		}
		dead += r.Dead
		if r.Down {
			if !down.Down || r.Since.Before(down.Since) {
				down.Since = r.Since
			}
			down.Down, down.Pending = true, down.Pending+r.Pending
		}
	}
	if down.Down {
		critical = append(critical, fmt.Sprintf("Temporal hasn't answered since %s; %d events wait, and nothing is confirmed",
			down.Since.UTC().Format("Mon 2 Jan 15:04 UTC"), down.Pending))
	}
	if dead > 0 {
		warnings = append(warnings, fmt.Sprintf("Temporal refused %d events permanently; fix the cause, then gantry deliveries redeliver --dead sends them again", dead))
	}
	return critical, warnings
}
