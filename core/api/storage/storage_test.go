package storage

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

func check(t *testing.T, errs field.ErrorList, want []string) {
	t.Helper()
	got := []string{}
	for _, err := range errs {
		got = append(got, fmt.Sprintf("%s: %s", err.Field, err.Type))
	}
	slices.Sort(got)
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		t.Errorf("refusals (-want +got):\n%s\n%v", diff, errs)
	}
}

// tried is a change of a good object, and what is said of it; update changes an object that is stored already.
type tried[T any] struct {
	name   string
	update bool
	edit   func(*T)
	want   []string
}

func try[T any](t *testing.T, k api.Kind[T], good *T, cases []tried[T]) {
	t.Helper()
	r := k.Resource()
	old := any(good).(api.Object)
	if r.Default != nil {
		r.Default(old)
	}
	check(t, r.Validate(old, nil), nil)
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			obj := old.DeepCopyObject().(api.Object)
			tc.edit(any(obj).(*T))
			if tc.update {
				check(t, r.Validate(obj, old), tc.want)
			} else {
				check(t, r.Validate(obj, nil), tc.want)
			}
		})
	}
}

func topology(key string, values ...string) corev1.TopologySelectorTerm {
	return corev1.TopologySelectorTerm{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{{Key: key, Values: values}}}
}

func TestStorageClass(t *testing.T) {
	good := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fast"}, Provisioner: "Example.com/disk", Parameters: map[string]string{"a": "b"}}
	try(t, StorageClasses, good, []tried[storagev1.StorageClass]{
		{"no provisioner", false, func(c *storagev1.StorageClass) { c.Provisioner = "" }, []string{"provisioner: Required value"}},
		{"odd provisioner", false, func(c *storagev1.StorageClass) { c.Provisioner = "a b" }, []string{"provisioner: Invalid value"}},
		{"an empty key", false, func(c *storagev1.StorageClass) { c.Parameters = map[string]string{"": "x"} }, []string{"parameters: Invalid value"}},
		{"large", false, func(c *storagev1.StorageClass) { c.Parameters = map[string]string{"k": strings.Repeat("x", 256<<10)} }, []string{"parameters: Too long"}},
		{"recycled", false, func(c *storagev1.StorageClass) { c.ReclaimPolicy = new(corev1.PersistentVolumeReclaimRecycle) }, []string{"reclaimPolicy: Unsupported value"}},
		{"odd mode", false, func(c *storagev1.StorageClass) { c.VolumeBindingMode = new(storagev1.VolumeBindingMode("Later")) }, []string{"volumeBindingMode: Unsupported value"}},
		{"topologies", false, func(c *storagev1.StorageClass) {
			c.AllowedTopologies = []corev1.TopologySelectorTerm{topology("zone", "a", "b"), topology("zone", "b", "a"), topology("zone"), topology("-", "a", "a")}
		}, []string{
			"allowedTopologies[1].matchLabelExpressions: Duplicate value", "allowedTopologies[2].matchLabelExpressions[0].values: Required value",
			"allowedTopologies[3].matchLabelExpressions[0].key: Invalid value", "allowedTopologies[3].matchLabelExpressions[0].values[1]: Duplicate value",
		}},
		{"what may change", true, func(c *storagev1.StorageClass) {
			c.AllowVolumeExpansion, c.AllowedTopologies, c.MountOptions = new(true), []corev1.TopologySelectorTerm{topology("zone", "a")}, []string{"ro"}
		}, nil},
		{"what may not", true, func(c *storagev1.StorageClass) {
			c.Parameters, c.Provisioner = nil, "example.com/other"
			c.ReclaimPolicy, c.VolumeBindingMode = new(corev1.PersistentVolumeReclaimRetain), new(storagev1.VolumeBindingWaitForFirstConsumer)
		}, []string{"parameters: Forbidden", "provisioner: Forbidden", "reclaimPolicy: Forbidden", "volumeBindingMode: Invalid value"}},
	})
	good.Annotations = map[string]string{defaultClass: "true"}
	if diff := cmp.Diff([]any{"fast (default)", "Example.com/disk", "Delete", "Immediate", false, "<unknown>"}, StorageClasses.Resource().Cells(good)); diff != "" {
		t.Error(diff)
	}
}

