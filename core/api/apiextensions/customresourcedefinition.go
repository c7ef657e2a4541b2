// Package apiextensions declares the kind of the group apiextensions.k8s.io/v1: what the server, the printer and the store know
// of CustomResourceDefinition. What a definition means is in package custom.
package apiextensions

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsv1beta1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// CleanupFinalizer keeps a deleted definition until its objects are gone.
const CleanupFinalizer = "customresourcecleanup.apiextensions.k8s.io"

// CustomResourceDefinitions is all that the server, the printer and the docs know of CustomResourceDefinition.
var CustomResourceDefinitions = api.Kind[apiextensionsv1.CustomResourceDefinition]{
	Group: apiextensionsv1.GroupName, Version: "v1", Name: "CustomResourceDefinition", Plural: "customresourcedefinitions",
	Short: []string{"crd", "crds"}, Categories: []string{"api-extensions"},
	StoragePrefix: "apiextensions.k8s.io/customresourcedefinitions",
	// kube-apiserver goes on storing definitions in v1beta1, because that form is smaller.
	Former:       []api.Former{api.NewFormer(apiextensionsv1beta1.SchemeGroupVersion.String(), fromV1beta1)},
	Subresources: api.Status, Generation: true, UnconditionalUpdateForbidden: true, StatusMetadata: true,
	StatusOnCreate: true, // Prepare makes it
	Default:        defaultDefinition,
	Prepare:        prepareDefinition,
	Validate:       validateDefinition,
	ValidateStatus: validateDefinitionStatus,
	MarkDeleted: func(d *apiextensionsv1.CustomResourceDefinition) {
		if !slices.Contains(d.Finalizers, CleanupFinalizer) {
			d.Finalizers = append(d.Finalizers, CleanupFinalizer)
		}
	},
	Columns: []api.Column[apiextensionsv1.CustomResourceDefinition]{
		api.NameColumn[apiextensionsv1.CustomResourceDefinition](),
		{Name: "Created At", Type: "date", Description: "When the definition was created.", Cell: func(d *apiextensionsv1.CustomResourceDefinition) any {
			return d.CreationTimestamp.UTC().Format(time.RFC3339)
		}},
	},
}

func fromV1beta1(d *apiextensionsv1beta1.CustomResourceDefinition) (*apiextensionsv1.CustomResourceDefinition, error) {
	apiextensionsv1beta1.SetObjectDefaults_CustomResourceDefinition(d)
	internal, out := &apiextensions.CustomResourceDefinition{}, &apiextensionsv1.CustomResourceDefinition{}
	err := apiextensionsv1beta1.Convert_v1beta1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(d, internal, nil)
	if err != nil {
		return nil, fmt.Errorf("convert definition %s: %w", d.Name, err)
	}
	if err := apiextensionsv1.Convert_apiextensions_CustomResourceDefinition_To_v1_CustomResourceDefinition(internal, out, nil); err != nil {
		return nil, fmt.Errorf("convert definition %s: %w", d.Name, err)
	}
	return out, nil
}

func defaultDefinition(d *apiextensionsv1.CustomResourceDefinition) {
	apiextensionsv1.SetDefaults_CustomResourceDefinition(d)
	apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&d.Spec)
	if c := d.Spec.Conversion; c != nil && c.Webhook != nil && c.Webhook.ClientConfig != nil && c.Webhook.ClientConfig.Service != nil {
		apiextensionsv1.SetDefaults_ServiceReference(c.Webhook.ClientConfig.Service)
	}
}

// prepareDefinition notes in which versions there may be stored objects.
func prepareDefinition(d, old *apiextensionsv1.CustomResourceDefinition) {
	if old == nil {
		d.Status = apiextensionsv1.CustomResourceDefinitionStatus{}
	}
	for i := range d.Spec.Versions {
		if v := &d.Spec.Versions[i]; v.Storage && !slices.Contains(d.Status.StoredVersions, v.Name) {
			d.Status.StoredVersions = append(d.Status.StoredVersions, v.Name)
		}
	}
}

// Internal returns the form of a definition that the libraries of schemas work with. The definition stays as it is.
func Internal(d *apiextensionsv1.CustomResourceDefinition) (*apiextensions.CustomResourceDefinition, error) {
	out := &apiextensions.CustomResourceDefinition{}
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(d.DeepCopy(), out, nil); err != nil {
		return nil, fmt.Errorf("convert definition %s: %w", d.Name, err)
	}
	return out, nil
}

// Established tells that objects of the kind that a definition declares are served.
func Established(d *apiextensionsv1.CustomResourceDefinition) bool {
	return slices.ContainsFunc(d.Status.Conditions, func(c apiextensionsv1.CustomResourceDefinitionCondition) bool {
		return c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue
	})
}

// ServedVersion is the version of a definition that is stored if it is served, or else another one that is; "" for none.
func ServedVersion(d *apiextensionsv1.CustomResourceDefinition) string {
	out := ""
	for i := range d.Spec.Versions {
		if v := &d.Spec.Versions[i]; v.Served && (out == "" || v.Storage) {
			out = v.Name
		}
	}
	return out
}

type rule func(ctx context.Context, d, old *apiextensions.CustomResourceDefinition) field.ErrorList

func validateDefinition(d, old *apiextensionsv1.CustomResourceDefinition) field.ErrorList {
	return check(d, old, func(ctx context.Context, d, old *apiextensions.CustomResourceDefinition) field.ErrorList {
		if old == nil {
			return validation.ValidateCustomResourceDefinition(ctx, d)
		}
		return validation.ValidateCustomResourceDefinitionUpdate(ctx, d, old)
	})
}

func validateDefinitionStatus(d, old *apiextensionsv1.CustomResourceDefinition) field.ErrorList {
	return check(d, old, func(_ context.Context, d, old *apiextensions.CustomResourceDefinition) field.ErrorList {
		return validation.ValidateUpdateCustomResourceDefinitionStatus(context.Background(), d, old)
	})
}

// check runs a rule of the library on the internal form.
func check(d, old *apiextensionsv1.CustomResourceDefinition, run rule) field.ErrorList {
	now, err := Internal(d)
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	if old == nil {
		return run(context.Background(), now, nil)
	}
	before, err := Internal(old)
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	return run(context.Background(), now, before)
}
