package resource

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func refused(errs field.ErrorList) []string {
	out := []string{}
	for _, err := range errs {
		out = append(out, fmt.Sprintf("%s: %s", err.Field, err.Type))
	}
	slices.Sort(out)
	return out
}

func check(t *testing.T, errs field.ErrorList, want ...string) {
	t.Helper()
	want = append([]string{}, want...)
	slices.Sort(want)
	if diff := cmp.Diff(want, refused(errs)); diff != "" {
		t.Errorf("errors (-want +got):\n%s\n%v", diff, errs.ToAggregate())
	}
}

func claim(change func(*resourcev1.ResourceClaim)) *resourcev1.ResourceClaim {
	c := &resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Name: "c", Namespace: "a"}, Spec: resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{
		Requests: []resourcev1.DeviceRequest{
			{Name: "one", Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: "gpu"}},
			{Name: "any", FirstAvailable: []resourcev1.DeviceSubRequest{{Name: "big", DeviceClassName: "gpu"}, {Name: "small", DeviceClassName: "gpu"}}},
		},
		Constraints: []resourcev1.DeviceConstraint{{Requests: []string{"one", "any/big"}, MatchAttribute: new(resourcev1.FullyQualifiedName("x.org/numa"))}},
		Config: []resourcev1.DeviceClaimConfiguration{{Requests: []string{"any"}, DeviceConfiguration: resourcev1.DeviceConfiguration{
			Opaque: &resourcev1.OpaqueDeviceConfiguration{Driver: "x.org", Parameters: runtime.RawExtension{Raw: []byte(`{"a":1}`)}},
		}}},
	}}}
	defaultRequests(c.Spec.Devices.Requests)
	if change != nil {
		change(c)
	}
	return c
}

func TestDefaults(t *testing.T) {
	c := claim(func(c *resourcev1.ResourceClaim) {
		c.Spec.Devices.Requests[1].FirstAvailable[0].AllocationMode, c.Spec.Devices.Requests[1].FirstAvailable[0].Count = "All", 0
		defaultRequests(c.Spec.Devices.Requests)
	})
	type asked struct {
		mode  resourcev1.DeviceAllocationMode
		count int64
	}
	r := c.Spec.Devices.Requests
	got := []asked{{r[0].Exactly.AllocationMode, r[0].Exactly.Count}, {r[1].FirstAvailable[0].AllocationMode, r[1].FirstAvailable[0].Count}, {r[1].FirstAvailable[1].AllocationMode, r[1].FirstAvailable[1].Count}}
	want := []asked{{"ExactCount", 1}, {"All", 0}, {"ExactCount", 1}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(asked{})); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	s := slice(func(s *resourcev1.ResourceSlice) {
		s.Spec.Devices[0].Taints = []resourcev1.DeviceTaint{{Key: "a", Effect: "NoSchedule"}}
	})
	ResourceSlices.Default(s)
	if added := s.Spec.Devices[0].Taints[0].TimeAdded; added == nil || time.Since(added.Time) > time.Minute {
		t.Errorf("the taint was added at %v", added)
	}
}

