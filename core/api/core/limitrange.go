package core

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// LimitRanges is all that the server, the printer and the docs know of LimitRange.
var LimitRanges = api.Kind[corev1.LimitRange]{
	Version: "v1", Name: "LimitRange", Plural: "limitranges", Short: []string{"limits"}, Namespaced: true,
	Default:  defaultLimitRange,
	Validate: validateLimitRange,
	Columns: []api.Column[corev1.LimitRange]{
		api.NameColumn[corev1.LimitRange](),
		{Name: "Created At", Description: "When it was created.", Cell: func(l *corev1.LimitRange) any {
			return l.CreationTimestamp.UTC().Format("2006-01-02T15:04:05Z")
		}},
	},
}

// defaultLimitRange derives what containers get: the limit from the maximum, the request from the limit or else the minimum.
func defaultLimitRange(l *corev1.LimitRange) {
	api.DropEmpty(&l.Spec.Limits)
	for i := range l.Spec.Limits {
		item := &l.Spec.Limits[i]
		if item.Type != corev1.LimitTypeContainer {
			continue
		}
		item.Default = completed(item.Default, item.Max)
		item.DefaultRequest = completed(completed(item.DefaultRequest, item.Default), item.Min)
	}
}

// completed adds to list what only others have.
func completed(list, others corev1.ResourceList) corev1.ResourceList {
	if list == nil {
		list = corev1.ResourceList{}
	}
	for name, q := range others {
		if _, ok := list[name]; !ok {
			list[name] = q.DeepCopy()
		}
	}
	return list
}

func validateLimitRange(l, _ *corev1.LimitRange) field.ErrorList {
	var errs field.ErrorList
	seen := map[corev1.LimitType]bool{}
	for i := range l.Spec.Limits {
		item, p := &l.Spec.Limits[i], field.NewPath("spec", "limits").Index(i)
		errs = append(errs, validateLimitType(item.Type, p.Child("type"))...)
		if seen[item.Type] {
			errs = append(errs, field.Duplicate(p.Child("type"), item.Type))
		}
		seen[item.Type] = true
		errs = append(errs, validateLimitLists(item, p)...)
		errs = append(errs, validateLimitOrder(item, p)...)
	}
	return errs
}

func validateLimitType(t corev1.LimitType, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, text := range utilvalidation.IsQualifiedName(string(t)) {
		errs = append(errs, field.Invalid(p, t, text))
	}
	standard := t == corev1.LimitTypePod || t == corev1.LimitTypeContainer || t == corev1.LimitTypePersistentVolumeClaim
	if len(errs) == 0 && !standard && !strings.Contains(string(t), "/") {
		errs = append(errs, field.Invalid(p, t, "must be a standard limit type or fully qualified"))
	}
	return errs
}

// validateLimitLists checks the names of resources, and which lists a type may have.
func validateLimitLists(item *corev1.LimitRangeItem, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	lists := []struct {
		name     string
		list     corev1.ResourceList
		fallback bool
	}{
		{"max", item.Max, false},
		{"min", item.Min, false},
		{"default", item.Default, true},
		{"defaultRequest", item.DefaultRequest, true},
		{"maxLimitRequestRatio", item.MaxLimitRequestRatio, false},
	}
	for _, l := range lists {
		if l.fallback && item.Type == corev1.LimitTypePod {
			if len(l.list) > 0 {
				errs = append(errs, field.Forbidden(p.Child(l.name), "may not be specified when `type` is 'Pod'"))
			}
			continue
		}
		for _, name := range sortedNames(l.list) {
			check := limitedResourceName
			if item.Type == corev1.LimitTypePod || item.Type == corev1.LimitTypeContainer {
				check = containerResourceName
			}
			errs = append(errs, check(name, p.Child(l.name).Key(string(name)))...)
		}
	}
	_, smallest := item.Min[corev1.ResourceStorage]
	_, largest := item.Max[corev1.ResourceStorage]
	if item.Type == corev1.LimitTypePersistentVolumeClaim && !smallest && !largest {
		errs = append(errs, field.Required(p.Child("limits"), "either minimum or maximum storage value is required, but neither was provided"))
	}
	return errs
}

