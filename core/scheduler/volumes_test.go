package scheduler

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/storage/volume"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func withClaim(name string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}}}}
	}
}

func storageClass(name, provisioner string, mode storagev1.VolumeBindingMode) *storagev1.StorageClass {
	return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: provisioner, VolumeBindingMode: &mode}
}

func claim(name, class string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name)},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
}

func localVolume(name, node string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: "local", Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
				{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}}},
			}}},
		},
		Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeAvailable},
	}
}

// tell passes objects on as if they had changed.
func (h *harness) tell(objs ...client.Object) {
	h.t.Helper()
	for _, o := range objs {
		for _, k := range h.volumeKinds(h.t.Context()) {
			if reflect.TypeOf(k.obj) == reflect.TypeOf(o) {
				k.handler.OnAdd(o, false)
			}
		}
	}
}

// stored is an object as it was written.
func stored[T any, P interface {
	*T
	client.Object
}](h *harness, key types.NamespacedName) P {
	h.t.Helper()
	out := P(new(T))
	if err := h.api.Get(h.t.Context(), key, out); err != nil {
		h.t.Fatal(err)
	}
	return out
}

func bound(c *corev1.PersistentVolumeClaim, to string) *corev1.PersistentVolumeClaim {
	out := c.DeepCopy()
	out.Spec.VolumeName = to
	metav1.SetMetaDataAnnotation(&out.ObjectMeta, volume.AnnBindCompleted, "yes")
	return out
}

func TestWaitsForImmediateClaims(t *testing.T) {
	h := newHarness(t, node("a", "2"), node("b", "2"), pod("p", "1", withClaim("c")))
	h.want()
	c, v := claim("c", "now"), localVolume("v", "b")
	h.tell(c)
	h.want()
	h.tell(v, bound(c, "v"))
	h.want("p→b")
	want := []string{
		`Warning FailedScheduling 0/2 nodes are available: persistentvolumeclaim "c" not found. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.`,
		"Warning FailedScheduling 0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
		"Normal Scheduled Successfully assigned default/p to b",
	}
	if diff := cmp.Diff(want, h.events()); diff != "" {
		t.Error(diff)
	}
}

func TestBindsVolumesFirst(t *testing.T) {
	c, v := claim("c", "local"), localVolume("v", "b")
	h := newHarness(t, node("a", "8"), node("b", "2"), c, v)
	h.tell(storageClass("local", volume.NotSupportedProvisioner, storagev1.VolumeBindingWaitForFirstConsumer), c, v)
	h.setPod(pod("p", "1", withClaim("c")))
	h.want() // it waits on b
	written := stored[corev1.PersistentVolume](h, client.ObjectKeyFromObject(v))
	if r := written.Spec.ClaimRef; r == nil || r.Name != "c" || r.UID != "c" || written.Annotations[volume.AnnBoundByController] != "yes" {
		t.Errorf("the volume was written with %+v", r)
	}
	h.tell(written)
	h.want()
	other := claim("other", "local")
	h.tell(other)
	h.setPod(pod("q", "1", withClaim("other")))
	h.want() // the volume is taken
	h.tell(bound(c, "v"))
	h.want("p→b")
	if got := h.events(); !strings.Contains(got[0], "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind.") {
		t.Error(got)
	}
}

func TestProvisionsForTheNode(t *testing.T) {
	c := claim("c", "net")
	h := newHarness(t, node("a", "8"), c)
	h.tell(storageClass("net", "example.com/disk", storagev1.VolumeBindingWaitForFirstConsumer), c)
	h.setPod(pod("p", "1", withClaim("c")))
	h.want()
	asked := stored[corev1.PersistentVolumeClaim](h, client.ObjectKeyFromObject(c))
	if got := asked.Annotations[volume.AnnSelectedNode]; got != "a" {
		t.Errorf("the claim is to be provisioned for %q", got)
	}
	h.tell(asked)
	h.want()
	// The provisioner gives up: the pod is tried again.
	failed := asked.DeepCopy()
	delete(failed.Annotations, volume.AnnSelectedNode)
	if err := h.api.Update(t.Context(), failed); err != nil {
		t.Fatal(err)
	}
	h.tell(failed)
	h.want()
	if diff := cmp.Diff([]string{`Warning FailedScheduling running PreBind plugin "VolumeBinding": binding volumes: provisioning failed for PVC "c"`}, h.events()); diff != "" {
		t.Error(diff)
	}
	h.now = h.now.Add(time.Minute)
	h.want()
	again := stored[corev1.PersistentVolumeClaim](h, client.ObjectKeyFromObject(c))
	h.tell(again)
	made := localVolume("v", "a")
	h.tell(made, bound(again, "v"))
	h.want("p→a")
}

func TestGivesUpClaims(t *testing.T) {
	c, v := claim("c", "local"), localVolume("v", "a")
	h := newHarness(t, node("a", "8"), c, v)
	h.tell(storageClass("local", volume.NotSupportedProvisioner, storagev1.VolumeBindingWaitForFirstConsumer), c, v)
	p := pod("p", "1", withClaim("c"))
	h.setPod(p)
	h.want()
	h.now = h.now.Add(11 * time.Minute)
	h.want()
	if diff := cmp.Diff([]string{`Warning FailedScheduling running PreBind plugin "VolumeBinding": binding volumes: context deadline exceeded`}, h.events()); diff != "" {
		t.Error(diff)
	}
	h.now = h.now.Add(time.Minute)
	h.want()
	h.podEvents().OnDelete(p)
	if len(h.bindings.pods)+len(h.bindings.claims)+len(h.bindings.volumes) > 0 {
		t.Error("a pod that has gone is waited for")
	}
	if got := h.cluster.Placed(p.UID); got != "" {
		t.Errorf("a pod that has gone is on %s", got)
	}
}

// A failed write gives the volume back at once.
func TestVolumeTakenMeanwhile(t *testing.T) {
	c, v := claim("c", "local"), localVolume("v", "a")
	theirs := v.DeepCopy()
	theirs.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "x", Name: "y", UID: "z"}
	h := newHarness(t, node("a", "8"), c, theirs)
	h.tell(storageClass("local", volume.NotSupportedProvisioner, storagev1.VolumeBindingWaitForFirstConsumer), c, v)
	h.setPod(pod("p", "1", withClaim("c")))
	h.want()
	if diff := cmp.Diff([]string{`Warning FailedScheduling running PreBind plugin "VolumeBinding": volume "v" is not free any longer`}, h.events()); diff != "" {
		t.Error(diff)
	}
	if len(h.cluster.Volumes.BoundTo(c)) > 0 {
		t.Error("the volume still counts as taken")
	}
}
