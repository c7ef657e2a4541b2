// Package revision keeps the history of pod templates of a StatefulSet or DaemonSet in ControllerRevisions,
// in the form that kubectl's rollout commands know: a strategic merge patch that puts the template back.
package revision

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/client/owner"
)

// History is the revisions of one workload.
type History struct {
	Client client.Client
	// Live reads past any cache.
	Live     client.Reader
	Owner    client.Object
	Kind     schema.GroupVersionKind
	Selector labels.Selector
	// HashLabel is the label of a revision that holds the hash in its name.
	HashLabel string
}

// List returns the workload's revisions from the oldest to the latest, after adopting and releasing.
func (h *History) List(ctx context.Context) ([]*appsv1.ControllerRevision, error) {
	owned, err := h.list(ctx, client.MatchingFields{owner.ByController: string(h.Owner.GetUID())})
	if err != nil {
		return nil, err
	}
	orphans, err := h.list(ctx, client.MatchingFields{owner.ByOrphanhood: h.Owner.GetNamespace()}, client.MatchingLabelsSelector{Selector: h.Selector})
	if err != nil {
		return nil, err
	}
	claim := owner.Claim[*appsv1.ControllerRevision]{Client: h.Client, Live: h.Live, Owner: h.Owner, Kind: h.Kind, Selector: h.Selector}
	out, err := claim.Settle(ctx, owned, orphans)
	slices.SortFunc(out, byRevision)
	return out, err
}

func (h *History) list(ctx context.Context, opts ...client.ListOption) ([]*appsv1.ControllerRevision, error) {
	var list appsv1.ControllerRevisionList
	if err := h.Client.List(ctx, &list, append(opts, client.InNamespace(h.Owner.GetNamespace()))...); err != nil {
		return nil, fmt.Errorf("list controller revisions of %s: %w", h.Owner.GetName(), err)
	}
	out := make([]*appsv1.ControllerRevision, len(list.Items))
	for i := range list.Items {
		out[i] = &list.Items[i]
	}
	return out, nil
}

func byRevision(a, b *appsv1.ControllerRevision) int {
	if c := cmp.Compare(a.Revision, b.Revision); c != 0 {
		return c
	}
	if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
		return c
	}
	return cmp.Compare(a.Name, b.Name)
}

// Ensure returns the revision of the template and makes it the latest: one of known, which List returned,
// renumbered where need be, or a new one. The second result is the count of hash collisions from then on.
func (h *History) Ensure(ctx context.Context, known []*appsv1.ControllerRevision, t *corev1.PodTemplateSpec, collisions int32) (*appsv1.ControllerRevision, int32, error) {
	patch, err := Patch(t)
	if err != nil {
		return nil, collisions, err
	}
	next := int64(1)
	if n := len(known); n > 0 {
		next = known[n-1].Revision + 1
	}
	for i := len(known) - 1; i >= 0; i-- {
		if !Same(known[i].Data.Raw, patch) {
			continue
		}
		if i == len(known)-1 {
			return known[i], collisions, nil
		}
		again := known[i].DeepCopy()
		again.Revision = next
		if err := h.Client.Update(ctx, again); err != nil {
			return nil, collisions, fmt.Errorf("renumber controller revision %s: %w", again.Name, err)
		}
		return again, collisions, nil
	}
	return h.create(ctx, patch, t, next, collisions)
}

func (h *History) create(ctx context.Context, patch []byte, t *corev1.PodTemplateSpec, number int64, collisions int32) (*appsv1.ControllerRevision, int32, error) {
	for {
		r := h.build(patch, t, number, collisions)
		err := h.Client.Create(ctx, r)
		if err == nil {
			return r, collisions, nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return nil, collisions, fmt.Errorf("create controller revision %s: %w", r.Name, err)
		}
		have := &appsv1.ControllerRevision{}
		err = h.Live.Get(ctx, client.ObjectKeyFromObject(r), have)
		if err != nil {
			return nil, collisions, fmt.Errorf("get controller revision %s: %w", r.Name, err)
		}
		if metav1.IsControlledBy(have, h.Owner) && Same(have.Data.Raw, patch) {
			return have, collisions, nil // ours, not yet in the cache
		}
		collisions++
	}
}

func (h *History) build(patch []byte, t *corev1.PodTemplateSpec, number int64, collisions int32) *appsv1.ControllerRevision {
	hash := Hash(patch, collisions)
	with := maps.Clone(t.Labels)
	if with == nil {
		with = map[string]string{}
	}
	with[h.HashLabel] = hash
	return &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: h.Owner.GetNamespace(), Name: h.Owner.GetName() + "-" + hash,
			Labels: with, Annotations: maps.Clone(h.Owner.GetAnnotations()),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(h.Owner, h.Kind)},
		},
		Data: runtime.RawExtension{Raw: patch}, Revision: number,
	}
}

// Truncate deletes the oldest of known that are not live beyond limit.
func (h *History) Truncate(ctx context.Context, known []*appsv1.ControllerRevision, live func(*appsv1.ControllerRevision) bool, limit *int32) error {
	var failed []error
	for _, r := range outdated(known, live, limit) {
		err := h.Client.Delete(ctx, r, client.Preconditions{UID: &r.UID})
		if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
			failed = append(failed, fmt.Errorf("delete controller revision %s: %w", r.Name, err))
		}
	}
	return errors.Join(failed...)
}

func outdated(known []*appsv1.ControllerRevision, live func(*appsv1.ControllerRevision) bool, limit *int32) []*appsv1.ControllerRevision {
	if limit == nil || *limit < 0 {
		return nil
	}
	past := slices.DeleteFunc(slices.Clone(known), live)
	return past[:max(0, len(past)-int(*limit))]
}

// Patch is what a revision of the template holds.
func Patch(t *corev1.PodTemplateSpec) ([]byte, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("marshal a pod template: %w", err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, fmt.Errorf("read a pod template again: %w", err)
	}
	fields["$patch"] = "replace"
	return json.Marshal(map[string]any{"spec": map[string]any{"template": fields}})
}

// Template is the template that a patch holds.
func Template(patch []byte) (*corev1.PodTemplateSpec, error) {
	var out struct {
		Spec struct {
			Template corev1.PodTemplateSpec `json:"template"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(patch, &out); err != nil {
		return nil, fmt.Errorf("read a controller revision: %w", err)
	}
	return &out.Spec.Template, nil
}

// Same tells that two patches hold the same template.
func Same(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, err := Template(a)
	if err != nil {
		return false
	}
	y, err := Template(b)
	return err == nil && equality.Semantic.DeepEqual(x, y)
}

// Hash names a patch.
func Hash(patch []byte, collisions int32) string {
	h := fnv.New32a()
	_, _ = h.Write(patch)
	if collisions > 0 {
		_, _ = h.Write([]byte(strconv.Itoa(int(collisions))))
	}
	return rand.SafeEncodeString(strconv.FormatUint(uint64(h.Sum32()), 10))
}
