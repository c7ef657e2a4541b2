// Package garbage deletes objects whose owners are gone, and carries out the deletions that concern
// dependents: foreground ones, where the owner waits for them, and orphaning ones, where they stay.
//
// There is no graph in memory: each kind's cache has an index by owner, so that the dependents of an
// object are a lookup in every kind. An object is deleted only after its owners were looked up past any
// cache, and only with its UID.
package garbage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/defined"
	"github.com/gantryio/gantry/core/client/source"
	"github.com/gantryio/gantry/core/client/workers"
)

// The indexes of every kind: by the UIDs of the owners, and by their groups and kinds.
const (
	byOwner     = "garbage.owner"
	byOwnerKind = "garbage.ownerKind"
)

// item names an object.
type item struct {
	kind schema.GroupVersionKind
	key  types.NamespacedName
	uid  types.UID
}

// Controller reconciles objects of all kinds.
type Controller struct {
	Client client.Client
	// Live reads past any cache. Nil means that Client's reads see all acknowledged writes.
	Live     client.Reader
	Recorder record.EventRecorder
	// Kinds are all kinds that can own or be owned and that the server has of its own. Those that users define are found by
	// their definitions.
	Kinds []schema.GroupVersionKind

	// Elsewhere is what other API servers serve; nil when there are none.
	Elsewhere *Elsewhere

	cached  client.Reader // the manager's cache, for handlers of events
	defined defined.Kinds
}

var _ reconcile.TypedReconciler[item] = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	c.cached = mgr.GetCache()
	b := ctrl.TypedControllerManagedBy[item](mgr).Named("garbage").WithOptions(workers.TypedOptions[item](16))
	for _, gvk := range c.Kinds {
		obj := metadata(gvk)
		if err := index(context.Background(), mgr.GetFieldIndexer(), obj); err != nil {
			return err
		}
		b = b.WatchesRawSource(source.Of(mgr.GetCache(), obj, c.events(gvk)))
	}
	made, err := b.Build(c)
	if err != nil {
		return err
	}
	if c.Elsewhere != nil {
		if err := mgr.Add(&follower{Controller: c, watches: made}); err != nil {
			return fmt.Errorf("follow the kinds of other servers: %w", err)
		}
	}
	return c.follow(mgr, made)
}

// metadata is an object of the kind without its content: all that is read here.
func metadata(gvk schema.GroupVersionKind) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(gvk)
	return m
}

func index(ctx context.Context, indexer client.FieldIndexer, obj client.Object) error {
	for name, values := range map[string]client.IndexerFunc{byOwner: owners, byOwnerKind: ownerKinds} {
		if err := indexer.IndexField(ctx, obj, name, values); err != nil {
			return fmt.Errorf("index %s: %w", name, err)
		}
	}
	return nil
}

// ownerKinds are those of the owners whose kinds are defined by users: only they come and go.
func ownerKinds(o client.Object) []string {
	var out []string
	for _, ref := range o.GetOwnerReferences() {
		gk := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind).GroupKind()
		if text := gk.String(); strings.Contains(gk.Group, ".") && !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return out
}

func owners(o client.Object) []string {
	refs := o.GetOwnerReferences()
	if len(refs) == 0 {
		return nil
	}
	out := make([]string, len(refs))
	for i := range refs {
		out[i] = string(refs[i].UID)
	}
	return out
}

// Reconcile implements reconcile.TypedReconciler.
func (c *Controller) Reconcile(ctx context.Context, it item) (reconcile.Result, error) {
	obj := it.object()
	if err := c.Client.Get(ctx, it.key, obj); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if obj.UID != it.uid {
		return reconcile.Result{}, nil
	}
	err := c.collect(ctx, it, obj)
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: time.Millisecond}, nil
	}
	return reconcile.Result{}, client.IgnoreNotFound(err)
}

func (it item) object() *metav1.PartialObjectMetadata {
	obj := metadata(it.kind)
	obj.Namespace, obj.Name = it.key.Namespace, it.key.Name
	return obj
}

