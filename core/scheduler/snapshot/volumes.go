package snapshot

import (
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/storage/volume"
)

// Volumes is what is known of claims and volumes, of what they are made by, and of who uses them. Everything has a version,
// so that a class of pods can tell whether anything that it depends on has changed.
type Volumes struct {
	cluster  *Cluster
	version  int64
	claims   map[types.NamespacedName]*Claim
	volumes  map[string]*Volume
	classes  map[string]*StorageClass
	drivers  map[string]*storagev1.CSIDriver
	nodes    map[string]*storagev1.CSINode
	attached map[string]*storagev1.VolumeAttachment
	// byNode and byVolume are the attachments' names.
	byNode, byVolume map[string]map[string]bool
	// bound are the volumes of each claim that they name.
	bound map[types.NamespacedName]map[string]*Volume
	// naming are the claims that name a volume, whatever that says.
	naming map[string]map[types.NamespacedName]bool
	// users are the placed pods of each claim, on nodes that are known.
	users map[types.NamespacedName]map[types.UID]*Placed
}

// Claim is a PersistentVolumeClaim. Object is nil while there is none of the name.
type Claim struct {
	Object *corev1.PersistentVolumeClaim
	// assumed is the node that it will be provisioned for, as far as the object does not say so yet.
	assumed string
	version int64
}

// StorageClass is a class and what belongs to it. Object is nil while there is none of the name.
type StorageClass struct {
	Object     *storagev1.StorageClass
	Capacities map[types.NamespacedName]*storagev1.CSIStorageCapacity
	volumes    map[string]*Volume
	version    int64
	free       *freeVolumes // nil when it has to be made anew
}

func newVolumes(c *Cluster) *Volumes {
	return &Volumes{
		cluster: c, claims: map[types.NamespacedName]*Claim{}, volumes: map[string]*Volume{}, classes: map[string]*StorageClass{},
		drivers: map[string]*storagev1.CSIDriver{}, nodes: map[string]*storagev1.CSINode{}, attached: map[string]*storagev1.VolumeAttachment{},
		byNode: map[string]map[string]bool{}, byVolume: map[string]map[string]bool{},
		bound: map[types.NamespacedName]map[string]*Volume{}, naming: map[string]map[types.NamespacedName]bool{}, users: map[types.NamespacedName]map[types.UID]*Placed{},
	}
}

func (v *Volumes) next() int64 {
	v.version++
	return v.version
}

// Claim finds a claim, nil when there is none.
func (v *Volumes) Claim(namespace, name string) *Claim {
	if c := v.claims[types.NamespacedName{Namespace: namespace, Name: name}]; c != nil && c.Object != nil {
		return c
	}
	return nil
}

// Volume finds a volume, nil when there is none.
func (v *Volumes) Volume(name string) *Volume { return v.volumes[name] }

// Class is a class; its Object is nil when there is none of the name.
func (v *Volumes) Class(name string) *StorageClass {
	c := v.classes[name]
	if c == nil {
		c = &StorageClass{Capacities: map[types.NamespacedName]*storagev1.CSIStorageCapacity{}, volumes: map[string]*Volume{}}
		v.classes[name] = c
	}
	return c
}

// Driver finds a driver, nil when there is none.
func (v *Volumes) Driver(name string) *storagev1.CSIDriver { return v.drivers[name] }

// CSINode tells which drivers a node has, nil when that is not known.
func (v *Volumes) CSINode(node string) *storagev1.CSINode { return v.nodes[node] }

// Delayed tells that a claim is bound when a pod needs it. One that is not there counts as not delayed.
func (v *Volumes) Delayed(c *Claim) bool {
	class := volume.GetPersistentVolumeClaimClass(c.Object)
	if class == "" {
		return false
	}
	o := v.Class(class).Object
	return o != nil && o.VolumeBindingMode != nil && *o.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
}

// Bound tells that claim and volume have found each other, and that all of it has been written.
func (c *Claim) Bound() bool {
	_, done := c.Object.Annotations[volume.AnnBindCompleted]
	return done && c.Object.Spec.VolumeName != ""
}