func TestPreferred(t *testing.T) {
	now := time.Now()
	class := func(name string, age time.Duration, annotations ...string) *storagev1.StorageClass {
		c := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(now.Add(-age)), Annotations: map[string]string{}}}
		for _, a := range annotations {
			c.Annotations[a] = "true"
		}
		return c
	}
	for _, tc := range []struct {
		name string
		in   []*storagev1.StorageClass
		want string
	}{
		{"none", nil, ""},
		{"none is the default", []*storagev1.StorageClass{class("a", 0)}, ""},
		{"beta", []*storagev1.StorageClass{class("a", 0), class("b", time.Hour, betaDefaultClass)}, "b"},
		{"the newest", []*storagev1.StorageClass{class("a", time.Hour, defaultClass), class("b", time.Minute, defaultClass), class("c", time.Hour, defaultClass)}, "b"},
		{"the first of equals", []*storagev1.StorageClass{class("b", time.Hour, defaultClass), class("a", time.Hour, defaultClass)}, "a"},
	} {
		got := ""
		if c := Preferred(tc.in); c != nil {
			got = c.Name
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestCSIDriver(t *testing.T) {
	good := &storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "disk.example.com"}}
	try(t, CSIDrivers, good, []tried[storagev1.CSIDriver]{
		{"odd values", false, func(d *storagev1.CSIDriver) {
			d.Spec.FSGroupPolicy, d.Spec.VolumeLifecycleModes = new(storagev1.FSGroupPolicy("Odd")), []storagev1.VolumeLifecycleMode{"Odd"}
			d.Spec.NodeAllocatableUpdatePeriodSeconds, d.Spec.ServiceAccountTokenInSecrets = new(int64(9)), new(true)
		}, []string{
			"spec.fsGroupPolicy: Unsupported value", "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value",
			"spec.serviceAccountTokenInSecrets: Invalid value", "spec.volumeLifecycleModes: Unsupported value",
		}},
		{"tokens", false, func(d *storagev1.CSIDriver) {
			d.Spec.TokenRequests = []storagev1.TokenRequest{
				{Audience: "a", ExpirationSeconds: new(int64(599))},
				{Audience: "a"},
				{Audience: "b", ExpirationSeconds: new(int64(1<<32 + 1))},
				{Audience: "c", ExpirationSeconds: new(int64(600))},
			}
		}, []string{"spec.tokenRequests[0].expirationSeconds: Invalid value", "spec.tokenRequests[1].audience: Duplicate value", "spec.tokenRequests[2].expirationSeconds: Invalid value"}},
		{"what may change", true, func(d *storagev1.CSIDriver) {
			d.Spec.PodInfoOnMount, d.Spec.StorageCapacity, d.Spec.FSGroupPolicy = new(true), new(true), new(storagev1.NoneFSGroupPolicy)
		}, nil},
		{"what may not", true, func(d *storagev1.CSIDriver) {
			d.Spec.AttachRequired, d.Spec.VolumeLifecycleModes = new(false), []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecycleEphemeral}
		}, []string{"spec.attachedRequired: Invalid value", "spec.volumeLifecycleModes: Invalid value"}},
	})
	want := storagev1.CSIDriverSpec{
		AttachRequired: new(true), PodInfoOnMount: new(false), StorageCapacity: new(false), RequiresRepublish: new(false), SELinuxMount: new(false),
		FSGroupPolicy: new(storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy), VolumeLifecycleModes: []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent},
	}
	if diff := cmp.Diff(want, good.Spec); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]any{"disk.example.com", true, false, false, "<unset>", false, "Persistent", "<unknown>"}, CSIDrivers.Resource().Cells(good)); diff != "" {
		t.Error(diff)
	}
	changed := good.DeepCopy()
	prepareDriver(changed, good)
	if changed.Generation != 0 {
		t.Error("a change of nothing is counted")
	}
	changed.Spec.StorageCapacity = new(true)
	if prepareDriver(changed, good); changed.Generation != 1 {
		t.Error("a change is not counted")
	}
}

