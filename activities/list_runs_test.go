package activities_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/freeze"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// do executes an activity and decodes its result.
func do[T any](env *testsuite.TestActivityEnvironment, activity, in any) (result T, err error) {
	value, err := env.ExecuteActivity(activity, in)
	if err != nil {
		return result, err
	}
	return result, value.Get(&result)
}

func TestReadRunShowsHistoryAndOurLabels(t *testing.T) {
	r := newRig(t)
	var a *activities.Activities
	run, err := do[spacelift.Run](r.env, a.ReadRun, r.ref)
	r.must(err)
	if run.State != spacelift.RunStateUnconfirmed || len(run.History) != 6 || !slices.Equal(run.StackLabels, auto) {
		t.Errorf("read %+v", run)
	}
	gone := r.ref
	gone.Run = "01KDXGONE00000000000000000"
	_, err = do[spacelift.Run](r.env, a.ReadRun, gone)
	if app, ok := errors.AsType[*temporal.ApplicationError](err); !ok || app.Type() != activities.ErrTypeNotFound || !app.NonRetryable() {
		t.Errorf("a run that is not there: %v", err)
	}
}

func TestEnableWebhookNeedsTheSecret(t *testing.T) {
	r := newRig(t)
	r.must(r.sim.AddNamedWebhook(simulator.NamedWebhook{ID: "gantry", Endpoint: "https://gantry.example/webhook", Secret: "x", Disabled: true}))
	var a *activities.Activities
	in := activities.WebhookInput{Account: "acme", ID: "gantry"}
	_, err := do[activities.Webhook](r.env, a.EnableWebhook, in)
	if app, ok := errors.AsType[*temporal.ApplicationError](err); !ok || app.Type() != activities.ErrTypeNoSecret || !app.NonRetryable() {
		t.Errorf("without a secret: %v", err)
	}
	hook, err := do[activities.Webhook](r.env, a.ReadWebhook, in)
	r.must(err)
	if hook != (activities.Webhook{ID: "gantry", Calls: 1}) {
		t.Errorf("the webhook is %+v", hook)
	}
}

// Somebody else may have switched it on: then nothing is sent.
func TestEnableWebhookReadsFirst(t *testing.T) {
	r := newRig(t)
	r.must(r.sim.AddNamedWebhook(simulator.NamedWebhook{ID: "gantry", Endpoint: "https://gantry.example/webhook", Secret: "x"}))
	r.secrets["acme"] = func() string { return "x" }
	var a *activities.Activities
	hook, err := do[activities.Webhook](r.env, a.EnableWebhook, activities.WebhookInput{Account: "acme", ID: "gantry"})
	r.must(err)
	if hook != (activities.Webhook{ID: "gantry", Enabled: true, Calls: 1}) || len(r.sim.Mutations("namedWebhooksIntegrationUpdate")) != 0 {
		t.Errorf("the webhook is %+v after %d updates", hook, len(r.sim.Mutations("namedWebhooksIntegrationUpdate")))
	}
}

// That there is no execution is an answer, and so is that it can't say what it
// knows. That Temporal is away is neither.
func TestAskExecutionThatDoesNotAnswer(t *testing.T) {
	for _, tc := range []struct {
		err          error
		exists, mute bool
		fails        bool
	}{
		{err: serviceerror.NewNotFound("no execution")},
		{err: serviceerror.NewWorkflowNotReady("Unable to query workflow due to Workflow Task in failed state."), exists: true, mute: true},
		{err: serviceerror.NewQueryFailed("panic"), exists: true, mute: true},
		{err: serviceerror.NewUnavailable("away"), fails: true},
	} {
		a := &activities.Activities{Temporal: &fakeTemporal{away: tc.err}}
		known, err := a.AskExecution(t.Context(), activities.QueryInput{ID: "run/a/b/c", Query: "status"})
		if known.Exists != tc.exists || (known.Mute != "") != tc.mute || (err != nil) != tc.fails {
			t.Errorf("%v: %+v, %v", tc.err, known, err)
		}
	}
}

// surveyed is an account for a survey: its runs in progress, and the
// executions in Temporal's index.
type surveyed struct {
	activities.Spacelift
	activities.Temporal

	lines   []spacelift.RunLine
	open    []indexed
	stuck   []string
	freezes []policy.Freeze
	refuses string // a part of the queries that Temporal does not understand
}

type indexed struct {
	run                       spacelift.RunRef
	state, phase, fingerprint string
}

