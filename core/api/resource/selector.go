package resource

import (
	"errors"
	"fmt"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	dracel "k8s.io/dynamic-resource-allocation/cel"
)

// validateSelectors compiles the expressions. Those that are stored were good when they were written, and are not compiled again.
func validateSelectors(list []resourcev1.DeviceSelector, p *field.Path, stored bool) field.ErrorList {
	return each(list, resourcev1.DeviceSelectorsMaxSize, p, func(s *resourcev1.DeviceSelector, p *field.Path) field.ErrorList {
		switch {
		case s.CEL == nil:
			return field.ErrorList{field.Required(p.Child("cel"), "")}
		case stored:
			return nil
		}
		return validateExpression(s.CEL.Expression, p.Child("cel", "expression"))
	})
}

func validateExpression(expression string, p *field.Path) field.ErrorList {
	if len(expression) > resourcev1.CELSelectorExpressionMaxLength {
		return field.ErrorList{field.TooLong(p, "", resourcev1.CELSelectorExpressionMaxLength)}
	}
	envType := environment.NewExpressions
	result := dracel.GetCompiler(dracel.Features{EnableConsumableCapacity: true}).CompileCELExpression(expression, dracel.Options{EnvType: &envType})
	if result.Error != nil {
		return field.ErrorList{expressionError(p, expression, result.Error)}
	}
	if result.MaxCost > resourcev1.CELSelectorExpressionMaxCost {
		return field.ErrorList{field.Forbidden(p, "too complex, exceeds cost limit")}
	}
	return nil
}

func expressionError(p *field.Path, expression string, err error) *field.Error {
	var wrong *cel.Error
	if errors.As(err, &wrong) {
		switch wrong.Type {
		case cel.ErrorTypeRequired:
			return field.Required(p, wrong.Detail)
		case cel.ErrorTypeInvalid:
			return field.Invalid(p, expression, wrong.Detail)
		case cel.ErrorTypeInternal:
			return field.InternalError(p, wrong)
		}
	}
	return field.InternalError(p, fmt.Errorf("unsupported error type: %w", err))
}