func TestCSINode(t *testing.T) {
	good := &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Spec: storagev1.CSINodeSpec{Drivers: []storagev1.CSINodeDriver{{Name: "a.example.com", NodeID: "1", TopologyKeys: []string{"zone"}}}}}
	try(t, CSINodes, good, []tried[storagev1.CSINode]{
		{"empty", false, func(n *storagev1.CSINode) { n.Spec.Drivers[0] = storagev1.CSINodeDriver{} }, []string{
			"spec.drivers[0].name: Invalid value", "spec.drivers[0].name: Required value", "spec.drivers[0].nodeID: Required value",
		}},
		{"long", false, func(n *storagev1.CSINode) {
			n.Spec.Drivers[0].Name, n.Spec.Drivers[0].NodeID = strings.Repeat("a", 64), strings.Repeat("a", 257)
		}, []string{"spec.drivers[0].name: Too long", "spec.drivers[0].nodeID: Invalid value"}},
		{"twice", false, func(n *storagev1.CSINode) { n.Spec.Drivers = append(n.Spec.Drivers, n.Spec.Drivers[0]) }, []string{"spec.drivers[1].name: Duplicate value"}},
		{"keys", false, func(n *storagev1.CSINode) { n.Spec.Drivers[0].TopologyKeys = []string{"zone", "zone", "-"} }, []string{"spec.drivers[0]: Duplicate value", "spec.drivers[0]: Invalid value"}},
		{"count", false, func(n *storagev1.CSINode) {
			n.Spec.Drivers[0].Allocatable = &storagev1.VolumeNodeResources{Count: new(int32(-1))}
		}, []string{"spec.drivers[0].allocatable.count: Invalid value"}},
		{"what may change", true, func(n *storagev1.CSINode) {
			n.Spec.Drivers[0].Allocatable = &storagev1.VolumeNodeResources{Count: new(int32(5))}
			n.Spec.Drivers = append(n.Spec.Drivers, storagev1.CSINodeDriver{Name: "b", NodeID: "x"})
		}, nil},
		{"what may not", true, func(n *storagev1.CSINode) { n.Spec.Drivers[0].NodeID = "2" }, []string{"spec.drivers: Invalid value"}},
	})
	if diff := cmp.Diff([]any{"n", int64(1), "<unknown>"}, CSINodes.Resource().Cells(good)); diff != "" {
		t.Error(diff)
	}
}

