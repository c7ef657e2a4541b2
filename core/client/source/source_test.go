package source

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	crcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/handler"
)

func object1(version string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", ResourceVersion: version}}
}

// versions queues the versions that an event is between.
func versions(_ context.Context, old, now client.Object, q Queue[string]) {
	of := func(o client.Object) string {
		if o == nil {
			return "-"
		}
		return o.GetResourceVersion()
	}
	q.Add(of(old) + of(now))
}

var events = []struct {
	name    string
	deliver func(toolscache.ResourceEventHandler)
	want    string
	low     bool
}{
	{"there before", func(h toolscache.ResourceEventHandler) { h.OnAdd(object1("1"), true) }, "-1", true},
	{"new", func(h toolscache.ResourceEventHandler) { h.OnAdd(object1("1"), false) }, "-1", false},
	{"updated", func(h toolscache.ResourceEventHandler) { h.OnUpdate(object1("1"), object1("2")) }, "12", false},
	{"told again", func(h toolscache.ResourceEventHandler) { h.OnUpdate(object1("2"), object1("2")) }, "22", true},
	{"gone", func(h toolscache.ResourceEventHandler) { h.OnDelete(object1("2")) }, "2-", false},
	{"found gone", func(h toolscache.ResourceEventHandler) {
		h.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "a", Obj: object1("2")})
	}, "2-", false},
	{"no object", func(h toolscache.ResourceEventHandler) {
		h.OnAdd("x", false)
		h.OnUpdate("x", object1("1"))
		h.OnUpdate(object1("1"), "x")
		h.OnDelete("x")
		h.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "a"})
	}, "", false},
}

func TestDelivery(t *testing.T) {
	for _, tc := range events {
		t.Run(tc.name, func(t *testing.T) {
			q := priorityqueue.New[string]("")
			defer q.ShutDown()
			tc.deliver(delivery(t.Context(), versions, q))
			q.AddWithOpts(priorityqueue.AddOpts{Priority: new(2 * handler.LowPriority)}, "end")
			got, priority, _ := q.GetWithPriority()
			want, low := tc.want, 0
			if tc.low {
				low = handler.LowPriority
			}
			if want == "" {
				want, low = "end", 2*handler.LowPriority
			}
			if got != want || priority != low {
				t.Errorf("queued %q with priority %d, want %q with %d", got, priority, want, low)
			}
			plain := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
			defer plain.ShutDown()
			tc.deliver(delivery(t.Context(), versions, plain))
			plain.Add("end")
			if got, _ := plain.Get(); got != want {
				t.Errorf("queued %q where there are no priorities, want %q", got, want)
			}
		})
	}
}

// All ways to add something leave it behind what is added otherwise, but for one with a priority of its own.
func TestBehind(t *testing.T) {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[string](time.Nanosecond, time.Nanosecond)
	for name, tc := range map[string]struct {
		add  func(priorityqueue.PriorityQueue[string])
		want int
	}{
		"Add":            {func(q priorityqueue.PriorityQueue[string]) { q.Add("x") }, handler.LowPriority},
		"AddAfter":       {func(q priorityqueue.PriorityQueue[string]) { q.AddAfter("x", time.Nanosecond) }, handler.LowPriority},
		"AddRateLimited": {func(q priorityqueue.PriorityQueue[string]) { q.AddRateLimited("x") }, handler.LowPriority},
		"AddWithOpts":    {func(q priorityqueue.PriorityQueue[string]) { q.AddWithOpts(priorityqueue.AddOpts{}, "x") }, handler.LowPriority},
		"a priority": {func(q priorityqueue.PriorityQueue[string]) {
			q.AddWithOpts(priorityqueue.AddOpts{Priority: new(7)}, "x")
		}, 7},
	} {
		t.Run(name, func(t *testing.T) {
			q := priorityqueue.New("", func(o *priorityqueue.Opts[string]) { o.RateLimiter = limiter })
			defer q.ShutDown()
			tc.add(behind(q).(priorityqueue.PriorityQueue[string]))
			if _, got, _ := q.GetWithPriority(); got != tc.want {
				t.Errorf("priority is %d, want %d", got, tc.want)
			}
		})
	}
}

