package control

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"
)

func widgets() *apiextensionsv1.CustomResourceDefinition {
	free := true
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "widgets.example.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "example.com", Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "widgets", Kind: "Widget"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &free}},
			}},
		},
	}
}

func widget(namespace, name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Widget"}}
	u.SetNamespace(namespace)
	u.SetName(name)
	return u
}

// TestDefinedKinds defines a kind twice, and what owns, is owned or lies in a namespace goes as it does with other kinds.
func TestDefinedKinds(t *testing.T) {
	c := start(t)
	c.defineWidgets("first")
	c.must(c.Delete(c.ctx, widgets()))
	until(c, &apiextensionsv1.CustomResourceDefinitionList{}, "", func(l *apiextensionsv1.CustomResourceDefinitionList) string {
		conditions := l.Items[0].Status.Conditions
		return want("the definition waits for the last object", conditions[len(conditions)-1].Reason, "InstanceDeletionInProgress")
	})
	c.release("first")
	until(c, &apiextensionsv1.CustomResourceDefinitionList{}, "", func(l *apiextensionsv1.CustomResourceDefinitionList) string {
		return want("definitions", len(l.Items), 0)
	})

	c.defineWidgets("second")
	c.must(c.Delete(c.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "second"}}))
	c.release("second")
	until(c, &corev1.NamespaceList{}, "", func(l *corev1.NamespaceList) string {
		left := ""
		for i := range l.Items {
			if l.Items[i].Name == "second" {
				left = "second"
			}
		}
		return want("namespaces", left, "")
	})
}

// defineWidgets defines a kind and makes three objects in a new namespace. One is deleted, and the one that it owned goes with it,
// and a ConfigMap. The third has a finalizer.
func (c *cluster) defineWidgets(ns string) {
	c.t.Helper()
	c.namespace(ns)
	c.must(c.Create(c.ctx, widgets()))
	until(c, &apiextensionsv1.CustomResourceDefinitionList{}, "", func(l *apiextensionsv1.CustomResourceDefinitionList) string {
		conditions := l.Items[0].Status.Conditions
		if len(conditions) == 2 && conditions[1].Type == apiextensionsv1.Established && conditions[1].Status == "True" {
			return ""
		}
		return fmt.Sprintf("the definition is not established: %v", conditions)
	})
	c.server.SyncDefinitions(c.ctx)
	owner, other := widget(ns, "owner"), widget(ns, "other")
	other.SetFinalizers([]string{"example.com/hold"})
	c.must(c.Create(c.ctx, owner))
	c.must(c.Create(c.ctx, other))
	refs := []metav1.OwnerReference{{APIVersion: "example.com/v1", Kind: "Widget", Name: "owner", UID: owner.GetUID()}}
	owned := widget(ns, "owned")
	owned.SetOwnerReferences(refs)
	c.must(c.Create(c.ctx, owned))
	c.must(c.Create(c.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "owned", OwnerReferences: refs}}))
	c.must(c.Delete(c.ctx, widget(ns, "owner")))
	until(c, widgetList(), ns, func(l *unstructured.UnstructuredList) string { return want("widgets", len(l.Items), 1) })
	until(c, &corev1.ConfigMapList{}, ns, func(l *corev1.ConfigMapList) string {
		left := 0
		for i := range l.Items {
			if l.Items[i].Name == "owned" {
				left++
			}
		}
		return want("config maps", left, 0)
	})
}

// release waits until the last object is being deleted and lets it go.
func (c *cluster) release(ns string) {
	c.t.Helper()
	until(c, widgetList(), ns, func(l *unstructured.UnstructuredList) string {
		return want("is being deleted", len(l.Items) == 1 && l.Items[0].GetDeletionTimestamp() != nil, true)
	})
	c.must(c.Patch(c.ctx, widget(ns, "other"), ctrlclient.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))))
}

func widgetList() *unstructured.UnstructuredList {
	l := &unstructured.UnstructuredList{}
	l.SetAPIVersion("example.com/v1")
	l.SetKind("WidgetList")
	return l
}