func TestVolumeAttachment(t *testing.T) {
	good := &storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: storagev1.VolumeAttachmentSpec{
		Attacher: "disk.example.com", NodeName: "n", Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: new("v")},
	}}
	inline := func(edit func(*corev1.PersistentVolumeSpec)) func(*storagev1.VolumeAttachment) {
		return func(a *storagev1.VolumeAttachment) {
			spec := &corev1.PersistentVolumeSpec{AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}}
			spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: "disk.example.com", VolumeHandle: "1"}
			edit(spec)
			a.Spec.Source = storagev1.VolumeAttachmentSource{InlineVolumeSpec: spec}
		}
	}
	try(t, VolumeAttachments, good, []tried[storagev1.VolumeAttachment]{
		{"nothing", false, func(a *storagev1.VolumeAttachment) { a.Spec = storagev1.VolumeAttachmentSpec{} }, []string{
			"spec.attacher: Invalid value", "spec.attacher: Required value", "spec.attacher: Required value", "spec.nodeName: Invalid value", "spec.source: Required value",
		}},
		{"an empty name", false, func(a *storagev1.VolumeAttachment) { a.Spec.Source.PersistentVolumeName = new("") }, []string{
			"spec.source.persistentVolumeName: Invalid value", "spec.source.persistentVolumeName: Required value",
		}},
		{"both", false, func(a *storagev1.VolumeAttachment) { a.Spec.Source.InlineVolumeSpec = &corev1.PersistentVolumeSpec{} }, []string{"spec.source: Forbidden"}},
		{"inline", false, inline(func(*corev1.PersistentVolumeSpec) {}), nil},
		{"too much inline", false, inline(func(s *corev1.PersistentVolumeSpec) {
			s.CSI, s.HostPath, s.StorageClassName, s.AccessModes = nil, &corev1.HostPathVolumeSource{Path: "/x"}, "fast", nil
			s.Capacity, s.ClaimRef = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}, &corev1.ObjectReference{}
		}), []string{
			"spec.source.inlineVolumeSpec.accessModes: Required value", "spec.source.inlineVolumeSpec.capacity: Forbidden", "spec.source.inlineVolumeSpec.claimRef: Forbidden",
			"spec.source.inlineVolumeSpec.csi: Required value", "spec.source.inlineVolumeSpec.storageClassName: Forbidden",
		}},
		{"status", true, func(a *storagev1.VolumeAttachment) {
			a.Status.AttachmentMetadata = map[string]string{"k": strings.Repeat("x", 256<<10)}
			a.Status.AttachError = &storagev1.VolumeError{Message: strings.Repeat("x", 1025), ErrorCode: new(int32(-1))}
		}, []string{"status.attachError.errorCode: Invalid value", "status.attachError.message: Too long", "status.attachmentMetadata: Too long"}},
		{"a good status", true, func(a *storagev1.VolumeAttachment) { a.Status.Attached = true }, nil},
		{"another node", true, func(a *storagev1.VolumeAttachment) { a.Spec.NodeName = "m" }, []string{"spec: Invalid value"}},
	})
	if diff := cmp.Diff([]any{"a", "disk.example.com", "v", "n", false, "<unknown>"}, VolumeAttachments.Resource().Cells(good)); diff != "" {
		t.Error(diff)
	}
}

func TestCSIStorageCapacity(t *testing.T) {
	good := &storagev1.CSIStorageCapacity{ObjectMeta: metav1.ObjectMeta{Name: "c", Namespace: "x"}, StorageClassName: "fast", NodeTopology: &metav1.LabelSelector{}}
	try(t, CSIStorageCapacities, good, []tried[storagev1.CSIStorageCapacity]{
		{"odd", false, func(c *storagev1.CSIStorageCapacity) {
			c.StorageClassName, c.Capacity, c.NodeTopology = "", new(resource.MustParse("-1")), &metav1.LabelSelector{MatchLabels: map[string]string{"a": "-"}}
		}, []string{"capacity: Invalid value", "nodeTopology.matchLabels: Invalid value", "storageClassName: Invalid value"}},
		{"more room", true, func(c *storagev1.CSIStorageCapacity) {
			c.Capacity, c.MaximumVolumeSize = new(resource.MustParse("1Gi")), new(resource.MustParse("1Mi"))
		}, nil},
		{"elsewhere", true, func(c *storagev1.CSIStorageCapacity) { c.StorageClassName, c.NodeTopology = "slow", nil }, []string{"nodeTopology: Invalid value", "storageClassName: Invalid value"}},
	})
	if diff := cmp.Diff([]any{"c", "fast", "<unset>"}, CSIStorageCapacities.Resource().Cells(good)); diff != "" {
		t.Error(diff)
	}
}

func TestVolumeAttributesClass(t *testing.T) {
	good := &storagev1.VolumeAttributesClass{ObjectMeta: metav1.ObjectMeta{Name: "gold"}, DriverName: "disk.example.com", Parameters: map[string]string{"iops": "9"}}
	try(t, VolumeAttributesClasses, good, []tried[storagev1.VolumeAttributesClass]{
		{"nothing", false, func(c *storagev1.VolumeAttributesClass) { c.DriverName, c.Parameters = "", nil }, []string{"driverName: Required value", "parameters: Required value"}},
		{"changed", true, func(c *storagev1.VolumeAttributesClass) {
			c.DriverName, c.Parameters = "b", map[string]string{"iops": "10"}
		}, []string{"driverName: Forbidden", "parameters: Forbidden"}},
	})
	if diff := cmp.Diff([]any{"gold", "disk.example.com", "<unknown>"}, VolumeAttributesClasses.Resource().Cells(good)); diff != "" {
		t.Error(diff)
	}
}