func TestValidateClaim(t *testing.T) {
	requests := func(c *resourcev1.ResourceClaim) []resourcev1.DeviceRequest { return c.Spec.Devices.Requests }
	const first = "spec.devices.requests[0]"
	for _, test := range []struct {
		name   string
		change func(*resourcev1.ResourceClaim)
		want   []string
	}{
		{"good", nil, nil},
		{"no kind of request", func(c *resourcev1.ResourceClaim) { requests(c)[0].Exactly = nil }, []string{first + ": Required value"}},
		{"both kinds", func(c *resourcev1.ResourceClaim) { requests(c)[1].Exactly = requests(c)[0].Exactly }, []string{"spec.devices.requests[1]: Invalid value"}},
		{"bad name", func(c *resourcev1.ResourceClaim) {
			requests(c)[0].Name = "A"
			c.Spec.Devices.Constraints = nil
		}, []string{first + ".name: Invalid value"}},
		{"no class", func(c *resourcev1.ResourceClaim) { requests(c)[0].Exactly.DeviceClassName = "" }, []string{first + ".exactly.deviceClassName: Required value"}},
		{"alternative without class", func(c *resourcev1.ResourceClaim) { requests(c)[1].FirstAvailable[1].DeviceClassName = "" }, []string{"spec.devices.requests[1].firstAvailable[1].deviceClassName: Required value"}},
		{"same name twice", func(c *resourcev1.ResourceClaim) {
			requests(c)[1].Name, c.Spec.Devices.Constraints, c.Spec.Devices.Config = "one", nil, nil
		}, []string{"spec.devices.requests[1]: Duplicate value"}},
		{"too many", func(c *resourcev1.ResourceClaim) {
			c.Spec.Devices.Requests = make([]resourcev1.DeviceRequest, 33)
			c.Spec.Devices.Constraints, c.Spec.Devices.Config = nil, nil
		}, []string{"spec.devices.requests: Too many"}},
		{"odd mode", func(c *resourcev1.ResourceClaim) { requests(c)[0].Exactly.AllocationMode = "Some" }, []string{first + ".exactly.allocationMode: Unsupported value"}},
		{"all of 3", func(c *resourcev1.ResourceClaim) {
			requests(c)[0].Exactly.AllocationMode, requests(c)[0].Exactly.Count = "All", 3
		}, []string{first + ".exactly.count: Invalid value"}},
		{"fewer than none", func(c *resourcev1.ResourceClaim) { requests(c)[0].Exactly.Count = -1 }, []string{first + ".exactly.count: Invalid value"}},
		{"no expression", func(c *resourcev1.ResourceClaim) {
			requests(c)[0].Exactly.Selectors = make([]resourcev1.DeviceSelector, 1)
		}, []string{first + ".exactly.selectors[0].cel: Required value"}},
		{"good expression", func(c *resourcev1.ResourceClaim) {
			requests(c)[0].Exactly.Selectors = []resourcev1.DeviceSelector{{CEL: &resourcev1.CELDeviceSelector{Expression: `device.driver == "x.org" && device.allowMultipleAllocations == true`}}}
		}, nil},
		{"bad expression", func(c *resourcev1.ResourceClaim) {
			requests(c)[0].Exactly.Selectors = []resourcev1.DeviceSelector{{CEL: &resourcev1.CELDeviceSelector{Expression: `device.`}}, {CEL: &resourcev1.CELDeviceSelector{Expression: `1`}}}
		}, []string{first + ".exactly.selectors[0].cel.expression: Invalid value", first + ".exactly.selectors[1].cel.expression: Invalid value"}},
		{"long expression", func(c *resourcev1.ResourceClaim) {
			requests(c)[0].Exactly.Selectors = []resourcev1.DeviceSelector{{CEL: &resourcev1.CELDeviceSelector{Expression: strings.Repeat("true||", 2000) + "true"}}}
		}, []string{first + ".exactly.selectors[0].cel.expression: Too long"}},
		{"tolerations", func(c *resourcev1.ResourceClaim) {
			requests(c)[0].Exactly.Tolerations = []resourcev1.DeviceToleration{{Operator: "Exists", Value: "x"}, {Operator: "Odd", Effect: "Odd"}, {Key: "_", Operator: "Equal", Value: "/"}}
		}, []string{
			first + ".exactly.tolerations[0].value: Invalid value", first + ".exactly.tolerations[1].effect: Unsupported value", first + ".exactly.tolerations[1].operator: Unsupported value",
			first + ".exactly.tolerations[2].key: Invalid value", first + ".exactly.tolerations[2].value: Invalid value",
		}},
		{"constraints", func(c *resourcev1.ResourceClaim) {
			c.Spec.Devices.Constraints = []resourcev1.DeviceConstraint{{Requests: []string{"two"}}, {Requests: []string{"any/huge", "a/b/c"}, DistinctAttribute: new(resourcev1.FullyQualifiedName("numa"))}}
		}, []string{
			"spec.devices.constraints[0]: Required value", "spec.devices.constraints[0].requests[0]: Invalid value",
			"spec.devices.constraints[1].distinctAttribute: Invalid value", "spec.devices.constraints[1].requests[0]: Invalid value", "spec.devices.constraints[1].requests[1]: Invalid value",
		}},
		{"no parameters", func(c *resourcev1.ResourceClaim) { c.Spec.Devices.Config[0].Opaque.Parameters.Raw = nil }, []string{"spec.devices.config[0].opaque.parameters: Required value"}},
		{"parameters that are no object", func(c *resourcev1.ResourceClaim) {
			c.Spec.Devices.Config[0].Opaque.Parameters.Raw, c.Spec.Devices.Config[0].Opaque.Driver = []byte(`[]`), "_"
		}, []string{"spec.devices.config[0].opaque.driver: Invalid value", "spec.devices.config[0].opaque.parameters: Invalid value"}},
		{"no configuration", func(c *resourcev1.ResourceClaim) { c.Spec.Devices.Config[0].Opaque = nil }, []string{"spec.devices.config[0].opaque: Required value"}},
	} {
		t.Run(test.name, func(t *testing.T) { check(t, validateClaim(claim(test.change), nil), test.want...) })
	}
	check(t, validateClaim(claim(func(c *resourcev1.ResourceClaim) { c.Spec.Devices.Config = nil }), claim(nil)), "spec: Invalid value")
	check(t, validateClaim(claim(nil), claim(nil)))

	template := func(change func(*resourcev1.ResourceClaimTemplate)) *resourcev1.ResourceClaimTemplate {
		c := &resourcev1.ResourceClaimTemplate{Spec: resourcev1.ResourceClaimTemplateSpec{Spec: claim(nil).Spec}}
		change(c)
		return c
	}
	plain := template(func(*resourcev1.ResourceClaimTemplate) {})
	check(t, validateTemplate(plain, nil))
	named := template(func(c *resourcev1.ResourceClaimTemplate) {
		c.Spec.Name, c.Spec.Labels = "x", map[string]string{"_": ""}
		c.Spec.Spec.Devices.Requests[0].Exactly.Count = 0
	})
	check(t, validateTemplate(named, nil), "spec.metadata.labels: Invalid value", "spec.metadata.name: Forbidden", "spec.spec.devices.requests[0].exactly.count: Invalid value")
	check(t, validateTemplate(template(func(c *resourcev1.ResourceClaimTemplate) { c.Spec.Spec.Devices.Config = nil }), plain), "spec: Invalid value")
}

