// Package volumebinding brings claims and volumes together that are there, and tells in their phases how far that is. It
// makes no volumes: external provisioners are asked for these by annotations. Claims that wait for a pod are chosen for by
// the scheduler; what it has chosen is completed here.
package volumebinding

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/component-helpers/storage/volume"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/api/storage"
	"github.com/gantryio/gantry/core/client/workers"
)

// Controller reconciles PersistentVolumeClaims and PersistentVolumes.
type Controller struct {
	Client   client.Client
	Recorder record.EventRecorder

	// deciding makes decisions one by one, so that two claims never choose the same volume.
	deciding sync.Mutex
	told     sync.Map // the last event of each object
}

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	if err := ctrl.ControllerManagedBy(mgr).Named("volumebinding-claims").For(&corev1.PersistentVolumeClaim{}).
		Watches(&corev1.PersistentVolume{}, handler.EnqueueRequestsFromMapFunc(c.claimsFor)).
		Watches(&storagev1.StorageClass{}, handler.EnqueueRequestsFromMapFunc(c.claimsFor)).
		WithOptions(workers.Options(1)).Complete(reconcile.Func(c.claim)); err != nil {
		return fmt.Errorf("bind claims: %w", err)
	}
	if err := ctrl.ControllerManagedBy(mgr).Named("volumebinding-volumes").For(&corev1.PersistentVolume{}).
		Watches(&corev1.PersistentVolumeClaim{}, handler.EnqueueRequestsFromMapFunc(c.volumesOf)).
		WithOptions(workers.Options(1)).Complete(reconcile.Func(c.volume)); err != nil {
		return fmt.Errorf("bind volumes: %w", err)
	}
	return nil
}

// claimsFor finds the claims that a volume or class may help or concern.
func (c *Controller) claimsFor(ctx context.Context, o client.Object) []reconcile.Request {
	var claims corev1.PersistentVolumeClaimList
	if err := c.Client.List(ctx, &claims); err != nil {
		return nil
	}
	v, isVolume := o.(*corev1.PersistentVolume)
	var out []reconcile.Request
	for i := range claims.Items {
		claim := &claims.Items[i]
		_, done := claim.Annotations[volume.AnnBindCompleted]
		var wanted bool
		switch {
		case isVolume && v.Spec.ClaimRef != nil:
			wanted = v.Spec.ClaimRef.Namespace == claim.Namespace && v.Spec.ClaimRef.Name == claim.Name || claim.Spec.VolumeName == v.Name
		case isVolume:
			wanted = claim.Spec.VolumeName == v.Name || !done && volume.GetPersistentVolumeClaimClass(claim) == volume.GetPersistentVolumeClass(v)
		default:
			wanted = !done && (!volume.PersistentVolumeClaimHasClass(claim) || volume.GetPersistentVolumeClaimClass(claim) == o.GetName())
		}
		if wanted {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(claim)})
		}
	}
	return out
}

// volumesOf finds the volumes that name a claim or that it names.
func (c *Controller) volumesOf(ctx context.Context, o client.Object) []reconcile.Request {
	claim, ok := o.(*corev1.PersistentVolumeClaim)
	if !ok {
		return nil
	}
	volumes, err := c.volumes(ctx)
	if err != nil {
		return nil
	}
	var out []reconcile.Request
	for _, v := range volumes {
		if ref := v.Spec.ClaimRef; v.Name == claim.Spec.VolumeName || ref != nil && ref.Namespace == claim.Namespace && ref.Name == claim.Name {
			out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Name: v.Name}})
		}
	}
	return out
}

func (c *Controller) volumes(ctx context.Context) ([]*corev1.PersistentVolume, error) {
	var list corev1.PersistentVolumeList
	if err := c.Client.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	out := make([]*corev1.PersistentVolume, len(list.Items))
	for i := range list.Items {
		out[i] = &list.Items[i]
	}
	return out, nil
}

