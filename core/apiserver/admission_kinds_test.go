package apiserver_test

import (
	"reflect"
	"testing"

	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/api"
)

// Plugins that are not asked about a kind have nothing to say to it.
func TestSelectivePlugins(t *testing.T) {
	selective := 0
	for _, p := range shared.api.Admission {
		s, ok := p.(admission.Selective)
		if !ok {
			continue
		}
		selective++
		about := 0
		for _, r := range shared.api.Registry.All() {
			if s.About(r) {
				about++
				continue
			}
			for _, operation := range []admission.Operation{admission.Create, admission.Update, admission.Delete} {
				for _, subresource := range []string{"", "status", "scale", "resize"} {
					checkSilent(t, p, r, operation, subresource)
				}
			}
		}
		if about == 0 {
			t.Errorf("%s is about no kind", p.Name())
		}
	}
	if selective == 0 {
		t.Error("there are no such plugins")
	}
}

func checkSilent(t *testing.T, p admission.Plugin, r *api.Resource, operation admission.Operation, subresource string) {
	t.Helper()
	a := &admission.Attributes{Request: &api.Request{Resource: r, Namespace: "default", Name: "x", Subresource: subresource, User: &user.DefaultInfo{Name: "jane"}}, Operation: operation}
	if operation != admission.Delete {
		a.Object = r.New()
	}
	if operation != admission.Create {
		a.Old = r.New()
	}
	if m, ok := p.(admission.Mutator); ok {
		if err := m.Admit(t.Context(), a); err != nil || a.Object != nil && !reflect.DeepEqual(a.Object, r.New()) {
			t.Errorf("%s is not about %s, but made of it %v, %v", p.Name(), r.GroupResource(), a.Object, err)
		}
	}
	if v, ok := p.(admission.Validator); ok {
		if err := v.Validate(t.Context(), a); err != nil {
			t.Errorf("%s is not about %s, but says %v", p.Name(), r.GroupResource(), err)
		}
	}
}
