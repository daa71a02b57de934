package workflows

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// Whatever follows what, whatever is pushed and fails, in whatever order runs and
// chains are read, and whatever answers and news get lost: each stack applies at
// most once on account of a commit, after all that goes first, on a plan that is
// not older than what those applied, and never below a failure. When nothing gets
// lost any more, all that could be applied is.
func TestEachStackAppliesOnceAfterItsParents(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var stacks []string
		var ids []spacelift.StackID
		for i := range rapid.IntRange(2, 5).Draw(rt, "stacks") {
			id := spacelift.StackID(fmt.Sprintf("s%d", i))
			text := string(id)
			if i > 0 {
				parents := rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 0, min(2, i), rapid.ID).Draw(rt, "parents")
				names := make([]string, len(parents))
				for j, p := range parents {
					names[j] = string(p)
				}
				text += "<" + strings.Join(names, ",")
			}
			stacks, ids = append(stacks, text), append(ids, id)
		}
		lossy := true
		m := newMonorepo(rt.Fatalf, func(what string) bool {
			return lossy && rapid.IntRange(0, 5).Draw(rt, "loses "+what) == 0
		}, stacks...)
		defer m.sim.Close()

		commits := 0
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			switch what := rapid.IntRange(0, 9).Draw(rt, "what"); {
			case what == 0 && commits < 3 || commits == 0:
				commits++
				for _, s := range rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 1, len(ids), rapid.ID).Draw(rt, "pushes") {
					plan := simulator.Plan{Delta: spacelift.Delta{Added: rapid.IntRange(0, 2).Draw(rt, "changes")}}
					if rapid.IntRange(0, 9).Draw(rt, "fails") == 0 {
						plan.FailIn = spacelift.RunStatePlanning
					}
					m.push(fmt.Sprintf("c%d", commits), plan, s)
				}
			case what <= 3:
				m.clock.Advance(rapid.SampledFrom([]time.Duration{5 * time.Second, time.Minute, 15 * time.Minute, 3 * time.Hour}).Draw(rt, "time"))
				m.notices()
			case what <= 7:
				if len(m.order) > 0 {
					m.runActs(rapid.SampledFrom(m.order).Draw(rt, "run"))
				}
			default:
				if len(m.chains) > 0 {
					m.chainActs(m.chains[rapid.IntRange(0, len(m.chains)-1).Draw(rt, "chain")])
				}
			}
		}
		lossy = false
		m.settles()
		m.appliesOnce()
		m.isThrough()
	})
}

// settles lets everything happen that can.
func (m *monorepo) settles() {
	for range 60 {
		for _, ref := range slices.Clone(m.order) {
			m.runActs(ref)
		}
		for _, c := range m.chains {
			m.chainActs(c)
		}
		m.clock.Advance(20 * time.Minute)
		m.notices()
	}
}

// appliesOnce fails where a stack applied more than once on account of a commit.
func (m *monorepo) appliesOnce() {
	seen := map[string]spacelift.RunRef{}
	for _, c := range m.confirms {
		key := string(c.Run.Stack) + " " + c.For
		if before, twice := seen[key]; twice && before != c.Run {
			m.fatal("%s applied %s and %s on account of commit %s", c.Run.Stack, before.Run, c.Run.Run, c.For)
		}
		seen[key] = c.Run
	}
}

// isThrough fails where a plan still waits though nothing upstream failed, and
// where a chain is held though none of its stacks failed.
func (m *monorepo) isThrough() {
	failed := false
	for _, ref := range m.order {
		run, err := m.sim.Run(ref.Stack, ref.Run)
		m.must(err)
		failed = failed || run.State == spacelift.RunStateFailed
	}
	if failed {
		return
	}
	for _, ref := range m.order {
		if run, _ := m.sim.Run(ref.Stack, ref.Run); !run.State.Terminal() {
			m.fatal("%s is %s: %s", ref, run.State, m.runs[ref].rec.Situation(m.now()).Next().Reason)
		}
	}
	for _, c := range m.chains {
		if c.EndedAt.IsZero() {
			m.fatal("chain %s is open: %s", c.Root, chain.Decide(c, m.now()).Reason)
		}
	}
}
