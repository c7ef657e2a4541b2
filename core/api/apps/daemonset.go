package apps

import (
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/core"
)

// DaemonSets is all that the server, the printer and the docs know of DaemonSet.
var DaemonSets = api.Kind[appsv1.DaemonSet]{
	Group: "apps", Version: "v1", Name: "DaemonSet", Plural: "daemonsets", Short: []string{"ds"},
	Earlier:    []string{"apps/v1beta2"},
	Categories: []string{"all"}, Namespaced: true, Generation: true,
	Subresources:   api.Status,
	StatusMetadata: true,
	SharesBody:     true,
	Default:        defaultDaemonSet,
	Prepare:        prepareDaemonSet,
	Validate:       validateDaemonSet,
	ValidateStatus: validateDaemonSetStatus,
	Columns: []api.Column[appsv1.DaemonSet]{
		api.NameColumn[appsv1.DaemonSet](),
		{Name: "Desired", Type: "integer", Description: "Nodes that should run a pod.", Cell: func(d *appsv1.DaemonSet) any { return int64(d.Status.DesiredNumberScheduled) }},
		{Name: "Current", Type: "integer", Description: "Such nodes that have one.", Cell: func(d *appsv1.DaemonSet) any { return int64(d.Status.CurrentNumberScheduled) }},
		{Name: "Ready", Type: "integer", Description: "Such nodes whose pod is ready.", Cell: func(d *appsv1.DaemonSet) any { return int64(d.Status.NumberReady) }},
		{Name: "Up-to-date", Type: "integer", Description: "Such nodes whose pod has the wanted template.", Cell: func(d *appsv1.DaemonSet) any { return int64(d.Status.UpdatedNumberScheduled) }},
		{Name: "Available", Type: "integer", Description: "Such nodes whose pod is ready for at least minReadySeconds.", Cell: func(d *appsv1.DaemonSet) any { return int64(d.Status.NumberAvailable) }},
		{Name: "Node Selector", Description: "The labels of the nodes.", Cell: func(d *appsv1.DaemonSet) any { return labels.FormatLabels(d.Spec.Template.Spec.NodeSelector) }},
		api.AgeColumn[appsv1.DaemonSet](),
		{Name: "Containers", Priority: 1, Description: "Names of each container in the template.", Cell: func(d *appsv1.DaemonSet) any { return core.ContainerNames(&d.Spec.Template) }},
		{Name: "Images", Priority: 1, Description: "Images referenced by each container in the template.", Cell: func(d *appsv1.DaemonSet) any { return core.ContainerImages(&d.Spec.Template) }},
		{Name: "Selector", Priority: 1, Description: "The labels of the pods.", Cell: func(d *appsv1.DaemonSet) any { return metav1.FormatLabelSelector(d.Spec.Selector) }},
	},
}

func defaultDaemonSet(d *appsv1.DaemonSet) {
	u := &d.Spec.UpdateStrategy
	if u.Type == "" {
		u.Type = appsv1.RollingUpdateDaemonSetStrategyType
	}
	if u.Type == appsv1.RollingUpdateDaemonSetStrategyType {
		if u.RollingUpdate == nil {
			u.RollingUpdate = &appsv1.RollingUpdateDaemonSet{}
		}
		if u.RollingUpdate.MaxUnavailable == nil {
			u.RollingUpdate.MaxUnavailable = new(intstr.FromInt32(1))
		}
		if u.RollingUpdate.MaxSurge == nil {
			u.RollingUpdate.MaxSurge = new(intstr.FromInt32(0))
		}
	}
	if d.Spec.RevisionHistoryLimit == nil {
		d.Spec.RevisionHistoryLimit = new(int32(revisionHistory))
	}
	core.DefaultPodTemplate(&d.Spec.Template)
}

// prepareDaemonSet counts the changes of the template in an annotation, where older clients look for it.
func prepareDaemonSet(d, old *appsv1.DaemonSet) {
	n := int64(1)
	if old == nil {
		n = max(n, templateGeneration(d))
	} else {
		n = max(n, templateGeneration(old))
		if !equality.Semantic.DeepEqual(d.Spec.Template, old.Spec.Template) {
			n++
		}
	}
	metav1.SetMetaDataAnnotation(&d.ObjectMeta, appsv1.DeprecatedTemplateGeneration, strconv.FormatInt(n, 10))
}

func templateGeneration(d *appsv1.DaemonSet) int64 {
	n, err := strconv.ParseInt(d.Annotations[appsv1.DeprecatedTemplateGeneration], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func validateDaemonSet(d, old *appsv1.DaemonSet) field.ErrorList {
	p, spec := field.NewPath("spec"), &d.Spec
	selector, errs := validateSelector(spec.Selector, "daemonset", p.Child("selector"))
	// Each node has a pod of its own, so that a disk is shared as by several replicas.
	errs = append(errs, validateTemplate("DaemonSet", &spec.Template, selector, 2, p.Child("template"))...)
	errs = append(errs, nonNegative(spec.MinReadySeconds, p.Child("minReadySeconds"))...)
	errs = append(errs, validateDaemonStrategy(&spec.UpdateStrategy, p.Child("updateStrategy"))...)
	if spec.RevisionHistoryLimit != nil {
		errs = append(errs, nonNegative(*spec.RevisionHistoryLimit, p.Child("revisionHistoryLimit"))...)
	}
	if old != nil {
		errs = append(errs, validation.ValidateImmutableField(spec.Selector, old.Spec.Selector, p.Child("selector"))...)
	}
	return errs
}

func validateDaemonStrategy(u *appsv1.DaemonSetUpdateStrategy, p *field.Path) field.ErrorList {
	switch u.Type {
	case appsv1.OnDeleteDaemonSetStrategyType:
		return nil
	case appsv1.RollingUpdateDaemonSetStrategyType:
		if u.RollingUpdate == nil {
			return field.ErrorList{field.Required(p.Child("rollingUpdate"), "")}
		}
		return validateRollingDaemons(u.RollingUpdate, p.Child("rollingUpdate"))
	}
	return field.ErrorList{field.NotSupported(p, u.Type,
		[]appsv1.DaemonSetUpdateStrategyType{appsv1.RollingUpdateDaemonSetStrategyType, appsv1.OnDeleteDaemonSetStrategyType})}
}

func validateRollingDaemons(r *appsv1.RollingUpdateDaemonSet, p *field.Path) field.ErrorList {
	unavailable, surge := p.Child("maxUnavailable"), p.Child("maxSurge")
	errs := countOrPercent(r.MaxUnavailable, unavailable)
	errs = append(errs, countOrPercent(r.MaxSurge, surge)...)
	errs = append(errs, atMostAll(r.MaxUnavailable, unavailable)...)
	errs = append(errs, atMostAll(r.MaxSurge, surge)...)
	switch a, b := amount(r.MaxUnavailable) != 0, amount(r.MaxSurge) != 0; {
	case a && b:
		errs = append(errs, field.Invalid(surge, r.MaxSurge, "may not be set when maxUnavailable is non-zero"))
	case !a && !b:
		errs = append(errs, field.Required(unavailable, "cannot be 0 when maxSurge is 0"))
	}
	return errs
}
