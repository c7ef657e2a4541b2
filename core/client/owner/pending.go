package owner

import (
	"context"
	"fmt"
	"maps"
	"sync"

	corev1 "k8s.io/api/core/v1"
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
	created map[types.UID]string // to names
	deleted map[types.UID]bool
}

func (p *Pending) of(owner types.NamespacedName) *writes {
	if p.owners == nil {
		p.owners = map[types.NamespacedName]*writes{}
	}
	if p.owners[owner] == nil {
		p.owners[owner] = &writes{created: map[types.UID]string{}, deleted: map[types.UID]bool{}}
	}
	return p.owners[owner]
}

// Created notes that the pod was created.
func (p *Pending) Created(owner types.NamespacedName, pod *corev1.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of(owner).created[pod.UID] = pod.Name
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
// One that is not is looked up by live: when it is gone again, it is no longer waited for. It takes over
// the slice.
func (p *Pending) Apply(ctx context.Context, live client.Reader, owner types.NamespacedName, listed []*corev1.Pod) ([]*corev1.Pod, bool, error) {
	kept, unseen := p.compare(owner, listed)
	settled := true
	for uid, name := range unseen {
		var pod corev1.Pod
		err := live.Get(ctx, types.NamespacedName{Namespace: owner.Namespace, Name: name}, &pod)
		if client.IgnoreNotFound(err) != nil {
			return nil, false, fmt.Errorf("look for pod %s: %w", name, err)
		}
		if err == nil && pod.UID == uid {
			settled = false // its event is still to come, and brings us back
			continue
		}
		p.mu.Lock()
		if w := p.owners[owner]; w != nil {
			delete(w.created, uid)
		}
		p.mu.Unlock()
	}
	return kept, settled, nil
}

func (p *Pending) compare(owner types.NamespacedName, listed []*corev1.Pod) ([]*corev1.Pod, map[types.UID]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.owners[owner]
	if w == nil {
		return listed, nil
	}
	gone := maps.Clone(w.deleted)
	kept := listed[:0]
	for _, pod := range listed {
		delete(w.created, pod.UID)
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
	if len(w.created) == 0 && len(w.deleted) == 0 {
		delete(p.owners, owner)
	}
	return kept, maps.Clone(w.created)
}
