package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/storage/volume"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/scheduler/filter"
	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// binding is a pod that has a node, and waits for its claims to be bound before it is told so. It is counted on its node
// meanwhile, and its volumes as taken.
type binding struct {
	filter.Volumes
	item     *item
	pod      *corev1.Pod
	node     string
	deadline time.Time
	written  bool
}

// bindings are all of them. Nobody waits in a goroutine: events say when a claim is bound.
type bindings struct {
	pods    map[types.UID]*binding
	claims  map[types.NamespacedName]map[types.UID]*binding
	volumes map[types.NamespacedName]string // chosen for claims
	soonest time.Time                       // no deadline is before it
}

func newBindings() bindings {
	return bindings{
		pods: map[types.UID]*binding{}, claims: map[types.NamespacedName]map[types.UID]*binding{}, volumes: map[types.NamespacedName]string{},
	}
}

// keys are the claims that the pod waits for.
func (b *binding) keys() []types.NamespacedName {
	var out []types.NamespacedName
	for _, v := range b.Bind {
		out = append(out, client.ObjectKeyFromObject(v.Claim))
	}
	for _, c := range b.Provision {
		out = append(out, client.ObjectKeyFromObject(c))
	}
	return out
}

func (l *bindings) add(b *binding) {
	l.pods[b.pod.UID] = b
	for _, key := range b.keys() {
		if l.claims[key] == nil {
			l.claims[key] = map[types.UID]*binding{}
		}
		l.claims[key][b.pod.UID] = b
	}
	for _, v := range b.Bind {
		l.volumes[client.ObjectKeyFromObject(v.Claim)] = v.Volume.Name
	}
	if l.soonest.IsZero() || b.deadline.Before(l.soonest) {
		l.soonest = b.deadline
	}
}

func (l *bindings) drop(b *binding) {
	delete(l.pods, b.pod.UID)
	for _, key := range b.keys() {
		if delete(l.claims[key], b.pod.UID); len(l.claims[key]) == 0 {
			delete(l.claims, key)
			delete(l.volumes, key)
		}
	}
}

// bindVolumes begins to bind the pod's claims for its node; false when there is nothing to bind.
func (s *Scheduler) bindVolumes(ctx context.Context, it *item, n *snapshot.Node) bool {
	if it.class.profile.BindTimeout == 0 || len(it.class.Pod.Claims) == 0 {
		return false
	}
	found, _ := filter.FindVolumes(it.class.Pod, n)
	if len(found.Bind) == 0 && len(found.Provision) == 0 {
		return false
	}
	b := &binding{Volumes: found, item: it, pod: it.pod, node: n.Object.Name, deadline: s.Now().Add(it.class.profile.BindTimeout)}
	for _, v := range b.Bind {
		s.cluster.Volumes.AssumeVolume(v.Volume.Name, v.Claim)
	}
	for _, c := range b.Provision {
		s.cluster.Volumes.AssumeNode(client.ObjectKeyFromObject(c), b.node)
	}
	s.bindings.add(b)
	s.tasks.add(func() { s.writeVolumes(ctx, b) })
	return true
}

// writeVolumes tells the volumes their claims, and the claims that are to be provisioned their node.
func (s *Scheduler) writeVolumes(ctx context.Context, b *binding) {
	var err error
	for i := 0; i < len(b.Bind) && err == nil; i++ {
		err = s.writeVolume(ctx, b.Bind[i])
	}
	for i := 0; i < len(b.Provision) && err == nil; i++ {
		err = s.writeNode(ctx, b.Provision[i], b.node)
	}
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bindings.pods[b.pod.UID] != b {
		return // the pod has gone
	}
	b.written = true
	if err != nil {
		s.failBinding(ctx, b, err)
		return
	}
	s.checkBinding(ctx, b)
}

func (s *Scheduler) writeVolume(ctx context.Context, b filter.Binding) error {
	var now corev1.PersistentVolume
	if err := s.Client.Get(ctx, client.ObjectKeyFromObject(b.Volume), &now); err != nil {
		return err
	}
	if now.UID != b.Volume.UID || now.Spec.ClaimRef != nil && !volume.IsVolumeBoundToClaim(&now, b.Claim) {
		return fmt.Errorf("volume %q is not free any longer", now.Name)
	}
	update, changed, err := volume.GetBindVolumeToClaim(&now, b.Claim)
	if err != nil || !changed {
		return err
	}
	return s.Client.Update(ctx, update)
}

func (s *Scheduler) writeNode(ctx context.Context, c *corev1.PersistentVolumeClaim, node string) error {
	var now corev1.PersistentVolumeClaim
	if err := s.Client.Get(ctx, client.ObjectKeyFromObject(c), &now); err != nil {
		return err
	}
	switch at, told := now.Annotations[volume.AnnSelectedNode]; {
	case now.UID != c.UID:
		return fmt.Errorf("persistentvolumeclaim %q has been made anew", c.Name)
	case told && at == node:
		return nil
	case told:
		return fmt.Errorf("persistentvolumeclaim %q is provisioned for node %q", c.Name, at)
	}
	update := now.DeepCopy()
	metav1.SetMetaDataAnnotation(&update.ObjectMeta, volume.AnnSelectedNode, node)
	return s.Client.Update(ctx, update)
}