func (s *surveyed) RunsInProgress(_ context.Context, pages int, _ ...spacelift.RunState) (spacelift.Listing[spacelift.RunLine], error) {
	n := min(len(s.lines), 50*pages)
	return spacelift.Listing[spacelift.RunLine]{Items: s.lines[:n], Complete: n == len(s.lines)}, nil
}

func (s *surveyed) ListWorkflow(_ context.Context, req *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	if s.refuses != "" && strings.Contains(req.GetQuery(), s.refuses) {
		return nil, serviceerror.NewInvalidArgument("no such attribute")
	}
	var all []*workflowpb.WorkflowExecutionInfo
	add := func(id string, attributes map[string]string) {
		fields := map[string]*commonpb.Payload{}
		for name, value := range attributes {
			fields[name], _ = converter.GetDefaultDataConverter().ToPayload(value)
		}
		all = append(all, &workflowpb.WorkflowExecutionInfo{
			Execution: &commonpb.WorkflowExecution{WorkflowId: id}, SearchAttributes: &commonpb.SearchAttributes{IndexedFields: fields},
		})
	}
	if strings.Contains(req.GetQuery(), "stuck") {
		for _, id := range s.stuck {
			add(id, nil)
		}
	} else {
		for _, o := range s.open {
			add("run/"+o.run.String(), map[string]string{"State": o.state, "Phase": o.phase, "Fingerprint": o.fingerprint})
		}
	}
	begin := 0
	if token := req.GetNextPageToken(); len(token) > 0 {
		if _, err := fmt.Sscan(string(token), &begin); err != nil {
			return nil, err
		}
	}
	end := min(len(all), begin+int(req.GetPageSize()))
	page := &workflowservice.ListWorkflowExecutionsResponse{Executions: all[begin:end]}
	if end < len(all) {
		page.NextPageToken = fmt.Append(nil, end)
	}
	return page, nil
}

func (s *surveyed) QueryWorkflow(_ context.Context, _, _, query string, _ ...any) (converter.EncodedValue, error) {
	if query != freeze.Query {
		return nil, serviceerror.NewNotFound("nobody notifies")
	}
	payloads, err := converter.GetDefaultDataConverter().ToPayloads(s.freezes)
	return answer{payloads}, err
}

var surveyInput = activities.SurveyInput{
	Account: "acme", At: noon, Grace: 30 * time.Second, Open: "open", Stuck: "stuck",
	Index: activities.Indexed{State: "State", Phase: "Phase", Fingerprint: "Fingerprint", Waiting: []string{"waiting", "holding"}},
	Pages: 400, Executions: 20_000, Candidates: 10, Unknown: 10,
}