func (c *Controller) claim(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	c.deciding.Lock()
	defer c.deciding.Unlock()
	s := situation{claim: &corev1.PersistentVolumeClaim{}}
	if err := c.Client.Get(ctx, req.NamespacedName, s.claim); err != nil {
		c.told.Delete(req.NamespacedName)
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if err := c.observe(ctx, &s); err != nil {
		return reconcile.Result{}, err
	}
	p := planClaim(s)
	c.tell(s.claim, p.note)
	return settle(c.act(ctx, s.claim, &p))
}

func (c *Controller) observe(ctx context.Context, s *situation) error {
	var err error
	if s.volumes, err = c.volumes(ctx); err != nil {
		return err
	}
	var classes storagev1.StorageClassList
	if err := c.Client.List(ctx, &classes); err != nil {
		return fmt.Errorf("list storage classes: %w", err)
	}
	name := volume.GetPersistentVolumeClaimClass(s.claim)
	var all []*storagev1.StorageClass
	for i := range classes.Items {
		class := &classes.Items[i]
		if all = append(all, class); class.Name == name {
			s.class = class
		}
	}
	if class := storage.Preferred(all); class != nil {
		s.preferred = class.Name
	}
	if !s.delayed() {
		return nil
	}
	var pods corev1.PodList
	if err := c.Client.List(ctx, &pods, client.InNamespace(s.claim.Namespace)); err != nil {
		return fmt.Errorf("list pods of %s: %w", s.claim.Namespace, err)
	}
	for i := range pods.Items {
		if pod := &pods.Items[i]; pod.Spec.NodeName == "" && has(pod, s.claim.Name) {
			s.waiting = pod.Name
		}
	}
	return nil
}

func has(pod *corev1.Pod, claim string) bool {
	for i := range pod.Spec.Volumes {
		if v := pod.Spec.Volumes[i].PersistentVolumeClaim; v != nil && v.ClaimName == claim {
			return true
		}
	}
	return false
}

func (c *Controller) act(ctx context.Context, claim *corev1.PersistentVolumeClaim, p *claimPlan) error {
	if p.bind != nil {
		return c.bind(ctx, p.bind, claim)
	}
	claim, err := c.annotate(ctx, claim, p)
	if err != nil {
		return err
	}
	return c.setStatus(ctx, claim, unboundStatus(claim, p.phase))
}

func (c *Controller) volume(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	c.deciding.Lock()
	defer c.deciding.Unlock()
	v := &corev1.PersistentVolume{}
	if err := c.Client.Get(ctx, req.NamespacedName, v); err != nil {
		c.told.Delete(req.NamespacedName)
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	var claim *corev1.PersistentVolumeClaim
	if ref := v.Spec.ClaimRef; ref != nil {
		var found corev1.PersistentVolumeClaim
		err := c.Client.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, &found)
		if client.IgnoreNotFound(err) != nil {
			return reconcile.Result{}, fmt.Errorf("get the claim of volume %s: %w", v.Name, err)
		}
		if err == nil {
			claim = &found
		}
	}
	p := planVolume(v, claim)
	v = v.DeepCopy()
	if p.unbind {
		var err error
		if v, err = c.unbind(ctx, v); err != nil {
			return settle(err)
		}
	}
	if p.note != nil && v.Status.Phase != p.phase {
		c.tell(v, p.note)
	}
	return settle(c.setPhase(ctx, v, p.phase, p.message))
}

// tell says something of an object once.
func (c *Controller) tell(o client.Object, n *note) {
	if n == nil {
		c.told.Delete(client.ObjectKeyFromObject(o))
		return
	}
	if last, ok := c.told.Swap(client.ObjectKeyFromObject(o), *n); !ok || last != *n {
		c.Recorder.Event(o, n.kind, n.reason, n.message)
	}
}

// settle has a write that came too late made again.
func settle(err error) (reconcile.Result, error) {
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: time.Millisecond}, nil
	}
	return reconcile.Result{}, client.IgnoreNotFound(err)
}