func (c *Controller) collect(ctx context.Context, it item, obj *metav1.PartialObjectMetadata) error {
	if obj.DeletionTimestamp != nil {
		switch {
		case slices.Contains(obj.Finalizers, metav1.FinalizerOrphanDependents):
			return c.orphan(ctx, it, obj)
		case slices.Contains(obj.Finalizers, metav1.FinalizerDeleteDependents):
			return c.foreground(ctx, it, obj)
		}
		return nil
	}
	if len(obj.OwnerReferences) == 0 {
		return nil
	}
	found := make([]state, len(obj.OwnerReferences))
	for i, ref := range obj.OwnerReferences {
		s, err := c.look(ctx, obj, ref)
		if err != nil {
			return err
		}
		found[i] = s
	}
	var dependents []*metav1.PartialObjectMetadata
	if slices.Contains(found, waiting) {
		all, err := c.dependents(ctx, c.Client, obj, false)
		if err != nil {
			return err
		}
		for _, d := range all {
			dependents = append(dependents, d.metadata)
		}
	}
	p := decide(obj, found, dependents)
	switch {
	case len(p.drop) > 0:
		return c.dropRefs(ctx, it, obj, p.drop)
	case p.unblock:
		if err := c.unblock(ctx, it, obj); err != nil {
			return err
		}
	}
	if p.remove != "" {
		return c.remove(ctx, it, obj, p.remove)
	}
	return nil
}

// look finds out what became of an owner.
func (c *Controller) look(ctx context.Context, obj *metav1.PartialObjectMetadata, ref metav1.OwnerReference) (state, error) {
	gvk := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind)
	owner := metadata(gvk)
	namespaced, err := c.Client.IsObjectNamespaced(owner)
	if meta.IsNoMatchError(err) {
		return solid, nil // nobody can tell, so nothing is deleted
	}
	if err != nil {
		return solid, fmt.Errorf("find the scope of %s: %w", gvk, err)
	}
	key := types.NamespacedName{Name: ref.Name}
	if namespaced {
		if obj.Namespace == "" {
			c.Recorder.Eventf(obj, "Warning", "OwnerRefInvalidNamespace", "ownerRef %s/%s, name: %s, uid: %s does not exist in namespace %q", ref.APIVersion, ref.Kind, ref.Name, ref.UID, "")
			return solid, nil
		}
		key.Namespace = obj.Namespace
	}
	for _, from := range []client.Reader{c.Client, c.live()} {
		err := from.Get(ctx, key, owner)
		switch {
		case client.IgnoreNotFound(err) != nil:
			return solid, fmt.Errorf("get owner %s %s: %w", gvk.Kind, key, err)
		case err == nil && owner.UID == ref.UID:
			if waitsForDependents(owner) {
				return waiting, nil
			}
			return solid, nil
		case c.Live == nil:
			return absent, nil
		}
	}
	return absent, nil
}

// dependents are the objects that name obj as an owner, or only those that its foreground deletion waits
// for.
func (c *Controller) dependents(ctx context.Context, from client.Reader, obj *metav1.PartialObjectMetadata, blocking bool) ([]found, error) {
	opts := []client.ListOption{client.MatchingFields{byOwner: string(obj.UID)}}
	if obj.Namespace != "" {
		opts = append(opts, client.InNamespace(obj.Namespace))
	}
	all, err := c.find(ctx, from, opts...)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(d found) bool { return blocking && !blocks(d.metadata, obj.UID) }), nil
}

// found is an object of any kind.
type found struct {
	item
	metadata *metav1.PartialObjectMetadata
}

// find lists all kinds.
func (c *Controller) find(ctx context.Context, from client.Reader, opts ...client.ListOption) ([]found, error) {
	var out []found
	kinds := slices.Clone(c.Kinds)
	for _, k := range c.defined.All() {
		kinds = append(kinds, k.GroupVersionKind)
	}
	for _, gvk := range kinds {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
		if err := from.List(ctx, list, opts...); meta.IsNoMatchError(err) {
			continue // its definition is going
		} else if err != nil {
			return nil, fmt.Errorf("list dependents of kind %s: %w", gvk.Kind, err)
		}
		for i := range list.Items {
			d := &list.Items[i]
			out = append(out, found{item{gvk, client.ObjectKeyFromObject(d), d.UID}, d})
		}
	}
	others, err := c.Elsewhere.find(ctx, opts...)
	return append(out, others...), err
}

