package place

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/storage/volume"

	"github.com/gantryio/gantry/core/scheduler/filter"
)

func newStorage() storage {
	return storage{
		claims: map[string]*corev1.PersistentVolumeClaim{}, volumes: map[string]*corev1.PersistentVolume{}, storageClasses: map[string]*storagev1.StorageClass{},
		drivers: map[string]*storagev1.CSIDriver{}, csiNodes: map[string]*storagev1.CSINode{}, capacities: map[string]*storagev1.CSIStorageCapacity{},
		attached: map[string]*storagev1.VolumeAttachment{},
	}
}

// randomUses gives a pod claims and disks, some of which are not there.
func randomUses(rng *rand.Rand, p *corev1.Pod) {
	add := func(s corev1.VolumeSource) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: fmt.Sprint("v", len(p.Spec.Volumes)), VolumeSource: s})
	}
	if rng.IntN(2) == 0 {
		return
	}
	for range 1 + rng.IntN(2) {
		switch rng.IntN(12) {
		case 0:
			add(corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}})
		case 1, 2:
			add(corev1.VolumeSource{GCEPersistentDisk: &corev1.GCEPersistentDiskVolumeSource{PDName: pick(rng, "a", "b"), ReadOnly: rng.IntN(2) == 0}})
		default:
			add(corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: fmt.Sprint("c", rng.IntN(4))}})
		}
	}
}

func size(rng *rand.Rand, most int) resource.Quantity {
	return *resource.NewQuantity(int64(1+rng.IntN(most))<<30, resource.BinarySI)
}

func (l *lab) randomClaim(namespace, name string) *corev1.PersistentVolumeClaim {
	l.count++
	c := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(fmt.Sprint("claim", l.count)), Annotations: map[string]string{}},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: new(pick(l.rng, "local", "local", "net", "net", "now")),
			AccessModes:      []corev1.PersistentVolumeAccessMode{pick(l.rng, corev1.ReadWriteOnce, corev1.ReadWriteOnce, corev1.ReadWriteOncePod)},
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: size(l.rng, 3)}},
		},
	}
	switch l.rng.IntN(10) {
	case 0, 1, 2:
		c.Spec.VolumeName = fmt.Sprint("v", l.rng.IntN(10))
		c.Annotations[volume.AnnBindCompleted] = "yes"
	case 3:
		c.Spec.VolumeName = fmt.Sprint("v", l.rng.IntN(10))
	case 4:
		c.Annotations[volume.AnnSelectedNode] = fmt.Sprint("n", l.rng.IntN(4))
	case 5:
		c.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "gold"}}
	}
	switch l.rng.IntN(20) {
	case 0:
		c.Status.Phase = corev1.ClaimLost
	case 1:
		c.DeletionTimestamp = new(metav1.Now())
	}
	return c
}

func (l *lab) randomVolume(name string) *corev1.PersistentVolume {
	l.count++
	v := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(fmt.Sprint("volume", l.count)), Labels: map[string]string{}},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: pick(l.rng, "local", "net"), Capacity: corev1.ResourceList{corev1.ResourceStorage: size(l.rng, 4)},
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce, corev1.ReadWriteOncePod}[:1+l.rng.IntN(2)],
		},
		Status: corev1.PersistentVolumeStatus{Phase: pick(l.rng, corev1.VolumeAvailable, corev1.VolumeAvailable, corev1.VolumeAvailable, corev1.VolumePending)},
	}
	if l.rng.IntN(2) == 0 {
		v.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: pick(l.rng, "d0", "d1"), VolumeHandle: name}
	}
	term := func(key string, values ...string) *corev1.VolumeNodeAffinity {
		return &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
			{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: corev1.NodeSelectorOpIn, Values: values}}},
		}}}
	}
	switch l.rng.IntN(4) {
	case 0:
		v.Spec.NodeAffinity = term(corev1.LabelHostname, fmt.Sprint("n", l.rng.IntN(4)), fmt.Sprint("n", l.rng.IntN(8)))
	case 1:
		v.Spec.NodeAffinity = term(zone, fmt.Sprint(l.rng.IntN(3)))
	}
	if l.rng.IntN(3) == 0 {
		v.Labels[zone] = pick(l.rng, "0", "1__2")
	}
	if l.rng.IntN(2) == 0 {
		v.Labels["tier"] = "gold"
	}
	if name, ok := anyOf(l.rng, l.claims); ok && l.rng.IntN(3) == 0 {
		c := l.claims[name]
		v.Spec.ClaimRef = &corev1.ObjectReference{Namespace: c.Namespace, Name: c.Name, UID: pick(l.rng, c.UID, "")}
	}
	return v
}

