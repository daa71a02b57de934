// Package schedules drives the built programs with seeded random schedules, in a
// storm of mishaps, and records a history of all that happened. Package checker
// judges it.
//
// A batch runs two replicas with all roles, a worker, a real Temporal and a
// simulated Spacelift. In the storm, hundreds of schedules begin: pushes, chains,
// monorepos, retries, previews, tasks, drift, destroys, locks and freezes, with
// labels over the whole grammar, some of them with Gantry's enforcing policies or under
// a locked rule, and people, with tokens, in browsers or by an issuer's word, who approve, reject,
// revoke, stop, relabel and confirm, also at the same instant. Somebody takes Gantry's policies away
// and confirms an urgent plan, people sign out and tokens are revoked, and readers follow the
// stream of events from replica to replica. Meanwhile processes are killed and
// paused, Spacelift's API fails in each of its ways, and notifications are lost,
// doubled, late and forged. Then it is calm: nothing goes wrong any more, and a
// janitor does what people must do by Gantry's own answers, until everything has
// ended or a bound has passed. Last, everything that Gantry shows is read.
//
// A seed fixes the stacks, the scripts, the people and the mishaps. It doesn't fix
// what the schedulers of five processes make of them, so a batch that broke a rule
// may not break it again; its history is kept.
//
//	make schedules                    # a few hundred schedules on a seed of the day
//	make faults                       # batch after batch, resumed where it was
//	SEED=7 make faults                # one batch
//	make faults ARGS='-shard 0/2'     # every second seed, beside another process
//	make faults ARGS='-schedule 12 -rule policy -minimise' SEED=7
//
// The last one plays copies of one schedule alone, drops mishaps and steps for as
// long as one of the copies still breaks the rule, and writes what is left to a
// file that -case plays again.
//
// In half of the batches, the clock of one replica is ahead for a while and that of another
// one behind. For that Gantry is built a second time, with a time.Now that can be moved:
// see program.BuildWithClock. That takes some 80 seconds of a processor when nothing is
// cached, so only make faults does it; -clocks=false leaves it out.
package schedules