func blocks(d *metav1.PartialObjectMetadata, owner types.UID) bool {
	return slices.ContainsFunc(d.OwnerReferences, func(ref metav1.OwnerReference) bool {
		return ref.UID == owner && ref.BlockOwnerDeletion != nil && *ref.BlockOwnerDeletion
	})
}

// orphan takes the owner's name off its dependents and then lets it go.
func (c *Controller) orphan(ctx context.Context, it item, obj *metav1.PartialObjectMetadata) error {
	dependents, err := c.dependents(ctx, c.Client, obj, false)
	if err != nil {
		return err
	}
	var failed []error
	for _, d := range dependents {
		dependent := d.object()
		if err := c.Client.Get(ctx, d.key, dependent); err != nil {
			failed = append(failed, client.IgnoreNotFound(err))
			continue
		}
		failed = append(failed, client.IgnoreNotFound(c.dropRefs(ctx, d.item, dependent, []types.UID{obj.UID})))
	}
	for _, err := range failed {
		if err != nil {
			return errors.Join(failed...)
		}
	}
	return c.dropFinalizer(ctx, it, obj, metav1.FinalizerOrphanDependents)
}

// foreground deletes the dependents and lets the owner go once those that block it are gone.
func (c *Controller) foreground(ctx context.Context, it item, obj *metav1.PartialObjectMetadata) error {
	blocking, err := c.dependents(ctx, c.Client, obj, true)
	if err != nil {
		return err
	}
	if len(blocking) == 0 {
		return c.dropFinalizer(ctx, it, obj, metav1.FinalizerDeleteDependents)
	}
	all, err := c.dependents(ctx, c.Client, obj, false)
	if err != nil {
		return err
	}
	var failed []error
	for _, d := range all {
		dependent := d.object()
		if err := c.Client.Get(ctx, d.key, dependent); err != nil {
			failed = append(failed, client.IgnoreNotFound(err))
			continue
		}
		if dependent.DeletionTimestamp == nil {
			failed = append(failed, client.IgnoreNotFound(c.collect(ctx, d.item, dependent)))
		}
	}
	return errors.Join(failed...)
}

func (c *Controller) dropRefs(ctx context.Context, it item, obj *metav1.PartialObjectMetadata, uids []types.UID) error {
	update := obj.DeepCopy()
	update.SetGroupVersionKind(it.kind)
	update.OwnerReferences = slices.DeleteFunc(update.OwnerReferences, func(ref metav1.OwnerReference) bool { return slices.Contains(uids, ref.UID) })
	return c.patch(ctx, it, update, obj)
}

// unblock lets an object's owners go before it; obj is then as it is after that.
func (c *Controller) unblock(ctx context.Context, it item, obj *metav1.PartialObjectMetadata) error {
	update := obj.DeepCopy()
	update.SetGroupVersionKind(it.kind)
	for i := range update.OwnerReferences {
		if ref := &update.OwnerReferences[i]; ref.BlockOwnerDeletion != nil {
			ref.BlockOwnerDeletion = new(false)
		}
	}
	if err := c.patch(ctx, it, update, obj); err != nil {
		return err
	}
	update.DeepCopyInto(obj)
	return nil
}

func (c *Controller) dropFinalizer(ctx context.Context, it item, obj *metav1.PartialObjectMetadata, name string) error {
	update := obj.DeepCopy()
	update.SetGroupVersionKind(it.kind)
	update.Finalizers = slices.DeleteFunc(update.Finalizers, func(f string) bool { return f == name })
	return c.patch(ctx, it, update, obj)
}

func (c *Controller) patch(ctx context.Context, it item, to, from *metav1.PartialObjectMetadata) error {
	if err := c.Client.Patch(ctx, to, client.MergeFromWithOptions(from, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("patch %s %s: %w", it.kind.Kind, it.key, err)
	}
	return nil
}

// remove deletes the version that was looked at: with another one the owners may be others.
func (c *Controller) remove(ctx context.Context, it item, obj *metav1.PartialObjectMetadata, policy metav1.DeletionPropagation) error {
	doomed := it.object()
	err := c.Client.Delete(ctx, doomed, client.PropagationPolicy(policy), client.Preconditions{UID: &obj.UID, ResourceVersion: &obj.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete %s %s: %w", it.kind.Kind, it.key, err)
	}
	return nil
}

func (c *Controller) live() client.Reader { return cmp.Or[client.Reader](c.Live, c.Client) }
