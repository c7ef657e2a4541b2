// Package resource declares the kinds of resource.k8s.io: devices that drivers publish, and claims for them (KEP-4381).
//
// Many of their rules stand in k8s.io/api itself, and are run from there. What is here is the rest: what no tag can say. Fields
// behind feature gates that are off in this version of Kubernetes are dropped, as there.
package resource

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/operation"
	"k8s.io/apimachinery/pkg/api/validate"
	"k8s.io/apimachinery/pkg/runtime"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// rules is the form of the generated functions of k8s.io/api.
type rules[T any] func(ctx context.Context, op operation.Operation, p *field.Path, obj, old *T) field.ErrorList

// declared runs rules of k8s.io/api and keeps of what they find what Kubernetes enforces.
func declared[T any](check rules[T], p *field.Path, obj, old *T) field.ErrorList {
	op := operation.Operation{Type: operation.Create, Options: map[string]bool{"DRAPartitionableDevicesType": false}}
	if old != nil {
		op.Type = operation.Update
	}
	ctx := context.Background()
	return validate.FilterEnforcedDeclarativeErrors(ctx, check(ctx, op, p, obj, old), true)
}

// each checks the entries of a list, unless there are too many of them, which declared rules tell.
func each[T any](list []T, limit int, p *field.Path, check func(entry *T, p *field.Path) field.ErrorList) field.ErrorList {
	if len(list) > limit {
		return nil
	}
	var errs field.ErrorList
	for i := range list {
		errs = append(errs, check(&list[i], p.Index(i))...)
	}
	return errs
}

func validateDriverName(name string, p *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(p, "")}
	}
	var errs field.ErrorList
	if len(name) > resourcev1.DriverNameMaxLength {
		errs = append(errs, field.TooLong(p, "", resourcev1.DriverNameMaxLength))
	}
	return append(errs, api.Invalid(p, name, utilvalidation.IsDNS1123Subdomain(strings.ToLower(name)))...)
}

// validatePoolName wants one or more DNS subdomains with slashes between them.
func validatePoolName(name string, p *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(p, "")}
	}
	var errs field.ErrorList
	if len(name) > resourcev1.PoolNameMaxLength {
		errs = append(errs, field.TooLong(p, "", resourcev1.PoolNameMaxLength))
	}
	for part := range strings.SplitSeq(name, "/") {
		errs = append(errs, api.DNSSubdomain(part, p)...)
	}
	return errs
}

// validateParameters wants a JSON object. What is stored already may be longer than what is new.
func validateParameters(raw runtime.RawExtension, p *field.Path, stored bool, limit int) field.ErrorList {
	if len(raw.Raw) == 0 {
		return field.ErrorList{field.Required(p, "")}
	}
	if !stored && len(raw.Raw) > limit {
		return field.ErrorList{field.TooLong(p, "", limit)}
	}
	var v any
	if err := json.Unmarshal(raw.Raw, &v); err != nil {
		return field.ErrorList{field.Invalid(p, "<value omitted>", fmt.Sprintf("error parsing data as JSON: %v", err))}
	}
	if v == nil {
		return field.ErrorList{field.Required(p, "")}
	}
	if _, ok := v.(map[string]any); !ok {
		return field.ErrorList{field.Invalid(p, "<value omitted>", "must be a valid JSON object")}
	}
	return nil
}