// changeVolumes does something to the objects that are about volumes.
func (l *lab) changeVolumes() {
	v := l.cluster.Volumes
	drop := l.rng.IntN(5) == 0
	switch l.rng.IntN(7) {
	case 0:
		ns, name := pick(l.rng, "one", "two"), fmt.Sprint("c", l.rng.IntN(4))
		if have := l.claims[ns+"/"+name]; have != nil && drop {
			delete(l.claims, ns+"/"+name)
			v.DropClaim(have)
		} else {
			c := l.randomClaim(ns, name)
			l.claims[ns+"/"+name] = c
			v.SetClaim(c)
		}
	case 1:
		if name := fmt.Sprint("v", l.rng.IntN(10)); drop {
			delete(l.volumes, name)
			v.DropVolume(name)
		} else {
			l.setVolume(l.randomVolume(name))
		}
	case 2:
		l.changeClass(drop)
	case 3:
		if name := pick(l.rng, "d0", "d1"); drop {
			delete(l.drivers, name)
			v.DropDriver(name)
		} else {
			d := &storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: storagev1.CSIDriverSpec{StorageCapacity: new(l.rng.IntN(2) == 0), PreventPodSchedulingIfMissing: new(l.rng.IntN(4) == 0)}}
			l.drivers[name] = d
			v.SetDriver(d)
		}
	case 4:
		if name := fmt.Sprint("n", l.rng.IntN(8)); drop {
			delete(l.csiNodes, name)
			v.DropCSINode(name)
		} else {
			n := &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: name}}
			for _, d := range []string{"d0", "d1"} {
				if l.rng.IntN(4) > 0 {
					n.Spec.Drivers = append(n.Spec.Drivers, storagev1.CSINodeDriver{Name: d, Allocatable: &storagev1.VolumeNodeResources{Count: new(int32(l.rng.IntN(3)))}})
				}
			}
			l.csiNodes[name] = n
			v.SetCSINode(n)
		}
	case 5:
		name := fmt.Sprint("r", l.rng.IntN(3))
		if have := l.capacities[name]; have != nil {
			delete(l.capacities, name)
			v.DropCapacity(have)
		}
		if !drop {
			r := &storagev1.CSIStorageCapacity{
				ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: name}, StorageClassName: "net", Capacity: new(size(l.rng, 3)),
				NodeTopology: &metav1.LabelSelector{MatchLabels: map[string]string{zone: fmt.Sprint(l.rng.IntN(3))}},
			}
			l.capacities[name] = r
			v.SetCapacity(r)
		}
	case 6:
		if name := fmt.Sprint("a", l.rng.IntN(6)); drop {
			delete(l.attached, name)
			v.DropAttachment(name)
		} else {
			a := &storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: storagev1.VolumeAttachmentSpec{
				Attacher: pick(l.rng, "d0", "d1"), NodeName: fmt.Sprint("n", l.rng.IntN(8)), Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: new(fmt.Sprint("v", l.rng.IntN(10)))},
			}}
			l.attached[name] = a
			v.SetAttachment(a)
		}
	}
}

func (l *lab) changeClass(drop bool) {
	name := pick(l.rng, "local", "net", "now")
	if drop && l.rng.IntN(3) == 0 {
		delete(l.storageClasses, name)
		l.cluster.Volumes.DropClass(name)
		return
	}
	c := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: volume.NotSupportedProvisioner, VolumeBindingMode: new(storagev1.VolumeBindingWaitForFirstConsumer)}
	switch name {
	case "now":
		c.VolumeBindingMode = new(storagev1.VolumeBindingImmediate)
	case "net":
		c.Provisioner = pick(l.rng, "d0", "d1")
		if l.rng.IntN(2) == 0 {
			c.AllowedTopologies = []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{{Key: zone, Values: []string{"0", "1"}}}}}
		}
	}
	l.storageClasses[name] = c
	l.cluster.Volumes.SetClass(c)
}