func result(request, device string) resourcev1.DeviceRequestAllocationResult {
	return resourcev1.DeviceRequestAllocationResult{Request: request, Driver: "x.org", Pool: "node/a", Device: device}
}

func TestClaimStatus(t *testing.T) {
	allocated := claim(func(c *resourcev1.ResourceClaim) {
		c.Status.Allocation = &resourcev1.AllocationResult{Devices: resourcev1.DeviceAllocationResult{Results: []resourcev1.DeviceRequestAllocationResult{result("one", "gpu0"), result("any/big", "gpu1")}}}
	})
	user := resourcev1.ResourceClaimConsumerReference{Resource: "pods", Name: "p", UID: "1"}
	for _, test := range []struct {
		name   string
		old    *resourcev1.ResourceClaim
		change func(*resourcev1.ResourceClaim)
		want   []string
	}{
		{"nothing", claim(nil), func(*resourcev1.ResourceClaim) {}, nil},
		{"allocated", claim(nil), func(c *resourcev1.ResourceClaim) { c.Status = allocated.Status }, nil},
		{"reserved", allocated, func(c *resourcev1.ResourceClaim) {
			c.Status.ReservedFor = []resourcev1.ResourceClaimConsumerReference{user}
		}, nil},
		{"reserved before it is allocated", claim(nil), func(c *resourcev1.ResourceClaim) {
			c.Status.ReservedFor = []resourcev1.ResourceClaimConsumerReference{user}
		}, []string{"status.reservedFor: Forbidden"}},
		{"reserved twice, and for nobody", allocated, func(c *resourcev1.ResourceClaim) {
			c.Status.ReservedFor = []resourcev1.ResourceClaimConsumerReference{user, user, {}}
		}, []string{"status.reservedFor[1]: Duplicate value", "status.reservedFor[2].name: Required value", "status.reservedFor[2].resource: Required value", "status.reservedFor[2].uid: Required value"}},
		{"reserved while it is deleted", allocated, func(c *resourcev1.ResourceClaim) {
			c.DeletionTimestamp = &metav1.Time{}
			c.Status.ReservedFor = []resourcev1.ResourceClaimConsumerReference{user}
		}, []string{"status.reservedFor: Forbidden"}},
		{"allocated anew", allocated, func(c *resourcev1.ResourceClaim) { c.Status.Allocation.Devices.Results[0].Device = "gpu7" }, []string{"status.allocation: Invalid value"}},
		{"bad results", claim(nil), func(c *resourcev1.ResourceClaim) {
			r := result("two", "GPU")
			r.Driver, r.Pool = "", "A"
			c.Status.Allocation = &resourcev1.AllocationResult{Devices: resourcev1.DeviceAllocationResult{Results: []resourcev1.DeviceRequestAllocationResult{r}}, NodeSelector: &corev1.NodeSelector{}}
		}, []string{
			"status.allocation.devices.results[0].device: Invalid value", "status.allocation.devices.results[0].driver: Required value",
			"status.allocation.devices.results[0].pool: Invalid value", "status.allocation.devices.results[0].request: Invalid value", "status.allocation.nodeSelector.nodeSelectorTerms: Required value",
		}},
		{"binding conditions", claim(nil), func(c *resourcev1.ResourceClaim) {
			r := result("one", "gpu0")
			r.BindingConditions, r.BindingFailureConditions = []string{"a.b/c", "a.b/c"}, []string{"a.b/c"}
			c.Status.Allocation = &resourcev1.AllocationResult{Devices: resourcev1.DeviceAllocationResult{Results: []resourcev1.DeviceRequestAllocationResult{r}}}
		}, []string{"status.allocation.devices.results[0].bindingConditions[1]: Duplicate value", "status.allocation.devices.results[0].bindingFailureConditions[0]: Invalid value"}},
		{"a device that it does not have", allocated, func(c *resourcev1.ResourceClaim) {
			c.Status.Devices = []resourcev1.AllocatedDeviceStatus{{Driver: "x.org", Pool: "node/a", Device: "gpu0"}, {Driver: "x.org", Pool: "node/a", Device: "gpu2", NetworkData: &resourcev1.NetworkDeviceData{IPs: []string{"10.0.0.1"}}}}
		}, []string{"status.devices[1]: Invalid value", "status.devices[1].networkData.ips[0]: Invalid value"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := test.old.DeepCopy()
			test.change(c)
			check(t, validateClaimStatus(c, test.old), test.want...)
		})
	}
}

