package expression

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

// Bounds of an expression. The cost counts steps of an evaluation: one over the most
// resources that Gantry reads, with a dozen steps for each, stays below it.
const (
	MaxLength = 1_000 // in characters
	maxCost   = 1_000_000
	maxDepth  = 50
)

// Program is an expression that was compiled and checked. It is safe for concurrent use.
type Program struct {
	program cel.Program

	usesPlan, usesResources, usesTime bool
	usesParts                         bool // module, type or name of a resource
}

var variables = sync.OnceValues(func() (*cel.Env, error) {
	object := func(name string) *cel.Type { return cel.ObjectType("expression." + name) }
	return cel.NewEnv(
		ext.NativeTypes(ext.ParseStructTags(true), reflect.TypeFor[Plan](), reflect.TypeFor[Resource](), reflect.TypeFor[Run](), reflect.TypeFor[Stack](), reflect.TypeFor[Commit]()),
		cel.Variable("plan", object("Plan")),
		cel.Variable("resources", cel.ListType(object("Resource"))),
		cel.Variable("run", object("Run")),
		cel.Variable("stack", object("Stack")),
		cel.Variable("commit", object("Commit")),
		cel.Variable("time", cel.TimestampType),
		cel.Variable("drift", cel.BoolType),
		cel.Function("under", cel.MemberOverload("resource_under_module", []*cel.Type{object("Resource"), cel.StringType}, cel.BoolType, cel.BinaryBinding(under))),
		cel.ParserExpressionSizeLimit(MaxLength),
		cel.ParserRecursionLimit(maxDepth),
	)
})

func under(resource, module ref.Val) ref.Val {
	r, ok := resource.Value().(Resource)
	name, named := module.Value().(string)
	if !ok || !named {
		return types.NewErr("under takes a resource and the address of a module")
	}
	return types.Bool(r.under(name))
}

// Compile checks an expression, which must be a condition. Its error names each
// mistake with its line and column within the expression.
func Compile(text string) (*Program, error) {
	if n := len([]rune(text)); n > MaxLength {
		return nil, fmt.Errorf("the expression has %d characters, more than %d", n, MaxLength)
	}
	env, err := variables()
	if err != nil {
		return nil, fmt.Errorf("prepare expressions: %w", err)
	}
	checked, issues := env.Compile(decide.Composed(text))
	if err := mistakes(issues); err != nil {
		return nil, err
	}
	if checked.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("line 1, column 1 of the expression: it is a %s, and must be true or false", checked.OutputType())
	}
	p := &Program{}
	if p.program, err = env.Program(checked, cel.CostLimit(maxCost)); err != nil {
		return nil, fmt.Errorf("compile expression: %w", err)
	}
	p.inspect(checked.NativeRep())
	return p, nil
}

// maxMistakes bounds the mistakes that one error names.
const maxMistakes = 3

func mistakes(issues *cel.Issues) error {
	if issues.Err() == nil {
		return nil
	}
	var all []string
	for _, e := range issues.Errors() {
		message := strings.ReplaceAll(e.Message, "expression.", "") // the package, in names of types
		all = append(all, fmt.Sprintf("line %d, column %d of the expression: %s", e.Location.Line(), e.Location.Column()+1, message))
	}
	if more := len(all) - maxMistakes; more > 0 {
		all = append(all[:maxMistakes], fmt.Sprintf("and %d more", more))
	}
	return errors.New(strings.Join(all, "; "))
}

// inspect finds the facts that the expression depends on.
func (p *Program) inspect(checked *ast.AST) {
	ast.PostOrderVisit(checked.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.IdentKind:
			p.usesPlan = p.usesPlan || e.AsIdent() == "plan"
			p.usesResources = p.usesResources || e.AsIdent() == "resources"
			p.usesTime = p.usesTime || e.AsIdent() == "time"
		case ast.SelectKind:
			s := e.AsSelect()
			if checked.GetType(s.Operand().ID()).TypeName() == "expression.Resource" {
				p.usesParts = p.usesParts || s.FieldName() == "module" || s.FieldName() == "type" || s.FieldName() == "name"
			}
		case ast.CallKind:
			p.usesParts = p.usesParts || e.AsCall().FunctionName() == "under"
		}
	}))
}

// UsesTime reports whether the result may change while the plan stays the same.
func (p *Program) UsesTime() bool { return p.usesTime }

// Evaluate returns whether the expression is true of the facts. It fails if they are
// incomplete in a way that matters to it, or the evaluation fails or costs too much.
func (p *Program) Evaluate(f Facts) (bool, error) {
	if err := p.lacks(f); err != nil {
		return false, err
	}
	return p.evaluate(f)
}

func (p *Program) evaluate(f Facts) (bool, error) {
	result, _, err := p.program.Eval(map[string]any{
		"plan": f.Plan, "resources": f.Resources, "run": f.Run, "stack": f.Stack, "commit": f.Commit, "time": f.Time, "drift": f.Drift,
	})
	if err != nil {
		return false, err
	}
	is, ok := result.Value().(bool)
	if !ok {
		return false, fmt.Errorf("the expression is a %s, and must be true or false", result.Type().TypeName())
	}
	return is, nil
}

// lacks returns why the facts don't suffice for the expression; nil if they do.
func (p *Program) lacks(f Facts) error {
	switch {
	case p.usesPlan && !f.counted:
		return errors.New("Spacelift has not reported the plan's counts")
	case !p.usesResources:
		return nil
	case !f.complete:
		return fmt.Errorf("the plan changes more resources than the %d that Gantry reads", len(f.Resources))
	case !f.counted:
		return errors.New("Spacelift has not reported the plan's counts, so whether its list of resources is whole is not known")
	case !f.covered:
		return fmt.Errorf("Spacelift lists fewer resources than the plan's %d to add, %d to change and %d to delete", f.Plan.Added, f.Plan.Changed, f.Plan.Deleted)
	}
	for _, r := range f.Resources {
		if !spacelift.Change(r.Change).Known() {
			return fmt.Errorf("this version of Gantry does not know the change %q of %s", r.Change, r.Address)
		}
		if p.usesParts && !r.parsed {
			return fmt.Errorf("%s is no address of Terraform's, so it has no module, type and name; use its address", r.Address)
		}
	}
	return nil
}

// maxWitnesses bounds the resources that Because looks at.
const maxWitnesses = 1_000

// Because returns the resources that make the expression true, each of them alone; none
// if it is true without any.
func (p *Program) Because(f Facts) (witnesses []Resource) {
	alone := func(resources ...Resource) bool {
		g := f
		g.Resources = resources
		is, err := p.evaluate(g)
		return err == nil && is
	}
	if !p.usesResources || alone() {
		return nil
	}
	for _, r := range f.Resources[:min(len(f.Resources), maxWitnesses)] {
		if alone(r) {
			witnesses = append(witnesses, r)
		}
	}
	return witnesses
}
