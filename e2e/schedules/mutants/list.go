package mutants

// All are the mutants, by what they break.
var All = []Mutant{
	// ------------------------------------------------------------ acting
	{"confirms-blindly", "Gantry confirms without reading the run again", []Edit{{
		"activities/confirm_run.go",
		"	found, read, err := a.check(ctx, api, in)",
		"	found, read, err := managed.ConfirmResult{}, time.Now(), error(nil)",
	}}},
	{"forgets-parents", "Gantry confirms without looking at the stacks that go first again", []Edit{{
		"activities/confirm_run.go",
		"	moved, unread := a.parentsMoved(ctx, in)",
		"	moved, unread := (*managed.ParentsProgress)(nil), error(nil)",
	}}},
	{"confirms-late", "Gantry confirms by a check of any age", []Edit{{
		"activities/confirm_run.go",
		"	answer, err := api.ConfirmRun(fresh(marked, read), in.Run, mark.Sign(in.Note))",
		"	time.Sleep(5 * time.Second)\n	_ = read\n	answer, err := api.ConfirmRun(marked, in.Run, mark.Sign(in.Note))",
	}}},
	{"resends-mutations", "Gantry sends a mutation again if its answer was lost", []Edit{{
		"spacelift/spaceliftapi/transport.go",
		"	case !f.unauthorized || !f.untouched:\n		return f.final(true)",
		"	case f.transient && pause(ctx, 1, 0) && c.send(ctx, req, tok.jwt, resp.Data) == nil:\n		return nil\n	case !f.unauthorized || !f.untouched:\n		return f.final(true)",
	}}},
	{"ignores-locks", "Gantry ignores that somebody else locked a stack", []Edit{{
		"spacelift/brakes.go",
		"	case b.Lock != nil:\n		return b.Lock.block()",
		"	case b.Lock != nil && b.Lock.By == \"\":\n		return b.Lock.block()",
	}}},
	{"ignores-disabled-stacks", "Gantry ignores that a stack is disabled", []Edit{{
		"spacelift/brakes.go",
		"	case b.Disabled:",
		"	case b.Disabled && b.Deleting:",
	}}},
	{"discards-what-waits", "Gantry discards plans that wait for people", []Edit{{
		"decide/managed/decide_plan.go",
		"	case !s.Ask.Notified:\n		asking := wait.to(DoAsk)\n		asking.Journal = false // the waiting that follows says the same\n		return asking, false\n	}",
		"	case !s.Ask.Notified:\n		asking := wait.to(DoAsk)\n		asking.Journal = false // the waiting that follows says the same\n		return asking, false\n	case s.Now.After(s.Ask.Since.Add(5 * time.Second)):\n		return s.discard(discarding(s, \"nobody decided\", \"nobody decided\")), false\n	}",
	}}},
	{"gives-up-after-a-refusal", "A request that failed once leaves its claim set", []Edit{{
		"decide/managed/request.go",
		"	q.State = requestIdle\n	return true\n}\n\n// expire",
		"	q.State = requestSending\n	return true\n}\n\n// expire",
	}}},

	// ------------------------------------------------------------ policy
	{"ignores-freezes", "Gantry ignores freezes", []Edit{{
		"decide/policy/gate.go",
		"		if f.activeAt(at) {\n			closes(",
		"		if f.activeAt(at) && f.ID == \"\" {\n			closes(",
	}}},
	{"ignores-windows", "Gantry ignores windows", []Edit{{
		"decide/policy/gate.go",
		"		if open, _ := w.openAt(at); !open {\n			opens",
		"		if open, _ := w.openAt(at); !open && at.IsZero() {\n			opens",
	}}},
	{"ignores-unreadable-labels", "Gantry ignores labels that it can't read", []Edit{{
		"decide/policy/resolve.go",
		"	if len(p.Problems) > 0 {\n		p.hold(r)\n	}\n	return p\n",
		"	p.Problems = nil\n	return p\n",
	}}},
	{"confirms-unasked", "Gantry confirms plans of stacks that no label leaves to it", []Edit{{
		"decide/policy/resolve.go",
		"		Confirm:         defaultly(ConfirmManual),",
		"		Confirm:         defaultly(ConfirmAuto),",
	}}},
	{"ignores-deletes", "Gantry confirms plans that delete in spite of no-deletes", []Edit{{
		"decide/policy/auto_confirm.go",
		"		case plan.Delta.Deleted > 0:",
		"		case plan.Delta.Deleted > 1000:",
	}}},
	{"ignores-floors", "Labels override locked rules too", []Edit{{
		"decide/policy/combine.go",
		"		if lock == \"\" && l.label != \"\" && gates {",
		"		if lock = \"\"; l.label == \"\" && c.lock == name {",
	}}},
	{"ignores-resources", "Expressions over resources ask for nobody", []Edit{{
		"decide/managed/demand.go",
		"	if v != nil {\n		for _, r := range v.Required {",
		"	if v != nil && len(approved) > 100 {\n		for _, r := range v.Required {",
	}}},
	{"forgets-holds", "holdWhen holds nothing", []Edit{{
		"decide/policy/verdicts.go",
		"			if j.is(v, \"holdWhen\", s.Origin, text) {",
		"			if j.is(v, \"holdWhen\", s.Origin, text) && text == \"\" {",
	}}},
	{"forgets-conditions", "confirmWhen leaves no plan to people", []Edit{{
		"decide/policy/expressions.go",
		"	case v.Confirm:\n		effect",
		"	case v.Confirm || v.Trouble == \"\":\n		effect",
	}}},
	{"triggers-twice", "Gantry triggers a run for a person without looking for that of an earlier attempt", []Edit{{
		"activities/trigger_run.go",
		"		if activity.GetInfo(ctx).Attempt > 1 {",
		"		if activity.GetInfo(ctx).Attempt > 100 {",
	}}},
	{"forgets-askers", "People approve runs that they asked Gantry for", []Edit{{
		"workflows/trigger_run.go",
		"	startOrSignal(ctx, managed.ManageRunInput{Run: outcome.Run, Behind: behind}, managed.RunEvents{Behind: behind})",
		"	_ = behind\n	startOrSignal(ctx, managed.ManageRunInput{Run: outcome.Run}, managed.RunEvents{})",
	}}},
	{"forecasts-too-little", "The preview of followers leaves out the last stack", []Edit{{
		"decide/chain/preview.go",
		"		steps = append(steps, s)\n	}\n	return steps",
		"		steps = append(steps, s)\n	}\n	return steps[:max(len(steps)-1, 0)]",
	}}},
	{"lists-everything", "Lists of runs show all stacks to everybody", []Edit{{
		"server/run_list.go",
		"		return v.may(authority.RoleViewer, r.ref) && where",
		"		return where",
	}}},
	{"keeps-answers", "Every answer that a caller has is still right", []Edit{{
		"server/etag.go",
		"		if hasETag(r.Header.Values(\"If-None-Match\"), etag) {",
		"		if len(r.Header.Values(\"If-None-Match\")) > 0 {",
	}}},
	{"signals-nobody", "An end signals nothing that waits for it", []Edit{{
		"workflows/signal_waiting.go",
		"		if len(in.IDs) == 0 {",
		"		if len(in.IDs) >= 0 {",
	}}},
	{"ignores-limits", "Gantry confirms plans beyond the limits of a profile", []Edit{{
		"decide/policy/auto_confirm.go",
		"		case l.count(*plan.Delta) > l.limit.Value:",
		"		case l.count(*plan.Delta) > l.limit.Value+1000:",
	}}},

	// ------------------------------------------------------------ people
	{"counts-twice", "One person's approval counts as often as it is given", []Edit{
		{"decide/managed/decision.go", "		case !s.approvedBy(d.person()):", "		default:"},
		{"decide/managed/ballot.go", "return a.Counts && a.person().Is(by) }) {", "return a.Counts && a.person().Is(by) && by.Name == \"\" }) {"},
	}},
	{"forgets-aliases", "Two tokens of one person are two people", []Edit{
		{"decide/managed/decision.go", "return d.person().Is(who) })\n}\n\n// approves", "return d.By == who.Name })\n}\n\n// approves"},
	}},
	{"lets-authors-approve", "People approve what they wrote or triggered", []Edit{{
		"decide/managed/ballot.go",
		"	if e.SelfApproval {\n		return nil\n	}\n	if len(e.Excluded) == 0 {",
		"	if e.SelfApproval || by.Name != \"\" {\n		return nil\n	}\n	if len(e.Excluded) == 0 {",
	}}},
	{"lets-any-group-approve", "People of any group approve", []Edit{{
		"decide/managed/demand.go",
		"	return d.Group == \"\" || who.In(d.Group)",
		"	return d.Group == \"\" || who.Name != \"\" || who.In(d.Group)",
	}}},
	{"keeps-approvals-over-replans", "An approval of one plan counts for the next one", []Edit{
		{"decide/managed/decision.go", "		if (StateKey{d.StateVersion, d.State}) != s.Key() || d.Revoked", "		if d.State != s.State || d.Revoked"},
		{"decide/managed/decision.go", "	case bySize(d.Delta, s.Delta) != 0:", "	case bySize(d.Delta, s.Delta) > 1000:"},
	}},
	{"takes-stale-decisions", "A decision about an earlier plan counts for the present one", []Edit{{
		"decide/managed/refuse.go",
		"	case seen != nil && *seen != s.StateVersion:",
		"	case seen != nil && *seen > s.StateVersion:",
	}}},
	{"forgets-revocations", "An approval that was taken back still counts", []Edit{{
		"decide/managed/decision.go",
		"				was.Revoked = true",
		"				was.Revoked = false",
	}}},
	{"forgets-rejections", "A plan that somebody rejected is confirmed", []Edit{
		{"decide/managed/decision.go", "			s.rejected = &all[i]", "			s.rejected = nil"},
		{"decide/managed/decision.go", "		if d.Verdict == Reject || d.Verdict == Revoke {", "		if d.Verdict == Revoke {"},
	}},
	{"forgets-stops", "A stop binds in the state in which it came alone", []Edit{{
		"decide/managed/situation.go",
		"	s.needsApproval = r.needsApproval(key)\n",
		"	if s.stopping != nil && s.stopping.Key != key {\n		s.stopping = nil\n	}\n	s.needsApproval = r.needsApproval(key)\n",
	}}},
	{"refuses-what-counts", "A rejection is answered with a refusal and counts", []Edit{{
		"workflows/manage_run_updates.go",
		"	m.known.TakeDecision(workflow.Now(ctx).UTC(), d)\n	return m.answer(ctx)",
		"	m.known.TakeDecision(workflow.Now(ctx).UTC(), d)\n	if d.Verdict == managed.Reject {\n		return nil, asError(decide.Refuse(managed.ErrTypeTooLate, \"it is too late\"))\n	}\n	return m.answer(ctx)",
	}}},
	{"answers-before-the-record", "A decision is answered before it is recorded", []Edit{{
		"workflows/manage_run_updates.go",
		"	m.known.TakeDecision(workflow.Now(ctx).UTC(), d)\n	return m.answer(ctx)",
		"	workflow.Go(ctx, func(ctx workflow.Context) {\n		_ = workflow.Sleep(ctx, 2e9)\n		m.known.TakeDecision(workflow.Now(ctx).UTC(), d)\n		m.requests++\n	})\n	return m.status(ctx), nil",
	}}},
	{"forgets-keys", "Requests under one Idempotency-Key count separately", []Edit{{
		"server/idempotency.go",
		"	if len(keys) == 0 {\n		return change{}, nil",
		"	if len(keys) <= 1 {\n		return change{}, nil",
	}}},
	{"forgets-freezes", "A freeze is answered and forgotten", []Edit{{
		"workflows/freezes.go",
		"	k.changed = true\n	k.log.Info(\"freeze declared\"",
		"	k.changed, k.book = true, freeze.Book{}\n	k.log.Info(\"freeze declared\"",
	}}},

	// ------------------------------------------------------------ audit
	{"audits-no-decisions", "Decisions are not in the audit log", []Edit{{
		"server/audit.go",
		"		if !changes && !forbidden(err) {",
		"		if !changes && !forbidden(err) || operation == \"DecideRun\" {",
	}}},
	{"audits-another-name", "The audit log has the kind of credentials in place of a name", []Edit{{
		"server/audit.go",
		"By: caller.Person.Name, Via: string(caller.How) + \" \" + caller.Credential, Source: sourceName(h.door.sources.of(r), r),\n			Action:",
		"By: string(caller.How), Via: string(caller.How) + \" \" + caller.Credential, Source: sourceName(h.door.sources.of(r), r),\n			Action:",
	}}},
	{"audits-refusals-as-done", "The audit log says of refused changes that they were made", []Edit{{
		"server/audit.go",
		"	case p.Status < http.StatusInternalServerError:\n		return audit.Refused, detail",
		"	case p.Status < http.StatusInternalServerError:\n		return audit.Done, detail",
	}}},
	{"overlooks-bypasses", "Gantry takes every confirmation in Spacelift for allowed", []Edit{{
		"decide/managed/bypass.go",
		"	if reason == \"\" {\n		return\n	}",
		"	if reason == \"\" || at.After(r.StartedAt) {\n		return\n	}",
	}}},
	{"reviews-early", "Gantry approves plans in Spacelift before it decides about them", []Edit{{
		"decide/managed/decide_plan.go",
		"		if s.needed() == 0 && s.ownReview() {",
		"		if s.ownReview() {",
	}}},
	{"releases-blindly", "Gantry releases plans to people without looking at freezes again", []Edit{{
		"activities/act_on_run.go",
		"	if in.Decision == spacelift.ReviewApprove {",
		"	if in.Decision == spacelift.ReviewApprove && !in.Releases {",
	}}},
	{"excuses-urgent-plans", "A plan that somebody applies in spite of a stop, a rejection or a freeze is no bypass", []Edit{
		{"decide/managed/bypass.go", "	case r.Stopping != nil:\n", "	case r.Stopping != nil && r.Stopping.By == \"\":\n"},
		{"decide/managed/bypass.go", "	case rejected:\n", "	case rejected && s.objection.By == \"\":\n"},
		{"decide/managed/bypass.go", "	case !gate.At.IsZero() && !gate.Open:\n", "	case !gate.At.IsZero() && !gate.Open && gate.Reason == \"\":\n"},
		{"decide/managed/bypass.go", "	if given, needed := sums(demands); given < needed {\n", "	if given, needed := sums(demands); given < needed && r.Stopping == nil && gate.Open && s.objection == nil {\n"},
	}},
	{"alarms-nobody", "A bypass is shown, and raises no alarm", []Edit{{
		"decide/managed/bypass.go",
		"	r.notifyBypassed(at, a.plan != nil)\n",
		"",
	}}},
	{"believes-signed-out", "A session counts after its end", []Edit{{
		"authority/session.go",
		"	s.ended[session.ID] = session.SignedIn.Add(s.Lifetime)\n",
		"",
	}}},
	{"ignores-reloads", "Tokens, roles and people are those of the start", []Edit{{
		"service/reload.go",
		"	if p.surface != nil {\n		p.surface.Reload(",
		"	if p.surface != nil && len(changes) == 0 {\n		p.surface.Reload(",
	}}},
	{"streams-everything", "Streams show all stacks to everybody", []Edit{{
		"server/event_stream.go",
		"	case !s.where.Holds(known), !s.view.principal.May(authority.RoleViewer, known):",
		"	case !s.where.Holds(known):",
	}}},
	{"loses-missed-events", "A reader who comes back to a stream misses the runs that changed meanwhile", []Edit{{
		"server/event_hub.go",
		"		if e.changed >= l.since {\n			l.pending[id] = true\n		}\n	}\n	l.wake()\n	return l, true",
		"		if e.changed >= l.since && e.run == nil {\n			l.pending[id] = true\n		}\n	}\n	l.wake()\n	return l, true",
	}}},
	{"resumes-early", "A stream that resumes shows what the replica read last", []Edit{{
		"server/event_hub.go",
		"	if !b.awaitReading(ctx, now) || !b.extend(ctx, since) {",
		"	if !b.extend(ctx, since) {",
	}}},
	{"ignores-scopes", "A role that holds for one stack holds for all stacks", []Edit{{
		"server/scope.go",
		"		case needed.scope == scopeStack:",
		"		case needed.scope == scopeStack && c.stack == \"\":",
	}}},
	{"breaks-the-audit-chain", "Entries of the audit log don't name the one before", []Edit{{
		"audit/log.go",
		"e.Sequence, e.Replica, e.Previous = l.head.Sequence+1, l.o.Replica, l.head.Hash",
		"e.Sequence, e.Replica, e.Previous = l.head.Sequence+1, l.o.Replica, \"\"",
	}}},
	{"audits-in-memory", "Entries of the audit log are not written before the answer", []Edit{{
		"server/audit.go",
		"		_ = h.audit.Record(ctx, e) // which logs what can't be written; the change is made",
		"		time.AfterFunc(10*time.Second, func() { _ = h.audit.Record(context.WithoutCancel(ctx), e) })",
	}, {
		"server/audit.go",
		"	\"strconv\"\n",
		"	\"strconv\"\n	\"time\"\n",
	}}},

	// ------------------------------------------------------------ retries
	{"retries-beyond-the-budget", "Failed runs are retried more often than the policy says", []Edit{{
		"decide/policy/retry.go",
		"	case f.Attempt >= attempts:",
		"	case f.Attempt >= attempts+5:",
	}}},
	{"retries-applies", "A run is retried although its apply had begun", []Edit{{
		"decide/policy/retry.go",
		"	if f.ApplyBegan {",
		"	if f.ApplyBegan && f.Attempt < 0 {",
	}}},
	{"retries-any-cause", "A run is retried whatever the cause of its failure", []Edit{{
		"decide/policy/retry.go",
		"	if slices.Contains(p.RetryCauses.Value, f.Cause) {",
		"	if f.Cause != \"\" || slices.Contains(p.RetryCauses.Value, f.Cause) {",
	}}},
	{"retries-twice", "Gantry retries a run without looking for the retry of an earlier attempt", []Edit{{
		"activities/retry_run.go",
		"	found, err := a.begun(ctx, api, in, run)\n	if err != nil || found.Outcome != \"\" {",
		"	found, err := RetryRunResult{}, err\n	if err != nil || found.Outcome != \"\" {",
	}}},

	// ------------------------------------------------------------ chains
	{"forgets-chains", "A run that finishes begins no chain", []Edit{{
		"decide/managed/decide_end.go",
		"		return end.to(DoRelease)\n",
		"		return end\n",
	}}},
	{"releases-after-failures", "A chain releases the stacks behind a failure", []Edit{{
		"decide/chain/decide.go",
		"		case NodeFailed, NodeHeld:\n			l.Lets = EdgeStops",
		"		case NodeFailed, NodeHeld:\n			l.Lets = EdgeReleases",
	}}},
	{"releases-early", "A chain releases a stack before all that it follows have finished", []Edit{{
		"decide/chain/decide.go",
		"			l.Released = l.Released && conditions[p].Lets == EdgeReleases\n",
		"			l.Released = p >= 0\n",
	}}},
	{"triggers-again", "A chain triggers a stack whether it has a run or not", []Edit{{
		"activities/trigger_follower.go",
		"	if err == nil && result.Outcome == \"\" {\n		result, err = a.adopt(ctx, api, in, without(lines, in.Void))\n	}\n",
		"",
	}}},
	{"triggers-late", "A chain triggers a stack by a list of its runs of any age", []Edit{{
		"activities/trigger_follower.go",
		"		if err == nil && newestOf(lines) != known {\n			err = spacelift.ErrStale\n		}\n",
		"		_ = lines\n",
	}}},
	{"keeps-old-plans", "Gantry confirms plans from before a parent applied", []Edit{{
		"decide/managed/parents.go",
		"	return p.State == ParentsThrough || p.State == ParentsNewer && by.OldPlans.Value == policy.OldPlansKeep",
		"	return p.State == ParentsThrough || p.State == ParentsNewer && by.OldPlans.Value != \"\"",
	}}},
	{"overtakes-parents", "Gantry confirms a plan while a parent works on the commit", []Edit{
		{"activities/read_parents.go", "		return managed.ParentsProgress{State: managed.ParentsBusy, Of: line.Ref, Reason: fmt.Sprintf(\"run %s of %s works on", "		return managed.ParentsProgress{State: managed.ParentsThrough, Of: line.Ref, Reason: fmt.Sprintf(\"run %s of %s works on"},
	}},
	{"ignores-failed-parents", "Gantry confirms a plan below a failure", []Edit{{
		"activities/read_parents.go",
		"	return managed.ParentsProgress{State: managed.ParentsFailed, Of: line.Ref,",
		"	return managed.ParentsProgress{State: managed.ParentsThrough, Of: line.Ref,",
	}}},

	// ------------------------------------------------------------ notifications and messages
	{"drops-events", "The forwarder drops the events of plans that wait", []Edit{{
		"inbox/executions/target.go",
		"func (t *Target) Signal(ctx context.Context, run spacelift.RunRef, events []managed.RunEvent) error {",
		"func (t *Target) Signal(ctx context.Context, run spacelift.RunRef, events []managed.RunEvent) error {\n	if len(events) > 0 && events[len(events)-1].State == spacelift.RunStateUnconfirmed {\n		return nil\n	}",
	}}},
	{"believes-ends", "An end counts once a notification says so", []Edit{{
		"decide/managed/trust.go",
		"		_, shown := r.apiShowed(keyOfState(*e))\n		return shown\n	}\n	return !r.beyond(e)",
		"		return true\n	}\n	return !r.beyond(e)",
	}}},
	{"accepts-any-signature", "Any signature makes a notification authentic", []Edit{{
		"spacelift/signature.go",
		"	return hmac.Equal(mac.Sum(sum[:0]), signature)",
		"	return len(mac.Sum(sum[:0])) == len(signature)",
	}}},
	{"repeats-claims", "Messages repeat what notifications claim", []Edit{
		{"decide/managed/messages.go", "	shown := r.readFacts()\n", "	shown := r.Facts()\n"},
	}},
	{"signs-wrongly", "The signature of messages covers something else", []Edit{{
		"notify/channels/webhook.go",
		"		mac.Write([]byte(id + \".\" + timestamp + \".\"))",
		"		mac.Write([]byte(id + \",\" + timestamp + \",\"))",
	}}},
	{"adopts-nothing", "Reconcile adopts no run that no notification named", []Edit{{
		"decide/reconcile/repair.go",
		"			r.Do, r.Events = Adopt, newestOf(events)",
		"			r.Events = newestOf(events)",
	}}},
}