func (s *surveyed) survey(t *testing.T, in activities.SurveyInput) activities.Survey {
	t.Helper()
	a := &activities.Activities{Accounts: map[spacelift.Account]activities.Spacelift{"acme": s}, Temporal: s}
	found, err := a.Survey(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestSurvey(t *testing.T) {
	ours := []string{"gantry:managed"}
	line := func(labels []string, age time.Duration) []spacelift.RunLine {
		return []spacelift.RunLine{{Ref: surveyRun("a"), State: spacelift.RunStatePlanning, StackLabels: labels, CreatedAt: noon.Add(-age)}}
	}
	asking := func(l []spacelift.RunLine) []spacelift.RunLine {
		l[0].NeedsApproval = true
		return l
	}
	open := func(state, phase string, labels []string, review bool) []indexed {
		return []indexed{{surveyRun("a"), state, phase, policy.Facts{Labels: labels, NeedsApproval: review}.Fingerprint()}}
	}
	listed := &reconcile.Candidate{Listed: true, Managed: true, State: spacelift.RunStatePlanning}
	unmanaged := &reconcile.Candidate{Listed: true, State: spacelift.RunStatePlanning}
	whole := &reconcile.Candidate{Listed: true, Managed: true, State: spacelift.RunStatePlanning, Whole: true, Swept: true}
	for name, tc := range map[string]struct {
		lines   []spacelift.RunLine
		open    []indexed
		stuck   bool
		sweep   *reconcile.Sweep
		missing []activities.MissingRun
		want    *reconcile.Candidate
	}{
		"nothing is known of it":                      {lines: line(ours, time.Hour), want: listed},
		"nothing is known of it yet":                  {lines: line(ours, 20*time.Second)},
		"its stack is not managed":                    {lines: line([]string{"env:prod"}, time.Hour)},
		"its stack is not managed any more":           {lines: line(nil, time.Hour), open: open("QUEUED", "queued", ours, false), want: unmanaged},
		"its execution shows another state":           {lines: line(ours, time.Second), open: open("QUEUED", "queued", ours, false), want: listed},
		"its execution shows no state yet":            {lines: line(ours, time.Second), open: open("", "", ours, false), want: listed},
		"its execution shows the same":                {lines: line(ours, time.Hour), open: open("PLANNING", "planning", ours, false)},
		"it continues, and its labels are others now": {lines: line(ours, time.Hour), open: open("PLANNING", "planning", nil, false)},
		"it waits, and its execution knows that":      {lines: line(ours, time.Hour), open: open("PLANNING", "waiting", ours, false)},
		"it waits, and its labels are others now":     {lines: line(ours, time.Hour), open: open("PLANNING", "waiting", nil, false), want: listed},
		"it is held, and its labels are others now":   {lines: line(ours, time.Hour), open: open("PLANNING", "holding", nil, false), want: listed},
		"an approval policy asks for a review":        {lines: asking(line(ours, time.Hour)), open: open("PLANNING", "planning", ours, false), want: listed},
		"that is known":                               {lines: asking(line(ours, time.Hour)), open: open("PLANNING", "waiting", ours, true)},
		"it no longer does":                           {lines: line(ours, time.Hour), open: open("PLANNING", "waiting", ours, true), want: listed},
		"every run is to be compared":                 {lines: line(ours, time.Hour), open: open("PLANNING", "planning", ours, false), sweep: &reconcile.Sweep{}, want: whole},
		"it was compared":                             {lines: line(ours, time.Hour), open: open("PLANNING", "planning", ours, false), sweep: &reconcile.Sweep{After: "app/b"}},
		"it was to be compared, and could not be":     {lines: line(ours, time.Hour), open: open("PLANNING", "planning", ours, false), sweep: &reconcile.Sweep{After: "app/b", Owed: []string{"app/a"}}, want: whole},
		"to be compared, and followed by nothing":     {lines: line(nil, time.Hour), sweep: &reconcile.Sweep{}},
		"it is followed and no longer in progress":    {open: open("APPLYING", "applying", ours, false), want: &reconcile.Candidate{}},
		"it has ended, and its execution knows":       {open: open("FAILED", "retrying", ours, false)},
		"an end is known, and it continues":           {lines: line(ours, time.Hour), open: open("FAILED", "retrying", ours, false), want: listed},
		"Spacelift did not know it a moment ago":      {open: open("APPLYING", "applying", ours, false), missing: []activities.MissingRun{{Key: "app/a"}}},
		"it is time to look for it again":             {open: open("APPLYING", "applying", ours, false), missing: []activities.MissingRun{{Key: "app/a", Due: true}}, want: &reconcile.Candidate{}},
		"its execution can't go on":                   {lines: line(ours, time.Hour), open: open("QUEUED", "queued", ours, false), stuck: true},
		"nothing is in progress":                      {},
	} {
		t.Run(name, func(t *testing.T) {
			s := &surveyed{lines: tc.lines, open: tc.open}
			if tc.stuck {
				s.stuck = []string{"run/acme/app/a"}
			}
			in := surveyInput
			in.Sweep, in.Missing = tc.sweep, tc.missing
			found := s.survey(t, in)
			var want []reconcile.Candidate
			if tc.want != nil {
				one := *tc.want
				one.Run = surveyRun("a")
				want = []reconcile.Candidate{one}
			}
			if diff := cmp.Diff(want, found.Candidates, cmpopts.IgnoreFields(reconcile.Candidate{}, "Fingerprint")); diff != "" || found.Postponed != 0 {
				t.Errorf("%d more; candidates (-want +got):\n%s", found.Postponed, diff)
			}
			if len(found.Missing) != len(tc.missing) || found.Open != len(tc.open) {
				t.Errorf("%d open, missing are %v", found.Open, found.Missing)
			}
		})
	}
}

func surveyRun(name string) spacelift.RunRef {
	return spacelift.RunRef{Account: "acme", Stack: "app", Run: spacelift.RunID(name)}
}

// What a survey finds does not grow with the account, and says what it left out.
func TestSurveyOfMany(t *testing.T) {
	s := &surveyed{freezes: []policy.Freeze{{ID: "audit", From: noon.Add(-time.Hour)}}}
	for i := range 5_000 {
		run := surveyRun(fmt.Sprintf("%0200d", i))
		s.lines = append(s.lines, spacelift.RunLine{Ref: run, State: "UNCONFIRMED", StackLabels: []string{"gantry:managed"}, CreatedAt: noon.Add(-time.Hour)})
		s.open = append(s.open, indexed{run, "UNCONFIRMED", "waiting", policy.Facts{Labels: []string{"gantry:managed"}}.Fingerprint() + "/0"})
	}
	found := s.survey(t, surveyInput)
	if want := (activities.Survey{InProgress: 5_000, Open: 5_000, Calls: 100, Behind: 5_000}); !cmp.Equal(found, want) {
		t.Errorf("found %+v, want %+v", found, want)
	}
	in := surveyInput
	in.Pages, in.Executions = 60, 2_500
	if found := s.survey(t, in); !found.Partial || found.InProgress != 3_000 || found.Open != 2_500 {
		t.Errorf("of more than it lists it found %+v", found)
	}
	// A Temporal that does not mark executions is no reason to fail.
	s.stuck, s.refuses = []string{"run/acme/app/x"}, "stuck"
	if found := s.survey(t, surveyInput); found.Stuck.Count != 0 || found.Open != 5_000 {
		t.Errorf("found %+v", found)
	}
}

// However many runs there are and however they come and go, one that needs a check
// gets it: inventing thousands of runs keeps none that is in progress waiting.
func TestNoRunStarves(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		in := surveyInput
		in.Candidates, in.Unknown = 4, 4
		real, forged := rapid.IntRange(0, 10).Draw(rt, "real"), rapid.IntRange(0, 50).Draw(rt, "forged")
		s := &surveyed{}
		for i := range real {
			s.lines = append(s.lines, spacelift.RunLine{Ref: surveyRun(fmt.Sprint("real", i)), State: "PLANNING", StackLabels: []string{"gantry:managed"}})
		}
		for i := range forged {
			s.open = append(s.open, indexed{surveyRun(fmt.Sprint("forged", i)), "PLANNING", "planning", "x"})
		}
		looked := map[string]bool{}
		for tick := range real {
			in.At = noon.Add(time.Duration(tick) * time.Minute)
			found := s.survey(t, in)
			if want := min(4, len(s.lines)+forged); len(found.Candidates) != want || found.Postponed != len(s.lines)+forged-want {
				rt.Fatalf("of %d and %d runs, %d are looked at and %d wait", len(s.lines), forged, len(found.Candidates), found.Postponed)
			}
			for _, c := range found.Candidates {
				if c.Listed { // and is adopted
					looked[string(c.Run.Run)] = true
					s.lines = slices.DeleteFunc(s.lines, func(l spacelift.RunLine) bool { return l.Ref == c.Run })
				}
			}
		}
		if len(looked) != real {
			rt.Errorf("%d of %d runs in progress were looked at in as many ticks", len(looked), real)
		}
	})
}

