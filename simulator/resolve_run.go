package simulator

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/graph-gophers/graphql-go"

	"github.com/gantryhq/gantry/spacelift"
)

type runOut struct {
	run *run

	ID             graphql.ID
	Type           string
	State          string
	Finished       bool
	Title          string
	Branch         string
	Command        *string
	CreatedAt      int32
	UpdatedAt      int32
	TriggeredBy    *string
	DriftDetection bool
	Expired        bool
	IsMostRecent   bool
	CanRetry       bool
	CanConfirm     bool
	NeedsApproval  bool
	StackID        graphql.ID
	Comments       []*commentOut
	Commit         *commitOut
	Delta          *deltaOut
	History        []*transitionOut
}

type commentOut struct {
	Body      string
	CreatedAt int32
	Username  string
}

type commitOut struct {
	Hash        string
	Message     string
	AuthorLogin *string
	AuthorName  string
	Timestamp   int32
	URL         *string
}

type deltaOut struct {
	AddCount    int32
	ChangeCount int32
	DeleteCount int32
	Resources   int32
}

type transitionOut struct {
	State        string
	StateVersion int32
	Timestamp    int32
	Username     *string
	Note         *string
	HasLogs      bool
	Terminal     bool
}

// out copies the run for an answer.
func (r *run) out(s *Simulator, who actor) *runOut {
	o := &runOut{
		run: r,
		ID:  graphql.ID(r.ID), Type: string(r.Type), State: string(r.state()), Finished: r.terminal(),
		Title: r.title(), Branch: r.Commit.Branch, Command: absentIfEmpty(r.Command),
		CreatedAt: seconds(r.CreatedAt), UpdatedAt: seconds(r.UpdatedAt), TriggeredBy: absentIfEmpty(r.TriggeredBy),
		DriftDetection: r.Drift, IsMostRecent: r.mostRecent(), CanRetry: r.canRetry(), CanConfirm: r.canConfirm(),
		NeedsApproval: r.needsApproval(), StackID: graphql.ID(r.stack.ID), Comments: outs(r.Comments, s, who),
		Commit: r.Commit.out(), Delta: deltaOf(r.Delta),
	}
	for _, t := range slices.Backward(r.History) {
		o.History = append(o.History, &transitionOut{
			State: string(t.State), StateVersion: int32(t.StateVersion), Timestamp: seconds(t.At),
			Username: absentIfEmpty(t.Username), Note: absentIfEmpty(t.Note), HasLogs: hasLogs(t.State), Terminal: t.State.Terminal(),
		})
	}
	return o
}

func (c Comment) out(*Simulator, actor) *commentOut {
	return &commentOut{Body: c.Body, CreatedAt: seconds(c.At), Username: c.Author}
}

func (r *run) title() string {
	if r.Command != "" {
		return r.Command
	}
	return r.Commit.Message
}

func (r *run) mostRecent() bool {
	for _, o := range slices.Backward(r.stack.runs) {
		if o.Type == r.Type {
			return o == r
		}
	}
	return false
}

func (c Commit) out() *commitOut {
	return &commitOut{
		Hash: c.Hash, Message: c.Message, AuthorLogin: absentIfEmpty(c.AuthorLogin), AuthorName: c.AuthorName,
		Timestamp: seconds(c.At), URL: absentIfEmpty(c.URL),
	}
}

func deltaOf(d *spacelift.Delta) *deltaOut {
	if d == nil {
		return nil
	}
	return &deltaOut{
		AddCount: int32(d.Added), ChangeCount: int32(d.Changed), DeleteCount: int32(d.Deleted), Resources: int32(d.Resources),
	}
}

type logsOut struct {
	Exists    bool
	Finished  bool
	HasMore   bool
	Expired   bool
	NextToken *string
	Messages  []*logMessageOut
}

type logMessageOut struct {
	Message   string
	Timestamp int32
}

// logPage is the number of lines on a page of a log.
const logPage = 100

// Logs pages through the log of one state. While the run is in that state the
// log has no end yet.
func (o *runOut) Logs(args struct {
	State        string
	Token        *string
	StateVersion *int32
}) *logsOut {
	o.run.sim.mu.Lock()
	defer o.run.sim.mu.Unlock()
	state := spacelift.RunState(args.State)
	if args.StateVersion != nil {
		v := int(*args.StateVersion)
		if v < 0 || v >= len(o.run.History) || o.run.History[v].State != state {
			return &logsOut{}
		}
	}
	lines := o.run.logLines(state)
	page := &logsOut{Exists: lines != nil}
	start, err := strconv.Atoi(deref(args.Token))
	if err != nil || start < 0 || start > len(lines) {
		start = 0
	}
	end := min(start+logPage, len(lines))
	for _, line := range lines[start:end] {
		page.Messages = append(page.Messages, &logMessageOut{Message: line, Timestamp: seconds(o.run.UpdatedAt)})
	}
	over := end == len(lines)
	page.Finished = over && o.run.state() != state && lines != nil
	page.HasMore = !over
	if !page.Finished {
		page.NextToken = new(strconv.Itoa(end))
	}
	return page
}

type changesOut struct{ Resources []*changeOut }

type changeOut struct {
	Address         string
	PreviousAddress string
	Metadata        changeMetadataOut
}

type changeMetadataOut struct{ Type string }

// ChangesV3 lists the plan's resources, and again those applied.
func (o *runOut) ChangesV3(struct{ Input struct{ Phantom *bool } }) []*changesOut {
	o.run.sim.mu.Lock()
	defer o.run.sim.mu.Unlock()
	if !o.run.Planned {
		return nil
	}
	list := &changesOut{}
	for _, c := range o.run.Plan.changes() {
		list.Resources = append(list.Resources, &changeOut{
			Address: c.Address, PreviousAddress: cmp.Or(c.PreviousAddress, c.Address), Metadata: changeMetadataOut{Type: c.Action},
		})
	}
	if o.run.Applied {
		return []*changesOut{list, list}
	}
	return []*changesOut{list}
}
