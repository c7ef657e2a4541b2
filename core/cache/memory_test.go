package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/core"
	"github.com/gantryio/gantry/core/store"
)

// memory is a store that a test writes by hand. Compact forgets all events so far.
type memory struct {
	mu       sync.Mutex
	revision int64
	kvs      map[string]store.KV
	events   []store.Event
	floor    int64
	changed  chan struct{}
	cut      chan struct{}
}

var _ Store = (*memory)(nil)

func newMemory() *memory {
	return &memory{revision: 1, kvs: map[string]store.KV{}, changed: make(chan struct{}), cut: make(chan struct{})}
}

func (m *memory) List(_ context.Context, prefix string, visit func(store.KV) error) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, kv := range m.kvs {
		if strings.HasPrefix(key, prefix) {
			if err := visit(kv); err != nil {
				return 0, err
			}
		}
	}
	return m.revision, nil
}

func (m *memory) Watch(ctx context.Context, _ string, revision int64, visit func([]store.Event, int64) error) error {
	for {
		m.mu.Lock()
		if revision <= m.floor {
			m.mu.Unlock()
			return store.ErrCompacted
		}
		var events []store.Event
		for _, e := range m.events {
			if e.Revision >= revision {
				events = append(events, e)
			}
		}
		seen, changed, cut := m.revision, m.changed, m.cut
		m.mu.Unlock()
		if err := visit(events, seen); err != nil {
			return err
		}
		revision = seen + 1
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-cut:
			return errors.New("connection lost")
		case <-changed:
		}
	}
}

func (m *memory) Acknowledged() (int64, bool) { return 0, false }

func (m *memory) Revision(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.revision, nil
}

func (m *memory) RevisionOf(ctx context.Context, _ string) (int64, error) { return m.Revision(ctx) }

func (m *memory) AskProgress(context.Context) error { return nil }

// put writes a value, or with nil deletes it, and returns the revision.
func (m *memory) put(key string, value []byte) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revision++
	kv := store.KV{Key: key, Value: value, Revision: m.revision}
	if value == nil {
		delete(m.kvs, key)
	} else {
		m.kvs[key] = kv
	}
	m.events = append(m.events, store.Event{KV: kv, Deleted: value == nil})
	close(m.changed)
	m.changed = make(chan struct{})
	return m.revision
}

// lose cuts the watch, lets change happen unseen and compacts it away.
func (m *memory) lose(change func()) {
	m.mu.Lock()
	cut := m.cut
	m.changed = make(chan struct{}) // whoever watches does not hear of what comes
	m.mu.Unlock()
	change()
	m.mu.Lock()
	m.floor, m.events = m.revision, nil
	m.cut = make(chan struct{})
	m.mu.Unlock()
	close(cut)
}

var pods, configMaps = core.Pods.Resource(), core.ConfigMaps.Resource()

func pod(name, node, uid string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(uid), Labels: map[string]string{"on": node}},
		Spec:       corev1.PodSpec{NodeName: node},
	}
}

// rig is a running cache over a memory.
type rig struct {
	t *testing.T
	*Cache
	mem *memory
}

func newRig(t *testing.T) *rig {
	t.Helper()
	m := newMemory()
	r := &rig{t, New(m, api.NewRegistry(pods, configMaps)), m}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	<-r.Synced()
	return r
}

func (r *rig) encode(p *corev1.Pod) []byte {
	r.t.Helper()
	value, err := pods.EncodeStored(p)
	if err != nil {
		r.t.Fatal(err)
	}
	return value
}

// put stores the pod and waits until the cache has it.
func (r *rig) put(p *corev1.Pod) int64 {
	r.t.Helper()
	return r.wait(r.mem.put(pods.Key(p.Namespace, p.Name), r.encode(p)))
}

func (r *rig) drop(name string) int64 {
	r.t.Helper()
	return r.wait(r.mem.put(pods.Key("ns", name), nil))
}

func (r *rig) wait(revision int64) int64 {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	if err := r.WaitFor(ctx, revision); err != nil {
		r.t.Fatal(err)
	}
	return revision
}

func names(s *Snapshot) string {
	var out []string
	for _, e := range s.All() {
		out = append(out, e.Object.GetName()+"@"+e.Object.GetResourceVersion())
	}
	return strings.Join(out, " ")
}

func describe(events []*Event) []string {
	var out []string
	for _, ev := range events {
		out = append(out, fmt.Sprintf("%s %s@%s", ev.Type, ev.Entry.Object.GetName(), ev.Entry.Object.GetResourceVersion()))
	}
	return out
}

func poll(t *testing.T, w *Watcher) []string {
	t.Helper()
	events, err := w.Poll(nil)
	if err != nil {
		t.Fatal(err)
	}
	return describe(events)
}
