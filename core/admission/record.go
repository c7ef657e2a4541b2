package admission

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	upstream "k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Record shows the write to the admission libraries of k8s.io/apiserver. It is made at most once, so that what they remember
// between the rounds of mutation lasts.
func (a *Attributes) Record() upstream.Attributes {
	if a.record != nil {
		return a.record
	}
	spoken := a.Spoken()
	kind, name, namespace := spoken.GroupVersionKind(), a.Name, a.Namespace
	object, old := runtime.Object(a.Object), runtime.Object(a.Old)
	if a.BodyKind.Kind != "" {
		kind, object, old = a.BodyKind, a.Body, a.OldBody
	}
	if a.Operation == Create && a.Generated {
		name = "" // whoever is asked might choose one
	}
	if a.Resource.Group == "" && a.Resource.Plural == "namespaces" {
		namespace = name // a namespace lies in itself
	}
	who := a.User
	if who == nil {
		who = &user.DefaultInfo{}
	}
	a.record = upstream.NewAttributesRecord(object, old, kind, namespace, name, spoken.GroupVersionResource(), a.Subresource,
		upstream.Operation(a.Operation), a.options(), a.DryRun, who)
	return a.record
}

func (a *Attributes) options() runtime.Object {
	var dryRun []string
	if a.DryRun {
		dryRun = []string{metav1.DryRunAll}
	}
	typeOf := func(kind string) metav1.TypeMeta {
		return metav1.TypeMeta{APIVersion: metav1.SchemeGroupVersion.String(), Kind: kind}
	}
	switch a.Operation {
	case Create:
		return &metav1.CreateOptions{TypeMeta: typeOf("CreateOptions"), DryRun: dryRun, FieldManager: a.AskedManager, FieldValidation: a.AskedValidation}
	case Update:
		return &metav1.UpdateOptions{TypeMeta: typeOf("UpdateOptions"), DryRun: dryRun, FieldManager: a.AskedManager, FieldValidation: a.AskedValidation}
	case Delete:
		out := &metav1.DeleteOptions{}
		if a.Options != nil {
			out = a.Options.DeepCopy()
		}
		out.TypeMeta, out.DryRun = typeOf("DeleteOptions"), dryRun
		return out
	}
	return nil
}

// Exposed runs f, in which others may change the object. They see a new object as its creator sent it, and whatever they do,
// what only the server may set is what it was before; a name that it has made up is kept unless they choose another one.
func (a *Attributes) Exposed(f func() error) error {
	obj := a.Object
	if obj == nil {
		return f()
	}
	saved := &metav1.ObjectMeta{
		Name: obj.GetName(), GenerateName: obj.GetGenerateName(), UID: obj.GetUID(), ResourceVersion: obj.GetResourceVersion(),
		Generation: obj.GetGeneration(), CreationTimestamp: obj.GetCreationTimestamp(), DeletionTimestamp: obj.GetDeletionTimestamp(),
		DeletionGracePeriodSeconds: obj.GetDeletionGracePeriodSeconds(),
	}
	if a.Operation == Create {
		obj.SetUID("")
		obj.SetCreationTimestamp(metav1.Time{})
		if a.Generated {
			obj.SetName("")
		}
	}
	err := f()
	if _, failed := meta.Accessor(obj); failed != nil {
		return failed
	}
	a.Spoken().Stored().SetType(obj)
	if obj.GetName() == "" {
		obj.SetName(saved.Name)
	}
	if a.Operation == Create {
		a.Name = obj.GetName()
	}
	obj.SetUID(saved.UID)
	obj.SetResourceVersion(saved.ResourceVersion)
	obj.SetGeneration(saved.Generation)
	obj.SetCreationTimestamp(saved.CreationTimestamp)
	obj.SetDeletionTimestamp(saved.DeletionTimestamp)
	obj.SetDeletionGracePeriodSeconds(saved.DeletionGracePeriodSeconds)
	obj.SetSelfLink("")
	return err
}