// A sweep compares each open execution once, in the order of their runs, also
// where others are more urgent.
func TestSurveySweeps(t *testing.T) {
	s := &surveyed{}
	for i := range 25 {
		run := surveyRun(fmt.Sprintf("%02d", i))
		s.lines = append(s.lines, spacelift.RunLine{Ref: run, State: "PLANNING", StackLabels: []string{"gantry:managed"}})
		state := "PLANNING"
		if i%5 == 0 {
			state = "QUEUED" // its index lags behind, for ever
		}
		s.open = append(s.open, indexed{run, state, "planning", policy.Facts{Labels: []string{"gantry:managed"}}.Fingerprint()})
	}
	in, swept := surveyInput, map[string]int{}
	in.Sweep = &reconcile.Sweep{}
	for ticks := 0; in.Sweep != nil; ticks++ {
		in.At = in.At.Add(time.Minute)
		found := s.survey(t, in)
		for _, c := range found.Candidates {
			if c.Swept {
				swept[string(c.Run.Run)]++
			}
		}
		if in.Sweep.After = found.SweptTo; found.SweptAll {
			in.Sweep = nil
		}
		if ticks > 10 {
			t.Fatal("the sweep does not end")
		}
	}
	if len(swept) != 25 {
		t.Errorf("%d of 25 were swept: %v", len(swept), swept)
	}
	for run, n := range swept {
		if n != 1 {
			t.Errorf("%s was swept %d times", run, n)
		}
	}
}