// limitedResources are the names without a domain that limits of what is neither pod nor container may have.
var limitedResources = sets.New(
	"cpu", "memory", "ephemeral-storage", "storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage",
	"requests.storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage", "pods", "resourcequotas", "services",
	"services.nodeports", "services.loadbalancers", "replicationcontrollers", "secrets", "configmaps", "persistentvolumeclaims",
)

func limitedResourceName(name corev1.ResourceName, p *field.Path) field.ErrorList {
	if errs := qualifiedName(string(name), p); len(errs) > 0 {
		return errs
	}
	huge := isHugePages(corev1.ResourceName(strings.TrimPrefix(string(name), corev1.DefaultResourceRequestsPrefix)))
	if !strings.Contains(string(name), "/") && !limitedResources.Has(string(name)) && !huge {
		return field.ErrorList{field.Invalid(p, name, "must be a standard resource type or fully qualified")}
	}
	return nil
}

// validateLimitOrder checks that minimum, default request, default limit and maximum do not contradict each other.
func validateLimitOrder(item *corev1.LimitRangeItem, p *field.Path) field.ErrorList {
	all := corev1.ResourceList{}
	for _, list := range []corev1.ResourceList{item.Min, item.Max, item.Default, item.DefaultRequest, item.MaxLimitRequestRatio} {
		maps.Copy(all, list)
	}
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(all)) {
		smallest, hasMin := item.Min[name]
		largest, hasMax := item.Max[name]
		limit, hasLimit := item.Default[name]
		request, hasRequest := item.DefaultRequest[name]
		for _, c := range []struct {
			both        bool
			low, high   resource.Quantity
			list        string
			value       resource.Quantity
			words, than string
		}{
			{hasMin && hasMax, smallest, largest, "min", smallest, "min value", "max value"},
			{hasMin && hasRequest, smallest, request, "defaultRequest", request, "min value", "default request value"},
			{hasRequest && hasMax, request, largest, "defaultRequest", request, "default request value", "max value"},
			{hasRequest && hasLimit, request, limit, "defaultRequest", request, "default request value", "default limit value"},
			{hasMin && hasLimit, smallest, limit, "default", smallest, "min value", "default value"},
			{hasLimit && hasMax, limit, largest, "default", largest, "default value", "max value"},
		} {
			if c.both && c.low.Cmp(c.high) > 0 {
				text := fmt.Sprintf("%s %s is greater than %s %s", c.words, c.low.String(), c.than, c.high.String())
				errs = append(errs, field.Invalid(p.Child(c.list).Key(string(name)), c.value.String(), text))
			}
		}
		errs = append(errs, validateLimitRatio(item, name, p)...)
		if !mayOvercommit(name) && hasLimit && hasRequest && limit.Cmp(request) != 0 {
			text := fmt.Sprintf("default value %s must equal to defaultRequest value %s in %s", limit.String(), request.String(), name)
			errs = append(errs, field.Invalid(p.Child("defaultRequest").Key(string(name)), request.String(), text))
		}
	}
	return errs
}

func validateLimitRatio(item *corev1.LimitRangeItem, name corev1.ResourceName, p *field.Path) field.ErrorList {
	ratio, ok := item.MaxLimitRequestRatio[name]
	if !ok {
		return nil
	}
	var errs field.ErrorList
	p = p.Child("maxLimitRequestRatio").Key(string(name))
	if ratio.Cmp(resource.MustParse("1")) < 0 {
		errs = append(errs, field.Invalid(p, ratio.String(), fmt.Sprintf("ratio %s is less than 1", ratio.String())))
	}
	smallest, hasMin := item.Min[name]
	largest, hasMax := item.Max[name]
	if possible := largest.AsApproximateFloat64() / smallest.AsApproximateFloat64(); hasMin && hasMax && ratio.AsApproximateFloat64() > possible {
		errs = append(errs, field.Invalid(p, ratio.String(), fmt.Sprintf("ratio %s is greater than max/min = %f", ratio.String(), possible)))
	}
	return errs
}
