package simulator

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// The types of configuration elements.
const (
	EnvironmentVariable = "ENVIRONMENT_VARIABLE"
	FileMount           = "FILE_MOUNT" // its value is base64
)

// Context is a bundle of configuration that stacks and modules share. A label
// "autoattach:x" attaches it to all with the label x within reach, and
// "autoattach:*" to all within reach
// (https://docs.spacelift.io/concepts/configuration/context).
type Context struct {
	ID          string          `json:"id"`    // a slug of Name when empty
	Name        string          `json:"name"`  // ID when empty
	Space       string          `json:"space"` // "root" when empty
	Description string          `json:"description,omitempty"`
	Labels      []string        `json:"labels"`
	Hooks       Hooks           `json:"hooks,omitzero"`
	Config      []ConfigElement `json:"config,omitempty"`
}

// Hooks are the commands before and after the phases of a run. They are stored and
// shown; nothing runs them.
type Hooks struct {
	AfterApply    lines `json:"afterApply,omitempty"`
	AfterDestroy  lines `json:"afterDestroy,omitempty"`
	AfterInit     lines `json:"afterInit,omitempty"`
	AfterPerform  lines `json:"afterPerform,omitempty"`
	AfterPlan     lines `json:"afterPlan,omitempty"`
	AfterRun      lines `json:"afterRun,omitempty"`
	BeforeApply   lines `json:"beforeApply,omitempty"`
	BeforeDestroy lines `json:"beforeDestroy,omitempty"`
	BeforeInit    lines `json:"beforeInit,omitempty"`
	BeforePerform lines `json:"beforePerform,omitempty"`
	BeforePlan    lines `json:"beforePlan,omitempty"`
}

// ConfigElement is an environment variable or a mounted file.
type ConfigElement struct {
	ID          string `json:"id"`
	Type        string `json:"type,omitempty"` // EnvironmentVariable when empty
	Value       string `json:"value"`
	WriteOnly   bool   `json:"writeOnly,omitempty"`
	Description string `json:"description,omitempty"`
}

// bundle is a context and its elements as they were added.
type bundle struct {
	Context `json:"context"` // without Config

	Elements  []configElement `json:"elements,omitempty"`
	CreatedAt time.Time       `json:"createdAt"`
	UpdatedAt time.Time       `json:"updatedAt"`
}

// contextAttachment is a context attached to a stack or module by hand.
type contextAttachment struct {
	ID       string
	context  *bundle
	Stack    spacelift.StackID
	Priority int
}

// AddContext adds a context to a space.
func (s *Simulator) AddContext(c Context) error {
	return s.act(func() error { _, err := s.addContext(c); return err })
}

func (s *Simulator) addContext(c Context) (*bundle, error) {
	c.Name = cmp.Or(c.Name, c.ID)
	c.ID = cmp.Or(c.ID, slug(c.Name))
	c.Space = cmp.Or(c.Space, rootSpace)
	switch {
	case c.ID == "":
		return nil, refuse("a context needs a name")
	case exists(s.findContext(c.ID)):
		return nil, refuse("context %s exists", c.ID)
	}
	if _, err := s.findSpace(c.Space); err != nil {
		return nil, err
	}
	now := s.clock.Now()
	made := &bundle{Context: c, CreatedAt: now, UpdatedAt: now}
	made.Config = nil
	for _, e := range c.Config {
		e.Type = cmp.Or(e.Type, EnvironmentVariable)
		if e.ID == "" || e.Type != EnvironmentVariable && e.Type != FileMount {
			return nil, refuse("context %s: an element needs an id and the type %s or %s", c.ID, EnvironmentVariable, FileMount)
		}
		made.Elements = withElement(made.Elements, configElement{e, now})
	}
	s.contexts = append(s.contexts, made)
	s.touch()
	return made, nil
}

// withElement adds an element to a configuration, in place of one of its id.
func withElement(config []configElement, e configElement) []configElement {
	return append(slices.DeleteFunc(config, func(o configElement) bool { return o.ID == e.ID }), e)
}