func TestReleasedDevices(t *testing.T) {
	old := claim(func(c *resourcev1.ResourceClaim) {
		c.Status.Allocation = &resourcev1.AllocationResult{Devices: resourcev1.DeviceAllocationResult{Results: []resourcev1.DeviceRequestAllocationResult{result("one", "gpu0")}}}
		c.Status.Devices = []resourcev1.AllocatedDeviceStatus{{Driver: "x.org", Pool: "node/a", Device: "gpu0"}}
	})
	c := old.DeepCopy()
	c.Status.Allocation = nil
	prepareClaim(c, old)
	if c.Status.Devices != nil {
		t.Errorf("a released device keeps its status: %v", c.Status.Devices)
	}
}

func TestState(t *testing.T) {
	for want, change := range map[string]func(*resourcev1.ResourceClaim){
		"pending":   func(*resourcev1.ResourceClaim) {},
		"deleted":   func(c *resourcev1.ResourceClaim) { c.DeletionTimestamp = &metav1.Time{} },
		"allocated": func(c *resourcev1.ResourceClaim) { c.Status.Allocation = &resourcev1.AllocationResult{} },
		"deleted,allocated,reserved": func(c *resourcev1.ResourceClaim) {
			c.DeletionTimestamp, c.Status.Allocation, c.Status.ReservedFor = &metav1.Time{}, &resourcev1.AllocationResult{}, make([]resourcev1.ResourceClaimConsumerReference, 1)
		},
	} {
		if got := state(claim(change)); got != want {
			t.Errorf("state %q, want %q", got, want)
		}
	}
	row := ResourceSlices.Resource().Cells(slice(nil))
	if diff := cmp.Diff([]any{"s", "n", "x.org", "pool", "<unknown>"}, row); diff != "" {
		t.Errorf("row of a slice (-want +got):\n%s", diff)
	}
}

