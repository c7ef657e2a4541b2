package replicaset

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// pending remembers the pods of each set that this process created or deleted until a list shows it.
// A cache that lags can then neither double nor over-delete pods. With reads that see all acknowledged
// writes it is empty but for moments.
type pending struct {
	mu   sync.Mutex
	sets map[types.NamespacedName]*writes
}

type writes struct {
	created map[types.UID]string // to names
	deleted map[types.UID]bool
}

func (p *pending) of(set types.NamespacedName) *writes {
	if p.sets == nil {
		p.sets = map[types.NamespacedName]*writes{}
	}
	if p.sets[set] == nil {
		p.sets[set] = &writes{created: map[types.UID]string{}, deleted: map[types.UID]bool{}}
	}
	return p.sets[set]
}

func (p *pending) created(set types.NamespacedName, pod *corev1.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of(set).created[pod.UID] = pod.Name
}

func (p *pending) deleted(set types.NamespacedName, uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of(set).deleted[uid] = true
}

func (p *pending) forget(set types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sets, set)
}

// apply removes listed pods whose deletion is on its way, and tells whether all created pods are listed.
// One that is not is looked up: when it is gone again, it is no longer waited for.
func (p *pending) apply(ctx context.Context, live client.Reader, set types.NamespacedName, listed []*corev1.Pod) ([]*corev1.Pod, bool, error) {
	p.mu.Lock()
	w := p.sets[set]
	if w == nil {
		p.mu.Unlock()
		return listed, true, nil
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
	unseen := maps.Clone(w.created)
	if len(w.created) == 0 && len(w.deleted) == 0 {
		delete(p.sets, set)
	}
	p.mu.Unlock()
	settled := true
	for uid, name := range unseen {
		var pod corev1.Pod
		err := live.Get(ctx, types.NamespacedName{Namespace: set.Namespace, Name: name}, &pod)
		if client.IgnoreNotFound(err) != nil {
			return nil, false, fmt.Errorf("look for pod %s: %w", name, err)
		}
		if err == nil && pod.UID == uid {
			settled = false // its event is still to come, and brings us back
			continue
		}
		p.mu.Lock()
		delete(w.created, uid)
		p.mu.Unlock()
	}
	return kept, settled, nil
}

// pace keeps sets of thousands of pods from being counted anew at each change of one of them: a set
// rests for a time proportional to its size. Up to fifty pods it never rests.
type pace struct {
	mu   sync.Mutex
	next map[types.NamespacedName]time.Time
}

const restPerPod = 20 * time.Microsecond

func (p *pace) wait(set types.NamespacedName, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next[set].Sub(now)
}

func (p *pace) done(set types.NamespacedName, now time.Time, pods int) {
	rest := time.Duration(pods) * restPerPod
	p.mu.Lock()
	defer p.mu.Unlock()
	if rest < time.Millisecond {
		delete(p.next, set)
		return
	}
	if p.next == nil {
		p.next = map[types.NamespacedName]time.Time{}
	}
	p.next[set] = now.Add(rest)
}

func (p *pace) forget(set types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.next, set)
}
