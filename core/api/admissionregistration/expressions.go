package admissionregistration

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	celgo "github.com/google/cel-go/cel"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"

	"github.com/gantryio/gantry/core/api"
)

const maxConditions = 64

// expression is one of CEL with the types that it may return.
type expression struct {
	name, text string
	returns    []*celgo.Type
}

var (
	_ plugincel.ExpressionAccessor      = expression{}
	_ plugincel.NamedExpressionAccessor = expression{}
)

// GetExpression implements plugincel.ExpressionAccessor.
func (e expression) GetExpression() string { return e.text }

// ReturnTypes implements plugincel.ExpressionAccessor.
func (e expression) ReturnTypes() []*celgo.Type { return e.returns }

// GetName implements plugincel.NamedExpressionAccessor.
func (e expression) GetName() string { return e.name }

// plainCompiler compiles what uses no variables of a policy. It is made when the first expression is checked.
var plainCompiler = sync.OnceValue(func() plugincel.Compiler {
	return plugincel.NewCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
})

// newCompiler returns a compiler that remembers the variables of one policy.
func newCompiler() (*plugincel.CompositedCompiler, error) {
	return plugincel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
}

// environmentOf lets stored expressions use what new ones may not yet or no longer.
func environmentOf(known map[string]bool, text string) environment.Type {
	if known[text] {
		return environment.StoredExpressions
	}
	return environment.NewExpressions
}

// compile checks an expression, which must not be empty.
func compile(c plugincel.Compiler, e plugincel.ExpressionAccessor, vars plugincel.OptionalVariableDeclarations, known map[string]bool, p *field.Path) field.ErrorList {
	result := c.CompileCELExpression(e, vars, environmentOf(known, e.GetExpression()))
	return celError(result.Error, e.GetExpression(), p)
}

func celError(err *cel.Error, text string, p *field.Path) field.ErrorList {
	if err == nil {
		return nil
	}
	switch err.Type {
	case cel.ErrorTypeRequired:
		return field.ErrorList{field.Required(p, err.Detail)}
	case cel.ErrorTypeInvalid:
		return field.ErrorList{field.Invalid(p, text, err.Detail)}
	}
	return field.ErrorList{field.InternalError(p, err)}
}

// validateConditions checks match conditions; params tells that they may look at a policy's parameters.
func validateConditions(list []admissionv1.MatchCondition, params bool, known map[string]bool, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(list) > maxConditions {
		errs = append(errs, field.TooMany(p, len(list), maxConditions))
	}
	names := map[string]bool{}
	for i, c := range list {
		at := p.Index(i)
		if text := strings.TrimSpace(c.Expression); text == "" {
			errs = append(errs, field.Required(at.Child("expression"), ""))
		} else {
			e := expression{text: text, returns: []*celgo.Type{celgo.BoolType}}
			errs = append(errs, compile(plainCompiler(), e, plugincel.OptionalVariableDeclarations{HasParams: params, HasAuthorizer: true}, known, at.Child("expression"))...)
		}
		if c.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
			continue
		}
		errs = append(errs, api.Invalid(at.Child("name"), c.Name, utilvalidation.IsQualifiedName(c.Name))...)
		if names[c.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), c.Name))
		}
		names[c.Name] = true
	}
	return errs
}

// validateVariables checks the variables of a policy in their order, for each may use those before it. A nil compiler is one
// that could not be made.
func validateVariables(c *plugincel.CompositedCompiler, list []admissionv1.Variable, params bool, known map[string]bool, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, v := range list {
		at := p.Index(i)
		if strings.TrimSpace(v.Name) == "" {
			errs = append(errs, field.Required(at.Child("name"), "name is not specified"))
		} else if !identifier.MatchString(v.Name) || slices.Contains(reserved, v.Name) {
			errs = append(errs, field.Invalid(at.Child("name"), v.Name, "must be a valid CEL identifier"))
		}
		if strings.TrimSpace(v.Expression) == "" {
			errs = append(errs, field.Required(at.Child("expression"), "expression is not specified"))
			continue
		}
		if c == nil {
			errs = append(errs, field.InternalError(at, errNoCompiler))
			continue
		}
		e := expression{name: v.Name, text: v.Expression, returns: []*celgo.Type{celgo.AnyType, celgo.DynType}}
		result := c.CompileAndStoreVariable(e, plugincel.OptionalVariableDeclarations{HasParams: params, HasAuthorizer: true}, environmentOf(known, v.Expression))
		errs = append(errs, celError(result.Error, v.Expression, at.Child("expression"))...)
	}
	return errs
}

var errNoCompiler = errors.New("cannot compile variables")

// identifier and reserved are what the language says of names.
var (
	identifier = regexp.MustCompile("^[_a-zA-Z][_a-zA-Z0-9]*$")
	reserved   = strings.Fields("true false null in as break const continue else for function if import let loop package namespace return var void while")
)

// parseGroupVersion is less strict than that of the library: what it lets through is looked at afterwards.
func parseGroupVersion(text string) (group, version string, err error) {
	switch strings.Count(text, "/") {
	case 0:
		return "", text, nil
	case 1:
		group, version, _ = strings.Cut(text, "/")
		return group, version, nil
	}
	return "", "", fmt.Errorf("unexpected GroupVersion string: %v", text)
}
