//go:build e2e

package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// state is what a server answers: all objects of all resources, in all versions, as JSON.
type state map[schema.GroupVersionResource]map[string]*unstructured.Unstructured

// resources are what a server says that can be listed and created, with their kinds.
func resources(t testing.TB, config *rest.Config) map[schema.GroupVersionResource]metav1.APIResource {
	t.Helper()
	_, lists, err := discovery.NewDiscoveryClientForConfigOrDie(config).ServerGroupsAndResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		t.Fatal(err)
	}
	out := map[schema.GroupVersionResource]metav1.APIResource{}
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range l.APIResources {
			if slices.Contains(r.Verbs, "list") && slices.Contains(r.Verbs, "create") && !strings.Contains(r.Name, "/") {
				out[gv.WithResource(r.Name)] = r
			}
		}
	}
	return out
}

// list reads everything.
func list(t testing.TB, config *rest.Config) state {
	t.Helper()
	client := dynamic.NewForConfigOrDie(config)
	out := state{}
	for gvr := range resources(t, config) {
		got, err := client.Resource(gvr).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			if apierrors.IsServiceUnavailable(err) || apierrors.IsNotFound(err) {
				continue // an API that somebody else would serve
			}
			t.Fatalf("list %s: %v", gvr, err)
		}
		out[gvr] = map[string]*unstructured.Unstructured{}
		for i := range got.Items {
			item := &got.Items[i]
			out[gvr][item.GetNamespace()+"/"+item.GetName()] = item
		}
	}
	return out
}

// counterpart finds the objects of a resource in the other server's answers: in the same version if it is served there, or else
// in any other one if none of the versions is served by both. other tells of that.
func (s state) counterpart(gvr schema.GroupVersionResource, in state) (objects map[string]*unstructured.Unstructured, other bool) {
	if objects, ok := in[gvr]; ok {
		return objects, false
	}
	for have, objects := range in {
		if _, both := s[have]; have.GroupResource() == gvr.GroupResource() && !both {
			return objects, true
		}
	}
	return nil, false
}

// compare says how a server's objects differ from those of the one before it, and returns how many do not. Objects that servers
// keep up themselves are told by mine; everything else has to be the same to the last byte of JSON.
func (s state) compare(t testing.TB, after state, mine func(schema.GroupVersionResource, *unstructured.Unstructured) bool) (same int) {
	t.Helper()
	for gvr, objects := range s {
		now, other := s.counterpart(gvr, after)
		if now == nil {
			continue
		}
		for name, want := range objects {
			got := now[name]
			if mine(gvr, want) && (got == nil || got.GetResourceVersion() != want.GetResourceVersion()) {
				continue
			}
			if got == nil {
				t.Errorf("%s %s is gone", gvr, name)
			} else if diff := cmp.Diff(shown(gvr, want, other), shown(gvr, got, other)); diff != "" {
				t.Errorf("%s %s (-before +after):\n%s", gvr, name, diff)
			} else {
				same++
			}
		}
		for name, got := range now {
			if objects[name] == nil && !mine(gvr, got) {
				t.Errorf("%s %s has come from nowhere", gvr, name)
			}
		}
	}
	return same
}

// shown is an object without that in which releases of Kubernetes differ from each other when they show the same bytes. With
// other its version is left out as well.
func shown(gvr schema.GroupVersionResource, obj *unstructured.Unstructured, other bool) map[string]any {
	out := obj.DeepCopy().Object
	if other {
		delete(out, "apiVersion")
	}
	switch gvr.Resource {
	case "csinodes": // 1.37 has a status
		delete(out, "status")
	case "statefulsets": // 1.37 has a default
		unstructured.RemoveNestedField(out, "spec", "updateStrategy", "rollingUpdate", "maxUnavailable")
	}
	return out
}

// only keeps the resources that the other server has in no version, whose objects lie in the store untouched.
func (s state) only(without state) state {
	out, served := state{}, map[schema.GroupResource]bool{}
	for gvr := range without {
		served[gvr.GroupResource()] = true
	}
	for gvr, objects := range s {
		if !served[gvr.GroupResource()] {
			out[gvr] = objects
		}
	}
	return out
}

func (s state) String() string {
	var out []string
	for gvr := range s {
		out = append(out, fmt.Sprintf("%s.%s/%s", gvr.Resource, gvr.Group, gvr.Version))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// kept are objects that API servers write when they start, and go on writing.
func kept(gvr schema.GroupVersionResource, obj *unstructured.Unstructured) bool {
	switch gvr.GroupResource().String() {
	case "apiservices.apiregistration.k8s.io", "plugins.plugins.gantry.dev":
		return obj.GetLabels()["move"] == ""
	case "clusterroles.rbac.authorization.k8s.io", "clusterrolebindings.rbac.authorization.k8s.io",
		"roles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io":
		return obj.GetLabels()["kubernetes.io/bootstrapping"] != ""
	case "flowschemas.flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io":
		return obj.GetAnnotations()["apf.kubernetes.io/autoupdate-spec"] != ""
	case "leases.coordination.k8s.io", "configmaps":
		return obj.GetNamespace() == metav1.NamespaceSystem
	case "events", "events.events.k8s.io": // node ports that are not in kube-apiserver's map, which it makes anew then
		return obj.Object["reason"] == "PortNotAllocated"
	case "endpoints", "endpointslices.discovery.k8s.io", "services":
		return obj.GetNamespace() == metav1.NamespaceDefault && obj.GetName() == "kubernetes"
	}
	return false
}