func (s *Simulator) findContext(id string) (*bundle, error) {
	return find(s.contexts, "context", id, func(c *bundle) string { return c.ID })
}

// AttachContext attaches a context to a stack or module, once. Of contexts with
// the same element, the one with the lowest priority counts.
func (s *Simulator) AttachContext(context string, stack spacelift.StackID, priority int) error {
	return s.act(func() error { _, err := s.attachContext(context, stack, priority); return err })
}

func (s *Simulator) attachContext(context string, stack spacelift.StackID, priority int) (*contextAttachment, error) {
	c, err := s.findContext(context)
	if err != nil {
		return nil, err
	}
	st, err := s.findStack(stack)
	switch {
	case err != nil:
		return nil, err
	case s.attachmentOf(c, stack) != nil:
		return nil, refuse("context %s is attached to stack %s", context, stack)
	case !slices.Contains(s.reach(st.Space), c.Space):
		return nil, refuse("context %s of space %s is out of reach of stack %s", context, c.Space, stack)
	}
	a := &contextAttachment{ID: s.newID(), context: c, Stack: stack, Priority: priority}
	s.contextBonds = append(s.contextBonds, a)
	s.touch()
	return a, nil
}

// attachmentOf returns the attachment of a context to a stack by hand, or nil.
func (s *Simulator) attachmentOf(c *bundle, stack spacelift.StackID) *contextAttachment {
	for _, a := range s.contextBonds {
		if a.context == c && a.Stack == stack {
			return a
		}
	}
	return nil
}

// attachedContexts lists the contexts attached to a stack: those attached by
// hand, the lowest priority first, then the others by name. The latter have no id.
func (s *Simulator) attachedContexts(st *stack) []*contextAttachment {
	var byHand, byLabel []*contextAttachment
	for _, c := range s.contexts {
		if a := s.attachmentOf(c, st.ID); a != nil {
			byHand = append(byHand, a)
		} else if s.autoattaches(c, st) {
			byLabel = append(byLabel, &contextAttachment{context: c, Stack: st.ID})
		}
	}
	slices.SortStableFunc(byHand, func(a, b *contextAttachment) int { return cmp.Compare(a.Priority, b.Priority) })
	slices.SortStableFunc(byLabel, func(a, b *contextAttachment) int { return cmp.Compare(a.context.Name, b.context.Name) })
	return append(byHand, byLabel...)
}

// attachedTo lists the stacks and modules a context is attached to.
func (s *Simulator) attachedTo(c *bundle) []*contextAttachment {
	var list []*contextAttachment
	for _, id := range s.order {
		for _, a := range s.attachedContexts(s.stacks[id]) {
			if a.context == c {
				list = append(list, a)
			}
		}
	}
	return list
}

func (s *Simulator) autoattaches(c *bundle, st *stack) bool {
	return s.reachesByLabel(c.Space, c.Labels, st)
}

// setting is an element of a stack's effective configuration; context is nil for
// the stack's own.
type setting struct {
	context *bundle
	element configElement
}

// effective returns the elements that runs of a stack get, sorted by id: the
// stack's own, then those of contexts attached by hand. Contexts attached by
// label are not among them: spacectl reads these from attachedContexts.
// Assumption: of two contexts, the one with the lower priority counts.
func (s *Simulator) effective(st *stack) []setting {
	found := map[string]setting{}
	for _, e := range st.Config {
		found[e.ID] = setting{element: e}
	}
	for _, a := range s.attachedContexts(st) {
		for _, e := range a.context.Elements {
			if _, set := found[e.ID]; !set && a.ID != "" {
				found[e.ID] = setting{a.context, e}
			}
		}
	}
	settings := make([]setting, 0, len(found))
	for _, id := range slices.Sorted(maps.Keys(found)) {
		settings = append(settings, found[id])
	}
	return settings
}