func TestDeviceClass(t *testing.T) {
	class := &resourcev1.DeviceClass{Spec: resourcev1.DeviceClassSpec{ExtendedResourceName: new("x.org/gpu"), Selectors: []resourcev1.DeviceSelector{{CEL: &resourcev1.CELDeviceSelector{Expression: "true"}}}}}
	check(t, validateDeviceClass(class, nil))
	wrong := &resourcev1.DeviceClass{Spec: resourcev1.DeviceClassSpec{
		ExtendedResourceName: new("gpu"), Selectors: []resourcev1.DeviceSelector{{CEL: &resourcev1.CELDeviceSelector{Expression: "no.such"}}}, Config: make([]resourcev1.DeviceClassConfiguration, 1),
	}}
	check(t, validateDeviceClass(wrong, nil), "spec.config[0].opaque: Required value", "spec.extendedResourceName: Invalid value", "spec.selectors[0].cel.expression: Invalid value")
	check(t, validateDeviceClass(wrong, wrong.DeepCopy()), "spec.config[0].opaque: Required value") // stored expressions stay
}

func TestTaintRule(t *testing.T) {
	at := metav1.NewTime(time.Unix(1000, 0))
	rule := func(effect resourcev1.DeviceTaintEffect) *resourcev1.DeviceTaintRule {
		return &resourcev1.DeviceTaintRule{Spec: resourcev1.DeviceTaintRuleSpec{Taint: resourcev1.DeviceTaint{Key: "a.b/c", Effect: effect, TimeAdded: &at}}}
	}
	check(t, validateTaintRule(rule("NoExecute"), nil))
	wrong := rule("")
	wrong.Spec.Taint.Key, wrong.Spec.Taint.Value = "", "/"
	wrong.Spec.DeviceSelector = &resourcev1.DeviceTaintSelector{Driver: new(""), Pool: new("A"), Device: new("B")}
	check(t, validateTaintRule(wrong, nil), "spec.deviceSelector.device: Invalid value", "spec.deviceSelector.driver: Required value", "spec.deviceSelector.pool: Invalid value",
		"spec.taint.effect: Required value", "spec.taint.key: Invalid value", "spec.taint.key: Invalid value", "spec.taint.value: Invalid value")
	changed := rule("NoSchedule")
	prepareTaintRule(changed, rule("NoExecute"))
	if changed.Spec.Taint.TimeAdded.Equal(&at) {
		t.Error("the time of the former effect was kept")
	}
}

func slice(change func(*resourcev1.ResourceSlice)) *resourcev1.ResourceSlice {
	s := &resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: resourcev1.ResourceSliceSpec{
		Driver: "x.org", NodeName: new("n"), Pool: resourcev1.ResourcePool{Name: "pool", ResourceSliceCount: 1},
		Devices: []resourcev1.Device{{Name: "gpu0", Attributes: map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{"x.org/numa": {IntValue: new(int64(1))}, "version": {VersionValue: new("1.2.3-a+b")}}, Capacity: map[resourcev1.QualifiedName]resourcev1.DeviceCapacity{"memory": {Value: resource.MustParse("80Gi")}}}},
	}}
	if change != nil {
		change(s)
	}
	return s
}

