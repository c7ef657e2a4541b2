package customresource

import (
	"fmt"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type (
	definition = apiextensionsv1.CustomResourceDefinition
	condition  = apiextensionsv1.CustomResourceDefinitionCondition
)

const approval = "api-approved.kubernetes.io"

// accept decides which names a definition gets, and with them whether it is established. others are the definitions of its
// group, whose accepted names are taken. Names are given to whoever was there first: what was accepted once stays so.
func accept(d *definition, others []*definition, now metav1.Time) apiextensionsv1.CustomResourceDefinitionStatus {
	status := *d.Status.DeepCopy()
	names, conflict := chooseNames(d, others)
	status.AcceptedNames = names
	named := condition{Type: apiextensionsv1.NamesAccepted, Status: apiextensionsv1.ConditionTrue, Reason: "NoConflicts", Message: "no conflicts found"}
	if conflict != nil {
		named = *conflict
	}
	setCondition(&status, named, now)
	switch {
	case has(&status, apiextensionsv1.Established):
		// Once established it stays so: there may be objects.
	case conflict == nil:
		setCondition(&status, condition{
			Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionTrue,
			Reason: "InitialNamesAccepted", Message: "the initial names have been accepted",
		}, now)
	default:
		setCondition(&status, condition{
			Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionFalse,
			Reason: "NotAccepted", Message: "not all names are accepted",
		}, now)
	}
	if link := d.Annotations[approval]; link != "" {
		setCondition(&status, condition{
			Type: apiextensionsv1.KubernetesAPIApprovalPolicyConformant, Status: apiextensionsv1.ConditionTrue,
			Reason: "ApprovedAnnotation", Message: "approved in " + link,
		}, now)
	}
	return status
}

// chooseNames takes each requested name unless another definition has it; then the one accepted before stays. The condition
// tells of the last conflict.
func chooseNames(d *definition, others []*definition) (apiextensionsv1.CustomResourceDefinitionNames, *condition) {
	resources, kinds := map[string]bool{}, map[string]bool{}
	for _, o := range others {
		if o.Name == d.Name {
			continue
		}
		n := &o.Status.AcceptedNames
		for _, name := range append([]string{n.Plural, n.Singular}, n.ShortNames...) {
			resources[name] = name != ""
		}
		for _, name := range []string{n.Kind, n.ListKind} {
			kinds[name] = name != ""
		}
	}
	want, out := d.Spec.Names, d.Status.AcceptedNames
	var conflict *condition
	refuse := func(reason, name string) {
		conflict = &condition{
			Type: apiextensionsv1.NamesAccepted, Status: apiextensionsv1.ConditionFalse,
			Reason: reason, Message: fmt.Sprintf("%q is already in use", name),
		}
	}
	take := func(to *string, name, reason string, taken map[string]bool) {
		if taken[name] {
			refuse(reason, name)
			return
		}
		*to = name
	}
	take(&out.Plural, want.Plural, "PluralConflict", resources)
	take(&out.Singular, want.Singular, "SingularConflict", resources)
	short := slices.IndexFunc(want.ShortNames, func(name string) bool { return resources[name] })
	if short >= 0 {
		refuse("ShortNamesConflict", want.ShortNames[short])
	} else {
		out.ShortNames = want.ShortNames
	}
	take(&out.Kind, want.Kind, "KindConflict", kinds)
	take(&out.ListKind, want.ListKind, "ListKindConflict", kinds)
	out.Categories = want.Categories
	return out, conflict
}

// terminating is the condition of a definition that is being deleted, of whose objects so many are left.
func terminating(d *definition, left int, now metav1.Time) apiextensionsv1.CustomResourceDefinitionStatus {
	status := *d.Status.DeepCopy()
	c := condition{
		Type: apiextensionsv1.Terminating, Status: apiextensionsv1.ConditionTrue,
		Reason: "InstanceDeletionInProgress", Message: fmt.Sprintf("CustomResource deletion is in progress: %d left", left),
	}
	if left == 0 {
		c.Status, c.Reason, c.Message = apiextensionsv1.ConditionFalse, "InstanceDeletionCompleted", "removed all instances"
	}
	setCondition(&status, c, now)
	return status
}

func has(status *apiextensionsv1.CustomResourceDefinitionStatus, kind apiextensionsv1.CustomResourceDefinitionConditionType) bool {
	return slices.ContainsFunc(status.Conditions, func(c condition) bool {
		return c.Type == kind && c.Status == apiextensionsv1.ConditionTrue
	})
}

// setCondition keeps the time of a condition whose status stays.
func setCondition(status *apiextensionsv1.CustomResourceDefinitionStatus, c condition, now metav1.Time) {
	c.LastTransitionTime = now
	i := slices.IndexFunc(status.Conditions, func(have condition) bool { return have.Type == c.Type })
	if i < 0 {
		status.Conditions = append(status.Conditions, c)
		return
	}
	if have := &status.Conditions[i]; have.Status == c.Status {
		c.LastTransitionTime = have.LastTransitionTime
	}
	status.Conditions[i] = c
}
