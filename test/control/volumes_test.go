package control

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/component-helpers/storage/volume"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"
)

func storageClass(name, provisioner string, mode storagev1.VolumeBindingMode) *storagev1.StorageClass {
	return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: provisioner, VolumeBindingMode: &mode}
}

func pvc(name, class, size string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "volumes", Name: name}, Spec: corev1.PersistentVolumeClaimSpec{
		StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}},
	}}
}

func localVolume(name, class, size, node string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeSpec{
		StorageClassName: class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)},
		PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: "/" + name}},
		NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
			{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}}},
		}}},
	}}
}

func mounting(name, claim string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "volumes", Name: name}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "c", Image: "img"}},
		Volumes:    []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}}},
	}}
}

func startVolumes(t *testing.T) *cluster {
	c := start(t)
	c.addNode("n1")
	c.addNode("n2")
	c.namespace("volumes")
	until(c, &corev1.ServiceAccountList{}, "volumes", func(l *corev1.ServiceAccountList) string { return want("accounts", len(l.Items), 1) })
	return c
}

// on waits until a pod runs on a node.
func (c *cluster) on(pod, node string) {
	c.t.Helper()
	until(c, &corev1.PodList{}, "volumes", func(l *corev1.PodList) string {
		for i := range l.Items {
			if p := &l.Items[i]; p.Name == pod && p.Status.Phase == corev1.PodRunning {
				return want("node", p.Spec.NodeName, node)
			}
		}
		return pod + " does not run"
	})
}

func (c *cluster) volumePhase(name string, phase corev1.PersistentVolumePhase) {
	c.t.Helper()
	until(c, &corev1.PersistentVolumeList{}, "", func(l *corev1.PersistentVolumeList) string {
		for i := range l.Items {
			if l.Items[i].Name == name {
				return want("phase of "+name, l.Items[i].Status.Phase, phase)
			}
		}
		return name + " is not there"
	})
}

// A claim waits for its pod, and both get the node of the smallest volume that suits; the claim stays while the pod uses it,
// and its volume is released after it.
func TestLocalVolumes(t *testing.T) {
	c := startVolumes(t)
	c.must(c.Create(c.ctx, storageClass("local", volume.NotSupportedProvisioner, storagev1.VolumeBindingWaitForFirstConsumer)))
	c.must(c.Create(c.ctx, localVolume("large", "local", "9Gi", "n1")))
	c.must(c.Create(c.ctx, localVolume("small", "local", "2Gi", "n2")))
	c.must(c.Create(c.ctx, localVolume("tiny", "local", "1Gi", "n1")))
	for _, v := range []string{"large", "small", "tiny"} {
		c.volumePhase(v, corev1.VolumeAvailable)
	}
	pinned := mounting("pinned", "first")
	pinned.Spec.NodeSelector = map[string]string{corev1.LabelHostname: "n1"}
	c.must(c.Create(c.ctx, pvc("first", "local", "2Gi")))
	c.must(c.Create(c.ctx, pinned))
	c.on("pinned", "n1") // large is all that suits there
	c.must(c.Create(c.ctx, mounting("other", "second")))
	c.must(c.Create(c.ctx, pvc("second", "local", "2Gi")))
	c.on("other", "n2")
	c.volumePhase("large", corev1.VolumeBound)
	c.volumePhase("small", corev1.VolumeBound)
	c.must(c.Delete(c.ctx, pvc("second", "", "1")))
	until(c, &corev1.PersistentVolumeClaimList{}, "volumes", func(l *corev1.PersistentVolumeClaimList) string { return want("claims", len(l.Items), 2) })
	c.must(c.Delete(c.ctx, mounting("other", ""), ctrlclient.GracePeriodSeconds(0))) // it goes without having been marked
	until(c, &corev1.PersistentVolumeClaimList{}, "volumes", func(l *corev1.PersistentVolumeClaimList) string { return want("claims", len(l.Items), 1) })
	c.volumePhase("small", corev1.VolumeReleased)
}

