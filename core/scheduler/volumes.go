package scheduler

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// watched is a kind and what its events do.
type watched struct {
	obj     client.Object
	handler toolscache.ResourceEventHandler
}

// volumeKinds are the kinds that say where pods with claims may run. Any change may help a waiting pod.
func (s *Scheduler) volumeKinds(ctx context.Context) []watched {
	v := s.cluster.Volumes
	return []watched{
		{&storagev1.StorageClass{}, follow(s, v.SetClass, func(o *storagev1.StorageClass) { v.DropClass(o.Name) })},
		{&storagev1.CSIDriver{}, follow(s, v.SetDriver, func(o *storagev1.CSIDriver) { v.DropDriver(o.Name) })},
		{&storagev1.CSINode{}, follow(s, v.SetCSINode, func(o *storagev1.CSINode) { v.DropCSINode(o.Name) })},
		{&storagev1.CSIStorageCapacity{}, follow(s, v.SetCapacity, v.DropCapacity)},
		{&storagev1.VolumeAttachment{}, follow(s, v.SetAttachment, func(o *storagev1.VolumeAttachment) { v.DropAttachment(o.Name) })},
		{&corev1.PersistentVolume{}, follow(s, func(o *corev1.PersistentVolume) { s.setVolume(ctx, o) }, func(o *corev1.PersistentVolume) { s.dropVolume(ctx, o) })},
		{&corev1.PersistentVolumeClaim{}, follow(s, func(o *corev1.PersistentVolumeClaim) { s.setClaim(ctx, o) }, func(o *corev1.PersistentVolumeClaim) { s.dropClaim(ctx, o) })},
	}
}

// follow keeps what is known of a kind.
func follow[T any](s *Scheduler, set, drop func(*T)) toolscache.ResourceEventHandler {
	do := func(o any, f func(*T)) {
		obj, ok := o.(*T)
		if !ok {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		f(obj)
		s.changed()
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { do(o, set) }, UpdateFunc: func(_, now any) { do(now, set) },
		DeleteFunc: func(o any) { do(last(o), drop) },
	}
}

func (s *Scheduler) setVolume(ctx context.Context, o *corev1.PersistentVolume) {
	s.cluster.Volumes.SetVolume(o)
	s.checkVolume(ctx, o)
}

func (s *Scheduler) dropVolume(ctx context.Context, o *corev1.PersistentVolume) {
	s.cluster.Volumes.DropVolume(o.Name)
	s.checkVolume(ctx, o)
}

func (s *Scheduler) checkVolume(ctx context.Context, o *corev1.PersistentVolume) {
	if ref := o.Spec.ClaimRef; ref != nil {
		s.checkBindings(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name})
	}
	for key, name := range s.bindings.volumes {
		if name == o.Name {
			s.checkBindings(ctx, key)
		}
	}
}

func (s *Scheduler) setClaim(ctx context.Context, o *corev1.PersistentVolumeClaim) {
	s.cluster.Volumes.SetClaim(o)
	s.checkBindings(ctx, client.ObjectKeyFromObject(o))
}

func (s *Scheduler) dropClaim(ctx context.Context, o *corev1.PersistentVolumeClaim) {
	s.cluster.Volumes.DropClaim(o)
	s.checkBindings(ctx, client.ObjectKeyFromObject(o))
}