// checkBindings looks at the pods that wait for a claim.
func (s *Scheduler) checkBindings(ctx context.Context, claim types.NamespacedName) {
	for _, b := range s.bindings.claims[claim] {
		if b.written {
			s.checkBinding(ctx, b)
		}
	}
}

func (s *Scheduler) checkBinding(ctx context.Context, b *binding) {
	done, err := s.claimsBound(b)
	switch {
	case err != nil:
		s.failBinding(ctx, b, fmt.Errorf("binding volumes: %w", err))
	case done:
		s.bindings.drop(b)
		s.tasks.add(func() { s.bind(ctx, b.item, b.pod, b.node) })
	}
}

// claimsBound tells whether all claims are bound, or why they will not be.
func (s *Scheduler) claimsBound(b *binding) (bool, error) {
	n, v := s.cluster.Node(b.node), s.cluster.Volumes
	if n == nil {
		return false, fmt.Errorf("failed to get node %q", b.node)
	}
	done := true
	for _, pair := range b.Bind {
		o, c := v.Volume(pair.Volume.Name), v.Claim(pair.Claim.Namespace, pair.Claim.Name)
		switch {
		case o == nil:
			return false, fmt.Errorf("failed to check binding: could not find v1.PersistentVolume %q", pair.Volume.Name)
		case c == nil:
			return false, fmt.Errorf("failed to check binding: could not find v1.PersistentVolumeClaim %q", pair.Claim.Namespace+"/"+pair.Claim.Name)
		case !o.FitsOn(n.Object):
			return false, offNode(o.Object.Name, b.node)
		case !o.BoundTo(pair.Claim):
			return false, fmt.Errorf("ClaimRef got reset for pv %q", o.Object.Name)
		}
		done = done && c.Bound()
	}
	for _, claim := range b.Provision {
		c := v.Claim(claim.Namespace, claim.Name)
		switch {
		case c == nil:
			return false, fmt.Errorf("failed to check provisioning pvc: could not find v1.PersistentVolumeClaim %q", claim.Namespace+"/"+claim.Name)
		case c.SelectedNode() != b.node:
			return false, fmt.Errorf("provisioning failed for PVC %q", claim.Name)
		}
		if o := v.Volume(c.Object.Spec.VolumeName); o != nil && !o.FitsOn(n.Object) {
			return false, offNode(o.Object.Name, b.node)
		}
		done = done && c.Bound() && v.Volume(c.Object.Spec.VolumeName) != nil
	}
	return done, nil
}

func offNode(volume, node string) error {
	return fmt.Errorf("pv %q node affinity doesn't match node %q: no matching NodeSelectorTerms", volume, node)
}

// failBinding takes the decision back; the pod is tried again after its back-off.
func (s *Scheduler) failBinding(ctx context.Context, b *binding, err error) {
	s.forgetBinding(b)
	s.cluster.Remove(b.pod.UID)
	s.freed = true
	if s.queue.items[b.pod.UID] == b.item && b.item.heap == nil {
		b.item.notBefore = s.Now().Add(s.backoff(b.item.attempts))
		s.queue.delay(b.item)
		s.refuse(ctx, b.item, fmt.Sprintf("running PreBind plugin %q: %v", "VolumeBinding", err), preemption{})
	}
	s.rouse()
}

// forgetBinding frees what was taken for the pod and has not been written.
func (s *Scheduler) forgetBinding(b *binding) {
	s.bindings.drop(b)
	for _, v := range b.Bind {
		if key := client.ObjectKeyFromObject(v.Claim); s.bindings.claims[key] == nil {
			s.cluster.Volumes.AssumeVolume(v.Volume.Name, nil)
		}
	}
	for _, c := range b.Provision {
		if key := client.ObjectKeyFromObject(c); s.bindings.claims[key] == nil {
			s.cluster.Volumes.AssumeNode(key, "")
		}
	}
}

var errBindTimeout = errors.New("binding volumes: context deadline exceeded")

// expireBindings gives up those that have waited too long, and returns when to look again.
func (s *Scheduler) expireBindings(ctx context.Context, now time.Time) time.Time {
	if len(s.bindings.pods) == 0 || now.Before(s.bindings.soonest) {
		return s.bindings.next()
	}
	s.bindings.soonest = time.Time{}
	for _, b := range s.bindings.pods {
		if !b.deadline.After(now) {
			s.failBinding(ctx, b, errBindTimeout)
		} else if s.bindings.soonest.IsZero() || b.deadline.Before(s.bindings.soonest) {
			s.bindings.soonest = b.deadline
		}
	}
	return s.bindings.next()
}

func (l *bindings) next() time.Time {
	if len(l.pods) == 0 {
		l.soonest = time.Time{}
	}
	return l.soonest
}
