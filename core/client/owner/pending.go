package owner

import (
	"context"
	"fmt"
	"maps"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Pending remembers the pods of each owner that this process created or deleted until a list shows it.
// A cache that lags can then neither double nor over-delete pods. With reads that see all acknowledged
// writes it is empty but for moments. The zero value is ready, and all methods may be called at any time.
type Pending struct {
	mu     sync.Mutex
	owners map[types.NamespacedName]*writes
}

type writes struct {
	// created are pods by name; an empty UID says that the create was not answered.
	created map[string]types.UID
	deleted map[types.UID]bool
	// doubted are names of pods whose deletion was not answered.
	doubted map[types.UID]string
}

func (p *Pending) of(owner types.NamespacedName) *writes {
	if p.owners == nil {
		p.owners = map[types.NamespacedName]*writes{}
	}
	if p.owners[owner] == nil {
		p.owners[owner] = &writes{created: map[string]types.UID{}, deleted: map[types.UID]bool{}, doubted: map[types.UID]string{}}
	}
	return p.owners[owner]
}

// Created notes that the pod was created.
func (p *Pending) Created(owner types.NamespacedName, pod *corev1.Pod) {
	p.created(owner, pod.Name, pod.UID)
}

func (p *Pending) created(owner types.NamespacedName, name string, uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of(owner).created[name] = uid
}

func (p *Pending) doubted(owner types.NamespacedName, pod *corev1.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of(owner).doubted[pod.UID] = pod.Name
}

// Deleted notes that the deletion of the pod was accepted.
func (p *Pending) Deleted(owner types.NamespacedName, uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of(owner).deleted[uid] = true
}

// Forget drops all that is noted of an owner.
func (p *Pending) Forget(owner types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.owners, owner)
}

// Apply removes listed pods whose deletion is on its way, and tells whether all created pods are listed.
// What is unknown is looked up by live: when a created pod is gone again, or was never made, it is no longer
// waited for. It takes over the slice.
func (p *Pending) Apply(ctx context.Context, live client.Reader, owner types.NamespacedName, listed []*corev1.Pod) ([]*corev1.Pod, bool, error) {
	if err := p.resolve(ctx, live, owner); err != nil {
		return nil, false, err
	}
	kept, unseen := p.compare(owner, listed)
	settled := true
	for name, uid := range unseen {
		pod, err := find(ctx, live, owner.Namespace, name)
		if err != nil {
			return nil, false, err
		}
		if ref := metav1.GetControllerOfNoCopy(pod); ref != nil && ref.Name == owner.Name && (uid == "" || pod.UID == uid) {
			settled = false // its event is still to come, and brings us back
			continue
		}
		p.mu.Lock()
		if w := p.owners[owner]; w != nil {
			delete(w.created, name)
		}
		p.mu.Unlock()
	}
	return kept, settled, nil
}

// resolve finds out which of the doubted deletions took place.
func (p *Pending) resolve(ctx context.Context, live client.Reader, owner types.NamespacedName) error {
	p.mu.Lock()
	var doubted map[types.UID]string
	if w := p.owners[owner]; w != nil {
		doubted = maps.Clone(w.doubted)
	}
	p.mu.Unlock()
	for uid, name := range doubted {
		pod, err := find(ctx, live, owner.Namespace, name)
		if err != nil {
			return err
		}
		if pod.UID != uid || pod.DeletionTimestamp != nil {
			p.Deleted(owner, uid)
		}
		p.mu.Lock()
		if w := p.owners[owner]; w != nil {
			delete(w.doubted, uid)
		}
		p.mu.Unlock()
	}
	return nil
}

// find returns the pod as it truly is, an empty one when there is none.
func find(ctx context.Context, live client.Reader, namespace, name string) (*corev1.Pod, error) {
	pod := &corev1.Pod{}
	if err := live.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, pod); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("look for pod %s: %w", name, err)
	}
	return pod, nil
}

func (p *Pending) compare(owner types.NamespacedName, listed []*corev1.Pod) ([]*corev1.Pod, map[string]types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.owners[owner]
	if w == nil {
		return listed, nil
	}
	gone := maps.Clone(w.deleted)
	kept := listed[:0]
	for _, pod := range listed {
		delete(w.created, pod.Name)
		delete(gone, pod.UID)
		if pod.DeletionTimestamp != nil {
			delete(w.deleted, pod.UID)
		}
		if !w.deleted[pod.UID] {
			kept = append(kept, pod)
		}
	}
	for uid := range gone {
		delete(w.deleted, uid)
	}
	if len(w.created) == 0 && len(w.deleted) == 0 && len(w.doubted) == 0 {
		delete(p.owners, owner)
	}
	return kept, maps.Clone(w.created)
}
