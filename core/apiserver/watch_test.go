package apiserver_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// next reads n events as "TYPE name value", failing after ten seconds.
func next(t testing.TB, w watch.Interface, n int) []string {
	t.Helper()
	var out []string
	deadline := time.After(10 * time.Second)
	for len(out) < n {
		select {
		case ev, ok := <-w.ResultChan():
			if !ok {
				t.Fatalf("watch ended after %q", out)
			}
			cm, isMap := ev.Object.(*corev1.ConfigMap)
			if !isMap {
				t.Fatalf("event %s of %T: %v", ev.Type, ev.Object, ev.Object)
			}
			out = append(out, strings.TrimSpace(string(ev.Type)+" "+cm.Name+" "+cm.Data["k"]))
		case <-deadline:
			t.Fatalf("got %q, want %d events", out, n)
		}
	}
	return out
}

func TestAWatchGoesOnWhereItsClientWas(t *testing.T) {
	ns := shared.namespace(t)
	api := shared.typed(t).CoreV1().ConfigMaps(ns)
	a := must(api.Create(t.Context(), configMap("a", "k", "1"), metav1.CreateOptions{}))(t)
	b := must(api.Create(t.Context(), configMap("b", "k", "1"), metav1.CreateOptions{}))(t)
	must(api.Update(t.Context(), configMap("a", "k", "2"), metav1.UpdateOptions{}))(t)
	must(struct{}{}, api.Delete(t.Context(), "b", metav1.DeleteOptions{}))(t)
	want := []string{"ADDED b 1", "MODIFIED a 2", "DELETED b 1"}
	for from, events := range map[string][]string{a.ResourceVersion: want, b.ResourceVersion: want[1:], "0": {"ADDED a 2"}, "": {"ADDED a 2"}} {
		w := must(api.Watch(t.Context(), metav1.ListOptions{ResourceVersion: from}))(t)
		if d := cmp.Diff(events, next(t, w, len(events))); d != "" {
			t.Errorf("from %q: %s", from, d)
		}
		w.Stop()
	}
	last := must(api.List(t.Context(), metav1.ListOptions{}))(t).ResourceVersion
	w := must(api.Watch(t.Context(), metav1.ListOptions{ResourceVersion: last}))(t)
	defer w.Stop()
	must(api.Update(t.Context(), configMap("a", "k", "3"), metav1.UpdateOptions{}))(t)
	if got := next(t, w, 1); got[0] != "MODIFIED a 3" {
		t.Errorf("live: %q", got)
	}
}

func TestAWatchSeesThroughItsSelectors(t *testing.T) {
	ns := shared.namespace(t)
	api := shared.typed(t).CoreV1().ConfigMaps(ns)
	w := must(api.Watch(t.Context(), metav1.ListOptions{LabelSelector: "on=yes"}))(t)
	defer w.Stop()
	named := must(api.Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=b"}))(t)
	defer named.Stop()
	put := func(name, value, on string) {
		cm := configMap(name, "k", value)
		cm.Labels = map[string]string{"on": on}
		if _, err := api.Update(t.Context(), cm, metav1.UpdateOptions{}); err != nil {
			must(api.Create(t.Context(), cm, metav1.CreateOptions{}))(t)
		}
	}
	put("a", "1", "no")
	put("a", "2", "yes")
	put("a", "3", "yes")
	put("a", "4", "no")
	put("b", "5", "yes")
	must(struct{}{}, api.Delete(t.Context(), "a", metav1.DeleteOptions{}))(t)
	must(struct{}{}, api.Delete(t.Context(), "b", metav1.DeleteOptions{}))(t)
	want := []string{"ADDED a 2", "MODIFIED a 3", "DELETED a 3", "ADDED b 5", "DELETED b 5"}
	if d := cmp.Diff(want, next(t, w, len(want))); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"ADDED b 5", "DELETED b 5"}, next(t, named, 2)); d != "" {
		t.Error(d)
	}
}

func TestStreamingLists(t *testing.T) {
	ns := fillNamespace(t, 3)
	api := shared.typed(t).CoreV1().ConfigMaps(ns)
	w := must(api.Watch(t.Context(), metav1.ListOptions{
		SendInitialEvents: new(true), ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan, AllowWatchBookmarks: true,
	}))(t)
	defer w.Stop()
	if got := next(t, w, 3); got[2] != "ADDED m02" {
		t.Errorf("initial events %q", got)
	}
	mark := <-w.ResultChan()
	cm := mark.Object.(*corev1.ConfigMap)
	if mark.Type != watch.Bookmark || cm.Annotations[metav1.InitialEventsAnnotationKey] != "true" || cm.ResourceVersion == "" {
		t.Errorf("after them %s %+v", mark.Type, cm)
	}
	again := must(api.Watch(t.Context(), metav1.ListOptions{ResourceVersion: cm.ResourceVersion}))(t)
	defer again.Stop()
	must(api.Create(t.Context(), configMap("z"), metav1.CreateOptions{}))(t)
	for _, one := range []watch.Interface{w, again} {
		if got := next(t, one, 1); got[0] != "ADDED z" {
			t.Errorf("then %q", got)
		}
	}
	_, err := api.Watch(t.Context(), metav1.ListOptions{SendInitialEvents: new(true)})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
}

