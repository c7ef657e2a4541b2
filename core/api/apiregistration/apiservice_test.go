package apiregistration

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

func TestAPIServices(t *testing.T) {
	remote := func(edit func(*apiregistrationv1.APIService)) *apiregistrationv1.APIService {
		s := &apiregistrationv1.APIService{
			ObjectMeta: metav1.ObjectMeta{Name: "v1.g.example.com"},
			Spec: apiregistrationv1.APIServiceSpec{
				Group: "g.example.com", Version: "v1", GroupPriorityMinimum: 100, VersionPriority: 10,
				Service: &apiregistrationv1.ServiceReference{Namespace: "x", Name: "b"},
			},
		}
		if edit != nil {
			edit(s)
		}
		return s
	}
	reported := func(status apiregistrationv1.ConditionStatus, reason string) func(*apiregistrationv1.APIService) {
		return func(s *apiregistrationv1.APIService) {
			s.Status.Conditions = []apiregistrationv1.APIServiceCondition{{Type: apiregistrationv1.Available, Status: status, Reason: reason}}
		}
	}
	for _, tc := range []struct {
		name   string
		obj    *apiregistrationv1.APIService
		row    []any
		refuse []string
	}{
		{"new", remote(nil), []any{"x/b", "Unknown"}, nil},
		{"available", remote(reported("True", "Passed")), []any{"x/b", "True"}, nil},
		{"not available", remote(reported("False", "MissingEndpoints")), []any{"x/b", "False (MissingEndpoints)"}, nil},
		{"strange status", remote(reported("Maybe", "")), []any{"x/b", "Maybe"}, []string{"status.conditions[0].status: Unsupported value"}},
		{"local", remote(func(s *apiregistrationv1.APIService) { s.Spec.Service = nil }), []any{"Local", "True"}, nil},
		{"another name", remote(func(s *apiregistrationv1.APIService) { s.Name = "x" }), []any{"x/b", "Unknown"}, []string{"metadata.name: Invalid value"}},
		{
			"everything wrong", remote(func(s *apiregistrationv1.APIService) {
				s.Name, s.Spec = "V.G_", apiregistrationv1.APIServiceSpec{
					Group: "G_", Version: "V", GroupPriorityMinimum: 20001, InsecureSkipTLSVerify: true, CABundle: []byte("x"),
					Service: &apiregistrationv1.ServiceReference{Port: new(int32(0))},
				}
			}),
			[]any{"/", "Unknown"},
			[]string{
				"spec.group: Invalid value", "spec.version: Invalid value", "spec.groupPriorityMinimum: Invalid value", "spec.versionPriority: Invalid value",
				"spec.service.namespace: Required value", "spec.service.name: Required value", "spec.service.port: Invalid value", "spec.insecureSkipTLSVerify: Invalid value",
			},
		},
		{
			"wrong and local", remote(func(s *apiregistrationv1.APIService) {
				s.Name, s.Spec.Group, s.Spec.Version, s.Spec.Service = "v2.", "", "v2", nil
				s.Spec.CABundle, s.Spec.InsecureSkipTLSVerify = []byte("x"), true
			}),
			[]any{"Local", "True"},
			[]string{"spec.group: Required value", "spec.caBundle: Invalid value", "spec.insecureSkipTLSVerify: Invalid value"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			kind := APIServices.Resource()
			kind.Default(tc.obj)
			kind.Prepare(tc.obj, nil)
			if cells := kind.Cells(tc.obj); !cmp.Equal(cells[1:3], tc.row) {
				t.Errorf("row %v, want %v", cells, tc.row)
			}
			var got []string
			for _, err := range append(kind.Validate(tc.obj, nil), kind.ValidateStatus(tc.obj, nil)...) {
				got = append(got, fmt.Sprintf("%s: %s", err.Field, err.Type))
			}
			if diff := cmp.Diff(tc.refuse, got); diff != "" {
				t.Errorf("refusals (-want +got):\n%s", diff)
			}
		})
	}
	if s := remote(nil); s.Spec.Service.Port != nil {
		t.Fatal("the test has a port")
	} else if APIServices.Default(s); *s.Spec.Service.Port != 443 {
		t.Errorf("port %d", *s.Spec.Service.Port)
	}
}