func TestValidateSlice(t *testing.T) {
	first := func(s *resourcev1.ResourceSlice) *resourcev1.Device { return &s.Spec.Devices[0] }
	const device = "spec.devices[0]"
	for _, test := range []struct {
		name   string
		change func(*resourcev1.ResourceSlice)
		want   []string
	}{
		{"good", nil, nil},
		{"no driver and pool", func(s *resourcev1.ResourceSlice) {
			s.Spec.Driver, s.Spec.Pool = "", resourcev1.ResourcePool{Generation: -1}
		}, []string{
			"spec.driver: Required value", "spec.pool.generation: Invalid value", "spec.pool.name: Required value", "spec.pool.resourceSliceCount: Invalid value",
		}},
		{"no nodes", func(s *resourcev1.ResourceSlice) { s.Spec.NodeName = nil }, []string{"spec: Required value"}},
		{"empty node", func(s *resourcev1.ResourceSlice) { s.Spec.NodeName, s.Spec.AllNodes = new(""), new(false) }, []string{"spec: Required value", "spec.allNodes: Invalid value", "spec.nodeName: Invalid value"}},
		{"two kinds of nodes", func(s *resourcev1.ResourceSlice) { s.Spec.AllNodes = new(true) }, []string{"spec: Invalid value"}},
		{"nodes of a device", func(s *resourcev1.ResourceSlice) { first(s).AllNodes = new(true) }, []string{device + ": Invalid value"}},
		{"nodes of each device", func(s *resourcev1.ResourceSlice) { s.Spec.NodeName, s.Spec.PerDeviceNodeSelection = nil, new(true) }, []string{device + ": Required value"}},
		{"too many devices", func(s *resourcev1.ResourceSlice) { s.Spec.Devices = make([]resourcev1.Device, 129) }, []string{"spec.devices: Too many"}},
		{"same device twice", func(s *resourcev1.ResourceSlice) { s.Spec.Devices = append(s.Spec.Devices, s.Spec.Devices[0]) }, []string{"spec.devices[1]: Duplicate value"}},
		{"attributes", func(s *resourcev1.ResourceSlice) {
			first(s).Attributes = map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{
				"a-b": {BoolValue: new(true)}, "/x": {BoolValue: new(true)}, "none": {}, "v": {VersionValue: new("1")}, "s": {StringValue: new(strings.Repeat("x", 65))},
			}
		}, []string{
			device + ".attributes: Invalid value", device + ".attributes: Invalid value", device + ".attributes[none]: Invalid value", device + ".attributes[s].string: Too long", device + ".attributes[v].version: Invalid value",
		}},
		{"policy of a device for one", func(s *resourcev1.ResourceSlice) {
			first(s).Capacity["memory"] = resourcev1.DeviceCapacity{Value: resource.MustParse("1"), RequestPolicy: &resourcev1.CapacityRequestPolicy{}}
		}, []string{device + ".capacity[memory].requestPolicy: Forbidden"}},
		{"taints", func(s *resourcev1.ResourceSlice) {
			first(s).Taints = []resourcev1.DeviceTaint{{Key: "a", Effect: "Odd"}}
		}, []string{device + ".taints[0].effect: Unsupported value"}},
		{"counters", func(s *resourcev1.ResourceSlice) {
			s.Spec.SharedCounters = []resourcev1.CounterSet{{Name: "a", Counters: map[string]resourcev1.Counter{"x": {}}}, {Name: "a"}}
		}, []string{"spec: Invalid value", "spec.sharedCounters[1]: Duplicate value", "spec.sharedCounters[1].counters: Required value"}},
	} {
		t.Run(test.name, func(t *testing.T) { check(t, validateSlice(slice(test.change), nil), test.want...) })
	}
	moved := slice(func(s *resourcev1.ResourceSlice) {
		s.Spec.Driver, s.Spec.NodeName, s.Spec.Pool.Name = "y.org", new("m"), "other"
	})
	check(t, validateSlice(moved, slice(nil)), "spec.driver: Invalid value", "spec.nodeName: Invalid value", "spec.pool.name: Invalid value")
}

