package all

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	nodev1 "k8s.io/api/node/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/scheduling"
)

// TestKeys holds the layout of a Kubernetes etcd, which differs from the plural for some kinds.
func TestKeys(t *testing.T) {
	want := map[string]string{
		"configmaps": "/registry/configmaps/a/b", "endpoints": "/registry/services/endpoints/a/b", "events": "/registry/events/a/b",
		"namespaces": "/registry/namespaces/b", "nodes": "/registry/minions/b", "pods": "/registry/pods/a/b",
		"secrets": "/registry/secrets/a/b", "serviceaccounts": "/registry/serviceaccounts/a/b", "services": "/registry/services/specs/a/b",
		"controllerrevisions": "/registry/controllerrevisions/a/b", "deployments": "/registry/deployments/a/b", "replicasets": "/registry/replicasets/a/b",
		"daemonsets": "/registry/daemonsets/a/b", "statefulsets": "/registry/statefulsets/a/b", "poddisruptionbudgets": "/registry/poddisruptionbudgets/a/b",
		"persistentvolumeclaims": "/registry/persistentvolumeclaims/a/b", "persistentvolumes": "/registry/persistentvolumes/b", "replicationcontrollers": "/registry/controllers/a/b",
		"customresourcedefinitions":  "/registry/apiextensions.k8s.io/customresourcedefinitions/b",
		"apiservices":                "/registry/apiregistration.k8s.io/apiservices/b",
		"certificatesigningrequests": "/registry/certificatesigningrequests/b",
		"clustertrustbundles":        "/registry/clustertrustbundles/b", "podcertificaterequests": "/registry/podcertificaterequests/a/b",
		"deviceclasses": "/registry/deviceclasses/b", "devicetaintrules": "/registry/devicetaintrules/b", "resourceslices": "/registry/resourceslices/b",
		"resourceclaims": "/registry/resourceclaims/a/b", "resourceclaimtemplates": "/registry/resourceclaimtemplates/a/b",
		"storageversionmigrations": "/registry/storageversionmigrations/b",
		"horizontalpodautoscalers": "/registry/horizontalpodautoscalers/a/b",
		"cronjobs":                 "/registry/cronjobs/a/b", "jobs": "/registry/jobs/a/b",
		"roles": "/registry/roles/a/b", "rolebindings": "/registry/rolebindings/a/b",
		"clusterroles": "/registry/clusterroles/b", "clusterrolebindings": "/registry/clusterrolebindings/b",
		"nodeplugins": "/registry/plugins.gantry.dev/nodeplugins/b", "plugins": "/registry/plugins.gantry.dev/plugins/b",
		"pluginpolicies": "/registry/plugins.gantry.dev/pluginpolicies/b",
		"pluginswaps":    "/registry/plugins.gantry.dev/pluginswaps/b",
		"leases":         "/registry/leases/a/b", "endpointslices": "/registry/endpointslices/a/b",
		"csidrivers": "/registry/csidrivers/b", "csinodes": "/registry/csinodes/b", "csistoragecapacities": "/registry/csistoragecapacities/a/b",
		"storageclasses": "/registry/storageclasses/b", "volumeattachments": "/registry/volumeattachments/b", "volumeattributesclasses": "/registry/volumeattributesclasses/b",
		"validatingadmissionpolicies":       "/registry/validatingadmissionpolicies/b",
		"validatingadmissionpolicybindings": "/registry/validatingadmissionpolicybindings/b",
		"validatingwebhookconfigurations":   "/registry/validatingwebhookconfigurations/b",
		"limitranges":                       "/registry/limitranges/a/b", "podtemplates": "/registry/podtemplates/a/b", "ingresses": "/registry/ingress/a/b", "ingressclasses": "/registry/ingressclasses/b",
		"mutatingadmissionpolicies":       "/registry/mutatingadmissionpolicies/b",
		"mutatingadmissionpolicybindings": "/registry/mutatingadmissionpolicybindings/b",
		"mutatingwebhookconfigurations":   "/registry/mutatingwebhookconfigurations/b",
		"networkpolicies":                 "/registry/networkpolicies/a/b", "ipaddresses": "/registry/ipaddresses/b", "servicecidrs": "/registry/servicecidrs/b", "resourcequotas": "/registry/resourcequotas/a/b",
		"flowschemas": "/registry/flowschemas/b", "prioritylevelconfigurations": "/registry/prioritylevelconfigurations/b",
		"runtimeclasses": "/registry/runtimeclasses/b", "priorityclasses": "/registry/priorityclasses/b",
	}
	got := map[string]string{}
	for _, r := range Kinds().Stored() {
		got[r.Plural] = r.Key("a", "b")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

// TestEmptyObjects runs all hooks over objects with nothing in them: none may panic.
func TestEmptyObjects(t *testing.T) {
	for _, r := range Kinds().All() {
		t.Run(r.Plural, func(t *testing.T) {
			obj, old := r.New(), r.New()
			if r.Default != nil {
				r.Default(obj)
				r.Default(old)
			}
			if r.Prepare != nil {
				r.Prepare(obj, nil)
				r.Prepare(obj, old)
			}
			if r.Validate != nil {
				r.Validate(obj, nil)
				r.Validate(obj, old)
			}
			if r.ValidateStatus != nil {
				r.ValidateStatus(obj, old)
			}
			if cells := r.Cells(obj); len(cells) != len(r.Columns) {
				t.Errorf("%d cells for %d columns", len(cells), len(r.Columns))
			}
			for name, value := range r.Fields {
				if name == "" {
					t.Error("a field without name")
				}
				value(obj)
			}
		})
	}
}

func TestOtherKinds(t *testing.T) {
	meta := metav1.ObjectMeta{Name: "x", Namespace: "a"}
	for _, test := range []struct {
		name     string
		gvr      schema.GroupVersionResource
		obj, old api.Object
		row      []any
		refuse   []string
	}{
		{
			"lease", coordinationv1.SchemeGroupVersion.WithResource("leases"),
			&coordinationv1.Lease{ObjectMeta: meta, Spec: coordinationv1.LeaseSpec{HolderIdentity: new("me"), LeaseDurationSeconds: new(int32(40))}}, nil,
			[]any{"x", "me", "<unknown>"},
			nil,
		},
		{
			"bad lease", coordinationv1.SchemeGroupVersion.WithResource("leases"),
			&coordinationv1.Lease{ObjectMeta: meta, Spec: coordinationv1.LeaseSpec{
				LeaseDurationSeconds: new(int32(0)), LeaseTransitions: new(int32(-1)), PreferredHolder: new("you"),
			}}, nil,
			[]any{"x", "", "<unknown>"},
			[]string{"spec.leaseDurationSeconds: Invalid value", "spec.leaseTransitions: Invalid value", "spec.preferredHolder: Forbidden"},
		},
		{
			"runtime class", nodev1.SchemeGroupVersion.WithResource("runtimeclasses"),
			&nodev1.RuntimeClass{ObjectMeta: meta, Handler: "runc"}, &nodev1.RuntimeClass{Handler: "other"},
			[]any{"x", "runc", "<unknown>"},
			[]string{"handler: Invalid value"},
		},
		{
			"bad runtime class", nodev1.SchemeGroupVersion.WithResource("runtimeclasses"),
			&nodev1.RuntimeClass{ObjectMeta: meta, Scheduling: &nodev1.Scheduling{Tolerations: []corev1.Toleration{{Operator: "Equal"}}}}, nil,
			[]any{"x", "", "<unknown>"},
			[]string{"handler: Required value", "scheduling.tolerations[0].operator: Invalid value"},
		},
		{
			"slice", discoveryv1.SchemeGroupVersion.WithResource("endpointslices"),
			&discoveryv1.EndpointSlice{
				ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Port: new(int32(80))}},
				Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}}, {Addresses: []string{"10.0.0.2"}}, {Addresses: []string{"10.0.0.3"}}, {Addresses: []string{"10.0.0.4"}}},
			}, nil,
			[]any{"x", "IPv4", "80", "10.0.0.1,10.0.0.2,10.0.0.3 + 1 more...", "<unknown>"},
			nil,
		},
		{
			"bad slice", discoveryv1.SchemeGroupVersion.WithResource("endpointslices"),
			&discoveryv1.EndpointSlice{
				ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv6, Ports: []discoveryv1.EndpointPort{{Port: new(int32(0))}, {Protocol: new(corev1.Protocol("X"))}},
				Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}}, {Hostname: new("A")}},
			}, &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4},
			[]any{"x", "IPv6", "0,*", "10.0.0.1", "<unknown>"},
			[]string{
				"addressType: Invalid value", "endpoints[0].addresses[0]: Invalid value", "endpoints[1].addresses: Required value", "endpoints[1].hostname: Invalid value",
				"ports[0].port: Invalid value", "ports[1].name: Duplicate value", "ports[1].protocol: Unsupported value",
			},
		},
		{
			"empty slice", discoveryv1.SchemeGroupVersion.WithResource("endpointslices"), &discoveryv1.EndpointSlice{ObjectMeta: meta}, nil,
			[]any{"x", "", "<unset>", "<unset>", "<unknown>"},
			[]string{"addressType: Required value"},
		},
		{
			"priority", schedulingv1.SchemeGroupVersion.WithResource("priorityclasses"),
			&schedulingv1.PriorityClass{ObjectMeta: meta, Value: 1000}, nil,
			[]any{"x", int64(1000), false, "<unknown>", "PreemptLowerPriority"},
			nil,
		},
		{
			"changed priority", schedulingv1.SchemeGroupVersion.WithResource("priorityclasses"),
			&schedulingv1.PriorityClass{ObjectMeta: meta, Value: 2_000_000_000, PreemptionPolicy: new(corev1.PreemptNever)},
			&schedulingv1.PriorityClass{Value: 1, PreemptionPolicy: new(corev1.PreemptLowerPriority)},
			[]any{"x", int64(2_000_000_000), false, "<unknown>", "Never"},
			[]string{"preemptionPolicy: Invalid value", "value: Forbidden"},
		},
		{
			"system name", schedulingv1.SchemeGroupVersion.WithResource("priorityclasses"),
			&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "system-mine"}}, nil,
			[]any{"system-mine", int64(0), false, "<unknown>", "PreemptLowerPriority"},
			[]string{"metadata.name: Forbidden"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := Kinds().Resource(test.gvr)
			if r.Default != nil {
				r.Default(test.obj)
			}
			if diff := cmp.Diff(test.row, r.Cells(test.obj)); diff != "" {
				t.Errorf("row (-want +got):\n%s", diff)
			}
			slices.Sort(test.refuse)
			if diff := cmp.Diff(test.refuse, refusals(r.Validate(test.obj, test.old))); diff != "" {
				t.Errorf("refusals (-want +got):\n%s", diff)
			}
		})
	}
}

func refusals(errs field.ErrorList) []string {
	var out []string
	for _, err := range errs {
		out = append(out, fmt.Sprintf("%s: %s", err.Field, err.Type))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestSystemClassesAreValid(t *testing.T) {
	classes := scheduling.SystemClasses()
	if len(classes) == 0 {
		t.Fatal("no system classes")
	}
	for i := range classes {
		if errs := scheduling.PriorityClasses.Validate(&classes[i], nil); len(errs) > 0 || !strings.HasPrefix(classes[i].Name, scheduling.SystemPrefix) {
			t.Errorf("%s: %v", classes[i].Name, errs)
		}
	}
}