func (l *lab) setVolume(v *corev1.PersistentVolume) {
	l.volumes[v.Name] = v
	l.cluster.Volumes.SetVolume(v)
}

// takeVolumes binds a pod's claims as the scheduler does, after it has compared which ones with the reference.
func (l *lab) takeVolumes(t *testing.T, seed uint64, c *Class, p *corev1.Pod, node string) {
	t.Helper()
	found, why := filter.FindVolumes(c.Pod, l.cluster.Node(node))
	wantBind, wantProvision, _ := l.findVolumes(p, l.nodes[node])
	bind, provision := map[string]string{}, []string(nil)
	for _, b := range found.Bind {
		bind[b.Claim.Name] = b.Volume.Name
	}
	for _, claim := range found.Provision {
		provision = append(provision, claim.Name)
	}
	slices.Sort(provision)
	slices.Sort(wantProvision)
	if diff := cmp.Diff(wantBind, bind) + cmp.Diff(wantProvision, provision); diff != "" || len(why) > 0 {
		t.Fatalf("seed %d, pod %s on %s: %v\n%s", seed, p.Name, node, why, diff)
	}
	for _, b := range found.Bind {
		now, _, err := volume.GetBindVolumeToClaim(l.volumes[b.Volume.Name], b.Claim)
		if err != nil {
			t.Fatal(err)
		}
		named := l.volumes[now.Name].Spec.ClaimRef != nil // by its owner, so that nothing is assumed
		l.volumes[now.Name] = now
		if l.cluster.Volumes.AssumeVolume(now.Name, b.Claim); named || l.rng.IntN(2) == 0 {
			l.setVolume(now)
		}
	}
	for _, claim := range found.Provision {
		now := claim.DeepCopy()
		metav1.SetMetaDataAnnotation(&now.ObjectMeta, volume.AnnSelectedNode, node)
		key := types.NamespacedName{Namespace: now.Namespace, Name: now.Name}
		l.claims[key.String()] = now
		if l.cluster.Volumes.AssumeNode(key, node); l.rng.IntN(2) == 0 {
			l.cluster.Volumes.SetClaim(now)
		}
	}
}

// The same with pods that have little besides their claims, so that volumes decide where they go, while volumes change and
// pods end.
func TestVolumesSameAsReference(t *testing.T) {
	for seed := range uint64(*clusters) {
		l := newLab(seed)
		var kinds []*corev1.Pod
		for len(kinds) < 6 {
			p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pick(l.rng, "one", "two"), Labels: map[string]string{}}, Spec: corev1.PodSpec{Priority: new(int32(0)), Containers: []corev1.Container{{Image: "img:1"}}}}
			if randomUses(l.rng, p); len(p.Spec.Volumes) > 0 {
				kinds = append(kinds, p)
			}
		}
		for i := range 60 {
			l.changeVolumes()
			if name, ok := anyOf(l.rng, l.pods); ok && l.rng.IntN(3) == 0 {
				delete(l.pods, name)
				l.cluster.Remove(types.UID(name))
			}
			if l.rng.IntN(8) == 0 {
				l.change()
			}
			p := pick(l.rng, kinds...).DeepCopy()
			p.Name = fmt.Sprint("p", i)
			p.UID = types.UID(p.Name)
			c := l.class(p)
			wantScores, wantWhy := l.expected(p)
			gotScores, gotWhy := l.got(c)
			if diff := cmp.Diff(wantScores, gotScores) + cmp.Diff(wantWhy, gotWhy); diff != "" {
				t.Fatalf("seed %d, pod %d: %s", seed, i, diff)
			}
			if n, _ := c.Best(); n != nil {
				l.takeVolumes(t, seed, c, p, n.Object.Name)
				p.Spec.NodeName = n.Object.Name
				l.pods[p.Name] = p
				l.cluster.Place(c.Pod.PlacedAs(p, n.Object.Name))
			}
		}
	}
}