func TestAWatchEndsAtItsTimeout(t *testing.T) {
	ns := shared.namespace(t)
	w := must(shared.typed(t).CoreV1().ConfigMaps(ns).Watch(t.Context(), metav1.ListOptions{TimeoutSeconds: new(int64(1))}))(t)
	select {
	case ev, ok := <-w.ResultChan():
		if ok {
			t.Errorf("got %v", ev)
		}
	case <-time.After(10 * time.Second):
		t.Error("still running")
	}
}

// seen is what one watcher knows: the last version of each object, and the order in which it saw them.
type seen struct {
	objects map[string]int // name → value
	uids    map[string]string
}

// observe checks that an event may follow what was seen before.
func (s *seen) observe(ev watch.Event) error {
	cm, ok := ev.Object.(*corev1.ConfigMap)
	if !ok {
		return fmt.Errorf("event %s of %T", ev.Type, ev.Object)
	}
	value, _ := strconv.Atoi(cm.Data["k"])
	before, had := s.objects[cm.Name]
	switch ev.Type {
	case watch.Added:
		if had {
			return fmt.Errorf("%s was added twice", cm.Name)
		}
	case watch.Modified:
		if !had || value != before+1 || s.uids[cm.Name] != string(cm.UID) {
			return fmt.Errorf("%s was %d (%t), then %d", cm.Name, before, had, value)
		}
	case watch.Deleted:
		if !had || value != before {
			return fmt.Errorf("%s was %d (%t), deleted as %d", cm.Name, before, had, value)
		}
		delete(s.objects, cm.Name)
		return nil
	}
	s.objects[cm.Name], s.uids[cm.Name] = value, string(cm.UID)
	return nil
}

// follow watches with many reconnects from the last version seen until the marker object shows up.
func follow(ctx context.Context, ns string, c *cluster, t testing.TB) (map[string]int, error) {
	api := c.typed(t).CoreV1().ConfigMaps(ns)
	s := &seen{map[string]int{}, map[string]string{}}
	from := "0"
	for {
		w, err := api.Watch(ctx, metav1.ListOptions{ResourceVersion: from, AllowWatchBookmarks: true})
		if err != nil {
			return nil, err
		}
		for left := rand.IntN(60); left >= 0; left-- {
			ev, ok := <-w.ResultChan()
			if !ok {
				break
			}
			cm := ev.Object.(*corev1.ConfigMap)
			if from != "0" && older(cm.ResourceVersion, from) {
				return nil, fmt.Errorf("revision %s after %s", cm.ResourceVersion, from)
			}
			if cm.Name == "end" {
				w.Stop()
				return s.objects, nil
			}
			if err := s.observe(ev); err != nil {
				return nil, err
			}
			if ev.Type != watch.Added || from != "0" {
				from = cm.ResourceVersion
			}
		}
		w.Stop()
		if ctx.Err() != nil {
			return nil, errors.New("the end was not seen in time")
		}
		if from == "0" {
			s = &seen{map[string]int{}, map[string]string{}} // the initial events have no order
		}
	}
}

func older(a, b string) bool {
	x, _ := strconv.Atoi(a)
	y, _ := strconv.Atoi(b)
	return x <= y
}

func TestWatchersThatReconnectMissNothing(t *testing.T) {
	ns := shared.namespace(t)
	api := shared.typed(t).CoreV1().ConfigMaps(ns)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var watchers, writers sync.WaitGroup
	states := make([]map[string]int, 6)
	for i := range states {
		watchers.Go(func() {
			var err error
			if states[i], err = follow(ctx, ns, shared, t); err != nil {
				t.Error(err)
			}
		})
	}
	for w := range 4 {
		writers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			have := map[string]int{}
			for range 250 {
				name := fmt.Sprintf("w%d-%d", w, r.IntN(5))
				value, exists := have[name]
				var err error
				switch {
				case !exists:
					have[name] = 1
					_, err = api.Create(ctx, configMap(name, "k", "1"), metav1.CreateOptions{})
				case r.IntN(4) == 0:
					delete(have, name)
					err = api.Delete(ctx, name, metav1.DeleteOptions{})
				default:
					have[name] = value + 1
					_, err = api.Update(ctx, configMap(name, "k", strconv.Itoa(value+1)), metav1.UpdateOptions{})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	want := map[string]int{}
	for _, cm := range must(api.List(ctx, metav1.ListOptions{}))(t).Items {
		want[cm.Name], _ = strconv.Atoi(cm.Data["k"])
	}
	must(api.Create(ctx, configMap("end"), metav1.CreateOptions{}))(t)
	watchers.Wait()
	for i, got := range states {
		if !maps.Equal(got, want) {
			t.Errorf("watcher %d ended with %v, want %v", i, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
	}
}
