package apiservice

import (
	"context"
	"fmt"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration/v1/helper"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/api/apiregistration"
)

func specsEqual(a, b *apiregistrationv1.APIServiceSpec) bool {
	return equality.Semantic.DeepEqual(a, b)
}

// register makes the APIService of a name what the server wants of it, and tells whether that changed anything.
func (c *Controller) register(ctx context.Context, name string, have *apiregistrationv1.APIService) (bool, error) {
	want, err := c.wanted(ctx, name)
	if err != nil {
		return false, err
	}
	c.mu.Lock()
	looked := c.looked[name]
	c.mu.Unlock()
	what := register(want, have, looked)
	switch what {
	case create:
		err = c.Client.Create(ctx, want)
	case update:
		changed := have.DeepCopy()
		changed.Spec = want.Spec
		err = c.Client.Update(ctx, changed)
	case remove:
		err = c.Client.Delete(ctx, have, client.Preconditions{UID: &have.UID})
	}
	if err != nil {
		return false, fmt.Errorf("register API service %s: %w", name, err)
	}
	c.mu.Lock()
	c.looked[name] = true
	c.mu.Unlock()
	return what != leave, nil
}

// wanted is the APIService that the server wants of a name; nil means none.
func (c *Controller) wanted(ctx context.Context, name string) (*apiregistrationv1.APIService, error) {
	gv := helper.APIServiceNameToGroupVersion(name)
	switch {
	case gv.Group == apiregistrationv1.GroupName:
		return nil, nil // the one group that is not registered
	case slices.Contains(c.Computed, gv):
		return apiregistration.Local(gv, apiregistration.PriorityOf(gv), ""), nil
	case slices.Contains(c.Builtin, gv):
		return apiregistration.Local(gv, apiregistration.PriorityOf(gv), apiregistration.ManagedOnStart), nil
	}
	var list apiextensionsv1.CustomResourceDefinitionList
	if err := c.Client.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("list definitions: %w", err)
	}
	for i := range list.Items {
		crd := &list.Items[i]
		if crd.Spec.Group == gv.Group && slices.ContainsFunc(crd.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool {
			return v.Name == gv.Version && v.Served
		}) {
			return apiregistration.Local(gv, apiregistration.DefinedPriority(), apiregistration.ManagedAlways), nil
		}
	}
	return nil, nil
}