// Claims of an immediate class are bound without a pod, also by a class that they get because they name none.
func TestImmediateClaims(t *testing.T) {
	c := startVolumes(t)
	usual := storageClass("usual", volume.NotSupportedProvisioner, storagev1.VolumeBindingImmediate)
	usual.Annotations = map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}
	c.must(c.Create(c.ctx, usual))
	claim := pvc("claim", "", "1Gi")
	claim.Spec.StorageClassName = nil
	c.must(c.Create(c.ctx, claim))
	c.must(c.Create(c.ctx, mounting("pod", "claim")))
	c.must(c.Create(c.ctx, localVolume("late", "usual", "1Gi", "n2")))
	c.on("pod", "n2")
	until(c, &corev1.PersistentVolumeClaimList{}, "volumes", func(l *corev1.PersistentVolumeClaimList) string {
		return want("phase", l.Items[0].Status.Phase, corev1.ClaimBound)
	})
}

// defaultClass has all claims provisioned for which nobody asks for another class.
func (c *cluster) defaultClass() {
	c.provision("example.com/disk")
	class := storageClass("usual", "example.com/disk", storagev1.VolumeBindingWaitForFirstConsumer)
	class.Annotations = map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}
	c.must(c.Create(c.ctx, class))
}

// provision is an external provisioner: it makes volumes for the claims that are put to it.
func (c *cluster) provision(name string) {
	informer, err := c.informed.GetInformer(c.ctx, &corev1.PersistentVolumeClaim{})
	c.must(err)
	see := func(o any) {
		claim := o.(*corev1.PersistentVolumeClaim)
		node := claim.Annotations[volume.AnnSelectedNode]
		if claim.Annotations[volume.AnnStorageProvisioner] != name || node == "" || claim.Spec.VolumeName != "" {
			return
		}
		v := localVolume("made-for-"+string(claim.UID), *claim.Spec.StorageClassName, "5Gi", node)
		v.Annotations = map[string]string{volume.AnnDynamicallyProvisioned: name}
		v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete
		v.Spec.ClaimRef = &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID}
		c.wg.Go(func() { _ = c.Create(c.ctx, v) })
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: see, UpdateFunc: func(_, o any) { see(o) }})
	c.must(err)
}

func TestProvisionedVolumes(t *testing.T) {
	c := startVolumes(t)
	c.provision("example.com/disk")
	c.must(c.Create(c.ctx, storageClass("net", "example.com/disk", storagev1.VolumeBindingWaitForFirstConsumer)))
	for _, name := range []string{"a", "b", "c"} {
		c.must(c.Create(c.ctx, pvc(name, "net", "1Gi")))
		p := mounting(name, name)
		p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: "n2"}
		c.must(c.Create(c.ctx, p))
	}
	for _, name := range []string{"a", "b", "c"} {
		c.on(name, "n2")
		bound := &corev1.PersistentVolumeClaim{}
		c.must(c.Get(c.ctx, ctrlclient.ObjectKey{Namespace: "volumes", Name: name}, bound))
		c.volumePhase("made-for-"+string(bound.UID), corev1.VolumeBound)
	}
	until(c, &corev1.PersistentVolumeClaimList{}, "volumes", func(l *corev1.PersistentVolumeClaimList) string {
		return want("claim", l.Items[0].Status.Capacity.Storage().String()+" "+string(l.Items[0].Status.Phase), "5Gi Bound")
	})
}

// A pod's ephemeral volume is a claim of its own, which comes and goes with it.
func TestEphemeralVolumes(t *testing.T) {
	c := startVolumes(t)
	c.defaultClass()
	p := mounting("pod", "")
	claim := pvc("", "", "1Gi").Spec
	claim.StorageClassName = nil
	p.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{Spec: claim}}}
	p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: "n1"}
	c.must(c.Create(c.ctx, p))
	c.on("pod", "n1")
	until(c, &corev1.PersistentVolumeClaimList{}, "volumes", func(l *corev1.PersistentVolumeClaimList) string {
		return want("claim", l.Items[0].Name+" "+string(l.Items[0].Status.Phase), "pod-v Bound")
	})
	c.must(c.Delete(c.ctx, p))
	until(c, &corev1.PersistentVolumeClaimList{}, "volumes", func(l *corev1.PersistentVolumeClaimList) string { return want("claims", len(l.Items), 0) })
}