// staged is a cache of one informer, which does what it is told to.
type staged struct {
	crcache.Cache
	crcache.Informer
	toolscache.ResourceEventHandlerRegistration

	mu      sync.Mutex
	unknown int // how often there is no informer yet
	handler toolscache.ResourceEventHandler
	synced  chan struct{}
}

func (s *staged) GetInformer(context.Context, client.Object, ...crcache.InformerGetOption) (crcache.Informer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unknown--; s.unknown >= 0 {
		return nil, errUnknown
	}
	return s, nil
}

var errUnknown = errors.New("unknown")

func (s *staged) AddEventHandler(h toolscache.ResourceEventHandler) (toolscache.ResourceEventHandlerRegistration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = h
	return s, nil
}

func (s *staged) WaitForCacheSync(ctx context.Context) bool { return ctx.Err() == nil }

func (s *staged) HasSynced() bool                          { return toolscache.IsDone(s) }
func (s *staged) HasSyncedChecker() toolscache.DoneChecker { return s }
func (s *staged) Name() string                             { return "staged" }
func (s *staged) Done() <-chan struct{}                    { return s.synced }
func (s *staged) AddIndexers(toolscache.Indexers) error    { return nil }
func (s *staged) IsStopped() bool                          { return false }
func (s *staged) started() bool                            { s.mu.Lock(); defer s.mu.Unlock(); return s.handler != nil }

func (s *staged) RemoveEventHandler(toolscache.ResourceEventHandlerRegistration) error { return nil }

// A controller waits until all has been heard of, and for a kind that is defined only later, and may begin to wait before it watches.
func TestWaitForSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &staged{synced: make(chan struct{}), unknown: 2}
		k := Of(s, &corev1.ConfigMap{}, versions)
		var waited error
		returned := make(chan struct{})
		go func() {
			defer close(returned)
			waited = k.WaitForSync(t.Context())
		}()
		synctest.Wait()
		if err := k.Start(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			synctest.Wait()
			if got, want := s.started(), i == 2; got != want {
				t.Fatalf("after looking %d times, it watches: %v", i+1, got)
			}
			time.Sleep(retry)
		}
		select {
		case <-returned:
			t.Fatalf("it did not wait for the objects (%v)", waited)
		default:
		}
		close(s.synced)
		<-returned
		if again := k.WaitForSync(t.Context()); waited != nil || again != nil {
			t.Errorf("errors are %v and %v", waited, again)
		}
	})
}

// Who gives up waiting ends the source, and that is an error unless he was told to.
func TestWaitInVain(t *testing.T) {
	for _, unknown := range []int{0, 1000} {
		for _, told := range []bool{false, true} {
			t.Run(fmt.Sprintf("unknown=%d/told=%v", unknown, told), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var heard context.Context
					s := &staged{synced: make(chan struct{}), unknown: unknown}
					k := Of(s, &corev1.ConfigMap{}, func(ctx context.Context, _, _ client.Object, _ Queue[string]) { heard = ctx })
					if err := k.Start(t.Context(), nil); err != nil {
						t.Fatal(err)
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					if told {
						time.AfterFunc(time.Second, cancel)
					}
					synctest.Wait()
					if s.handler != nil {
						s.handler.OnAdd(object1("1"), true)
					}
					if err := k.WaitForSync(ctx); (err == nil) != told {
						t.Errorf("error is %v", err)
					}
					if heard != nil && heard.Err() == nil {
						t.Error("the source goes on")
					}
					synctest.Wait()
					if err := k.WaitForSync(t.Context()); err == nil || unknown > 0 && !errors.Is(err, errUnknown) {
						t.Errorf("afterwards the error is %v", err)
					}
				})
			})
		}
	}
}

func TestString(t *testing.T) {
	partial := &metav1.PartialObjectMetadata{}
	partial.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Node"))
	got := []string{Of(nil, &corev1.Pod{}, versions).String(), Of(nil, partial, versions).String()}
	if diff := cmp.Diff([]string{"*v1.Pod", "*v1.PartialObjectMetadata of /v1, Kind=Node"}, got); diff != "" {
		t.Error(diff)
	}
}
