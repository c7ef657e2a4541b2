// Package apiregistration declares APIService, by which group versions of the API are served by other API servers.
package apiregistration

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration/v1/helper"

	"github.com/gantryio/gantry/core/api"
)

const (
	defaultPort        = 443
	maxGroupPriority   = 20000
	maxVersionPriority = 1000
)

// APIServices is all that the server, the printer and the docs know of APIService.
var APIServices = api.Kind[apiregistrationv1.APIService]{
	Group: "apiregistration.k8s.io", Version: "v1", Name: "APIService", Plural: "apiservices",
	Categories:    []string{"api-extensions"},
	Subresources:  api.Status,
	StoragePrefix: "apiregistration.k8s.io/apiservices",
	// As in Kubernetes.
	UnconditionalUpdateForbidden: true,
	ValidateName:                 func(name string, _ bool) []string { return path.IsValidPathSegmentName(name) },
	Default: func(s *apiregistrationv1.APIService) {
		if ref := s.Spec.Service; ref != nil && ref.Port == nil {
			ref.Port = new(int32(defaultPort))
		}
	},
	Prepare: func(s, old *apiregistrationv1.APIService) {
		if old == nil && s.Spec.Service == nil {
			helper.SetAPIServiceCondition(s, helper.NewLocalAvailableAPIServiceCondition())
		}
	},
	Validate:       func(s, _ *apiregistrationv1.APIService) field.ErrorList { return validateAPIService(s) },
	ValidateStatus: func(s, _ *apiregistrationv1.APIService) field.ErrorList { return validateStatus(&s.Status) },
	Columns: []api.Column[apiregistrationv1.APIService]{
		api.NameColumn[apiregistrationv1.APIService](),
		{Name: "Service", Description: "The Service behind which the group version is served.", Cell: func(s *apiregistrationv1.APIService) any { return service(s) }},
		{Name: "Available", Description: "Whether the group version can be used.", Cell: func(s *apiregistrationv1.APIService) any { return available(s) }},
		api.AgeColumn[apiregistrationv1.APIService](),
	},
}

// NameOf is the name of the APIService of a group version.
func NameOf(gv schema.GroupVersion) string { return gv.Version + "." + gv.Group }

// Remote tells that somebody else serves the group version.
func Remote(s *apiregistrationv1.APIService) bool { return s.Spec.Service != nil }

// Available tells that the group version can be used.
func Available(s *apiregistrationv1.APIService) bool {
	return helper.IsAPIServiceConditionTrue(s, apiregistrationv1.Available)
}

func service(s *apiregistrationv1.APIService) string {
	if s.Spec.Service == nil {
		return "Local"
	}
	return s.Spec.Service.Namespace + "/" + s.Spec.Service.Name
}

func available(s *apiregistrationv1.APIService) string {
	c := helper.GetAPIServiceConditionByType(s, apiregistrationv1.Available)
	switch {
	case c == nil:
		return string(apiregistrationv1.ConditionUnknown)
	case c.Status == apiregistrationv1.ConditionTrue || c.Reason == "":
		return string(c.Status)
	}
	return fmt.Sprintf("%s (%s)", c.Status, c.Reason)
}

func validateAPIService(s *apiregistrationv1.APIService) field.ErrorList {
	var errs field.ErrorList
	spec, p := &s.Spec, field.NewPath("spec")
	want := NameOf(schema.GroupVersion{Group: spec.Group, Version: spec.Version})
	if s.Name != want {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), s.Name, fmt.Sprintf("must be `spec.version+\".\"+spec.group`: %q", want)))
	}
	if spec.Group == "" && spec.Version != "v1" {
		errs = append(errs, field.Required(p.Child("group"), "only v1 may have an empty group and it better be legacy kube"))
	}
	if spec.Group != "" {
		for _, msg := range utilvalidation.IsDNS1123Subdomain(spec.Group) {
			errs = append(errs, field.Invalid(p.Child("group"), spec.Group, msg))
		}
	}
	for _, msg := range utilvalidation.IsDNS1035Label(spec.Version) {
		errs = append(errs, field.Invalid(p.Child("version"), spec.Version, msg))
	}
	if n := spec.GroupPriorityMinimum; n <= 0 || n > maxGroupPriority {
		errs = append(errs, field.Invalid(p.Child("groupPriorityMinimum"), n, "must be positive and less than 20000"))
	}
	if n := spec.VersionPriority; n <= 0 || n > maxVersionPriority {
		errs = append(errs, field.Invalid(p.Child("versionPriority"), n, "must be positive and less than 1000"))
	}
	return append(errs, validateBackend(spec, p)...)
}

// validateBackend checks where the group version is served, and how that server proves who it is.
func validateBackend(spec *apiregistrationv1.APIServiceSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	ref, ca, insecure := spec.Service, p.Child("caBundle"), p.Child("insecureSkipTLSVerify")
	if ref == nil {
		if n := len(spec.CABundle); n > 0 {
			errs = append(errs, field.Invalid(ca, fmt.Sprintf("%d bytes", n), "local APIServices may not have a caBundle"))
		}
		if spec.InsecureSkipTLSVerify {
			errs = append(errs, field.Invalid(insecure, true, "local APIServices may not have insecureSkipTLSVerify"))
		}
		return errs
	}
	p = p.Child("service")
	if ref.Namespace == "" {
		errs = append(errs, field.Required(p.Child("namespace"), ""))
	}
	if ref.Name == "" {
		errs = append(errs, field.Required(p.Child("name"), ""))
	}
	if msgs := utilvalidation.IsValidPortNum(int(*ref.Port)); len(msgs) > 0 {
		errs = append(errs, field.Invalid(p.Child("port"), *ref.Port, "port is not valid: "+strings.Join(msgs, ", ")))
	}
	if spec.InsecureSkipTLSVerify && len(spec.CABundle) > 0 {
		errs = append(errs, field.Invalid(insecure, true, "may not be true if caBundle is present"))
	}
	return errs
}

func validateStatus(status *apiregistrationv1.APIServiceStatus) field.ErrorList {
	var errs field.ErrorList
	known := []apiregistrationv1.ConditionStatus{apiregistrationv1.ConditionTrue, apiregistrationv1.ConditionFalse, apiregistrationv1.ConditionUnknown}
	for i, c := range status.Conditions {
		if c.Status != known[0] && c.Status != known[1] && c.Status != known[2] {
			errs = append(errs, field.NotSupported(field.NewPath("status", "conditions").Index(i).Child("status"), c.Status, known))
		}
	}
	return errs
}