func TestRequestPolicies(t *testing.T) {
	q := func(s string) *resource.Quantity { return new(resource.MustParse(s)) }
	span := func(low, high, step, standard string) *resourcev1.CapacityRequestPolicy {
		r := &resourcev1.CapacityRequestPolicy{Default: q(standard), ValidRange: &resourcev1.CapacityRequestPolicyRange{Min: q(low)}}
		if high != "" {
			r.ValidRange.Max = q(high)
		}
		if step != "" {
			r.ValidRange.Step = q(step)
		}
		return r
	}
	const values, bounds = "requestPolicy.validValues", "requestPolicy.validRange"
	for _, test := range []struct {
		name   string
		policy *resourcev1.CapacityRequestPolicy
		want   []string
	}{
		{"values", &resourcev1.CapacityRequestPolicy{Default: q("2"), ValidValues: []resource.Quantity{*q("1"), *q("2")}}, nil},
		{"both", &resourcev1.CapacityRequestPolicy{ValidValues: []resource.Quantity{*q("1")}, ValidRange: &resourcev1.CapacityRequestPolicyRange{}}, []string{"requestPolicy: Forbidden"}},
		{"no default", &resourcev1.CapacityRequestPolicy{ValidValues: []resource.Quantity{*q("1")}}, []string{"requestPolicy.default: Required value"}},
		{"wrong values", &resourcev1.CapacityRequestPolicy{Default: q("5"), ValidValues: []resource.Quantity{*q("11"), *q("2"), *q("2")}}, []string{
			values + ": Invalid value", values + "[0]: Invalid value", values + "[1]: Invalid value", values + "[2]: Duplicate value",
		}},
		{"range", span("2", "10", "4", "6"), nil},
		{"fractions", span("500m", "2", "500m", "1500m"), nil},
		{"fractional default", span("1", "", "1", "1500m"), []string{bounds + ".step: Invalid value"}},
		{"off the steps", span("2", "9", "4", "7"), []string{bounds + ".step: Invalid value", bounds + ".step: Invalid value"}},
		{"outside", span("4", "11", "", "3"), []string{bounds + ".default: Invalid value", bounds + ".max: Invalid value"}},
		{"no step", span("4", "", "0", "4"), []string{bounds + ".step: Invalid value"}},
		{"too fine", span("1", "", "1n", "1"), []string{bounds + ".step: Invalid value"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			check(t, validatePolicy(test.policy, *q("10"), field.NewPath("requestPolicy")), test.want...)
		})
	}
}

func TestGatedFieldsAreDropped(t *testing.T) {
	gated := func() *resourcev1.ResourceSlice {
		return slice(func(s *resourcev1.ResourceSlice) {
			s.Spec.PartitionTypeAttribute, s.Spec.SkipNodeOperations = new(resourcev1.FullyQualifiedName("x.org/type")), []resourcev1.SkipNodeOperation{"*"}
			s.Spec.Devices[0].NodeAllocatableResources = map[corev1.ResourceName]resourcev1.NodeAllocatableResource{"cpu": {}}
			s.Spec.Devices[0].Attributes = map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{"list": {IntValues: []int64{1}}}
			s.Spec.Devices[0].ConsumesCounters = []resourcev1.DeviceCounterConsumption{{CounterSet: "a", CompatibilityGroups: []string{"b"}}}
		})
	}
	fresh := gated()
	dropGated(fresh, nil)
	want := slice(func(s *resourcev1.ResourceSlice) {
		s.Spec.Devices[0].Attributes = map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{"list": {}}
		s.Spec.Devices[0].ConsumesCounters = []resourcev1.DeviceCounterConsumption{{CounterSet: "a"}}
	})
	if diff := cmp.Diff(want, fresh); diff != "" {
		t.Errorf("new slice (-want +got):\n%s", diff)
	}
	kept := gated()
	dropGated(kept, gated())
	if diff := cmp.Diff(gated(), kept); diff != "" {
		t.Errorf("slice that had them (-want +got):\n%s", diff)
	}
}