// SelectedNode is the node that the claim is provisioned for, "" for none yet.
func (c *Claim) SelectedNode() string {
	if node, ok := c.Object.Annotations[volume.AnnSelectedNode]; ok {
		return node
	}
	return c.assumed
}

// Exclusive tells that one pod alone may use the claim.
func (c *Claim) Exclusive() bool {
	for _, m := range c.Object.Spec.AccessModes {
		if m == corev1.ReadWriteOncePod {
			return true
		}
	}
	return false
}

// SetClaim adds or changes a claim.
func (v *Volumes) SetClaim(o *corev1.PersistentVolumeClaim) {
	key := keyOf(o)
	c := v.claims[key]
	if c == nil {
		c = &Claim{}
		v.claims[key] = c
	}
	if _, told := o.Annotations[volume.AnnSelectedNode]; told || c.Object != nil && c.Object.UID != o.UID {
		c.assumed = ""
	}
	if c.Object != nil {
		v.unname(c.Object)
	}
	c.Object, c.version = o, v.next()
	if name := o.Spec.VolumeName; name != "" {
		if v.naming[name] == nil {
			v.naming[name] = map[types.NamespacedName]bool{}
		}
		v.naming[name][key] = true
	}
	v.noteUsers(key)
}

// DropClaim removes a claim.
func (v *Volumes) DropClaim(o *corev1.PersistentVolumeClaim) {
	if c := v.claims[keyOf(o)]; c != nil {
		v.unname(c.Object)
		delete(v.claims, keyOf(o))
	}
	v.noteUsers(keyOf(o))
}

func (v *Volumes) unname(o *corev1.PersistentVolumeClaim) {
	name := o.Spec.VolumeName
	if delete(v.naming[name], keyOf(o)); len(v.naming[name]) == 0 {
		delete(v.naming, name)
	}
}

// SetClass adds or changes a class.
func (v *Volumes) SetClass(o *storagev1.StorageClass) {
	c := v.Class(o.Name)
	c.Object, c.version = o, v.next()
	v.noteClass(o.Name)
}

// DropClass removes a class.
func (v *Volumes) DropClass(name string) {
	c := v.Class(name)
	c.Object, c.version = nil, v.next()
	v.noteClass(name)
}

// SetDriver adds or changes a driver.
func (v *Volumes) SetDriver(o *storagev1.CSIDriver) {
	v.drivers[o.Name] = o
	v.touchProvisioner(o.Name)
}

// DropDriver removes a driver.
func (v *Volumes) DropDriver(name string) {
	delete(v.drivers, name)
	v.touchProvisioner(name)
}

// touchProvisioner makes everything be looked at anew that a driver provisions or has provisioned.
func (v *Volumes) touchProvisioner(name string) {
	for _, c := range v.classes {
		if c.Object != nil && c.Object.Provisioner == name {
			c.version = v.next()
		}
	}
	for _, o := range v.volumes {
		if o.Object.Spec.CSI != nil && o.Object.Spec.CSI.Driver == name {
			o.version = v.next()
		}
	}
}

// SetCapacity adds or changes how much room there is for a class.
func (v *Volumes) SetCapacity(o *storagev1.CSIStorageCapacity) {
	c := v.Class(o.StorageClassName)
	c.Capacities[types.NamespacedName{Namespace: o.Namespace, Name: o.Name}] = o
	c.version = v.next()
}

// DropCapacity removes such a figure.
func (v *Volumes) DropCapacity(o *storagev1.CSIStorageCapacity) {
	c := v.Class(o.StorageClassName)
	delete(c.Capacities, types.NamespacedName{Namespace: o.Namespace, Name: o.Name})
	c.version = v.next()
}

func keyOf(o *corev1.PersistentVolumeClaim) types.NamespacedName {
	return types.NamespacedName{Namespace: o.Namespace, Name: o.Name}
}
