//go:build e2e

package api_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/gantryio/gantry/test/upstream"
)

// input is a call about one object; output is its answer.
type (
	input struct {
		op, key string
		// from and to are values: what an update replaces, and what is written.
		from, to string
	}
	output struct {
		// value is what was read, "" when there is none.
		value string
		// refused tells of the one refusal that the operation has: there is one already, it was changed, there is none.
		refused bool
		// lost tells that there was no answer: it may have been done, now or later. never tells that it was not even asked.
		lost, never bool
	}
)

// register is what one object may be: its value, "" when it is not there.
var register = porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, o := range history {
			key := o.Input.(input).key
			byKey[key] = append(byKey[key], o)
		}
		var out [][]porcupine.Operation
		for _, list := range byKey {
			out = append(out, list)
		}
		return out
	},
	Init: func() []any { return []any{""} },
	Step: func(state, in, out any) []any {
		s, i, o := state.(string), in.(input), out.(output)
		possible, next := false, s
		switch i.op {
		case "get":
			return keepIf(o.lost || o.value == s, s)
		case "create":
			possible, next = s == "", i.to
		case "update":
			possible, next = s == i.from && s != "", i.to
		case "delete":
			possible, next = s != "", ""
		}
		switch {
		case o.lost && possible:
			return []any{s, next}
		case o.lost, o.refused && !possible:
			return []any{s}
		case o.refused:
			return nil
		}
		return keepIf(possible, next)
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v: %+v", in, out) },
}

func keepIf(ok bool, state string) []any {
	if ok {
		return []any{state}
	}
	return nil
}

// recorder keeps what was asked and answered, and which writes were acknowledged, by their revisions.
type recorder struct {
	mu    sync.Mutex
	ops   []porcupine.Operation
	wrote map[string]string // by revision
	epoch int
	count int
}

func (r *recorder) call(client int, in input, do func() (output, string)) output {
	begin := time.Now().UnixNano()
	out, revision := do()
	end := time.Now().UnixNano()
	if out.never {
		return out
	}
	if out.lost {
		if in.op == "get" {
			return out // it says nothing
		}
		end = math.MaxInt64
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, porcupine.Operation{ClientId: client, Input: in, Call: begin, Output: out, Return: end})
	if revision != "" {
		r.wrote[revision] = in.key + "=" + in.to
	}
	if !out.lost {
		r.count++
	}
	return out
}

func (r *recorder) now() (epoch, count int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch, r.count
}

func answerOf(cm *corev1.ConfigMap, err error, refusal func(error) bool) (output, string) {
	switch {
	case err == nil:
		return output{value: cm.Data["v"]}, cm.ResourceVersion
	case refusal(err):
		return output{refused: true}, ""
	}
	return output{lost: true, never: errors.Is(err, syscall.ECONNREFUSED)}, ""
}

// recovered returns once the server is ready: as long as it is not, calls would only pile up without answers.
func recovered(ctx context.Context, client kubernetes.Interface) {
	for ctx.Err() == nil {
		short, cancel := context.WithTimeout(ctx, time.Second)
		err := client.CoreV1().RESTClient().Get().AbsPath("/readyz").Do(short).Error()
		cancel()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// exercise calls at random until ctx ends. Objects belong to the time between two kills, so that what is open stays little.
func exercise(ctx context.Context, t *testing.T, s *server, r *recorder, id int) {
	client, err := s.tryClient()
	if err != nil {
		t.Error(err)
		return
	}
	maps := client.CoreV1().ConfigMaps("default")
	for n := 0; ctx.Err() == nil; n++ {
		epoch, _ := r.now()
		key := fmt.Sprintf("k%d-%d", max(0, epoch-rand.N(2)), rand.N(4))
		value := fmt.Sprintf("%d-%d", id, n)
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		var known *corev1.ConfigMap
		out := r.call(id, input{op: "get", key: key}, func() (output, string) {
			cm, err := maps.Get(short, key, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return output{}, ""
			}
			if err == nil {
				known = cm
			}
			out, _ := answerOf(cm, err, func(error) bool { return false })
			return out, ""
		})
		switch {
		case out.lost:
		case known == nil:
			out = r.call(id, input{op: "create", key: key, to: value}, func() (output, string) {
				cm, err := maps.Create(short, configMap(key, map[string]string{"v": value}), metav1.CreateOptions{})
				return answerOf(cm, err, apierrors.IsAlreadyExists)
			})
		case rand.N(5) == 0:
			out = r.call(id, input{op: "delete", key: key}, func() (output, string) {
				out, _ := answerOf(known, maps.Delete(short, key, metav1.DeleteOptions{}), apierrors.IsNotFound)
				return out, ""
			})
		default:
			from := known.Data["v"]
			out = r.call(id, input{op: "update", key: key, from: from, to: value}, func() (output, string) {
				cm := known.DeepCopy()
				cm.Data["v"] = value
				cm, err := maps.Update(short, cm, metav1.UpdateOptions{})
				return answerOf(cm, err, func(err error) bool { return apierrors.IsConflict(err) || apierrors.IsNotFound(err) })
			})
		}
		cancel()
		if out.lost {
			recovered(ctx, client)
		}
	}
}

// seen is what a watcher that always goes on where it was has been told.
type seen struct {
	mu     sync.Mutex
	values map[string]string // by revision
	state  map[string]string // by key
	last   uint64
	gaps   [][2]uint64
	wrong  []string
	told   []string // all of it, in order
}

func (w *seen) watch(ctx context.Context, s *server, from string) {
	for ctx.Err() == nil {
		client, err := s.tryClient()
		if err != nil {
			continue
		}
		opts := ours
		opts.ResourceVersion = from
		stream, err := client.CoreV1().ConfigMaps("default").Watch(ctx, opts)
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			from = w.relist(ctx, client, from)
			continue
		}
		if err != nil {
			recovered(ctx, client)
			continue
		}
		for ev := range stream.ResultChan() {
			cm, ok := ev.Object.(*corev1.ConfigMap)
			if !ok {
				if status := apierrors.FromObject(ev.Object); apierrors.IsResourceExpired(status) || apierrors.IsGone(status) {
					from = w.relist(ctx, client, from)
				}
				continue
			}
			from = cm.ResourceVersion
			w.take(string(ev.Type), cm)
		}
	}
}

// relist is what clients do when a server that was started anew does not know what happened after a revision: what was written
// between that and the list has no events.
func (w *seen) relist(ctx context.Context, client kubernetes.Interface, from string) string {
	list, err := client.CoreV1().ConfigMaps("default").List(ctx, ours)
	if err != nil {
		return from
	}
	low, _ := strconv.ParseUint(from, 10, 64)
	high, _ := strconv.ParseUint(list.ResourceVersion, 10, 64)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gaps = append(w.gaps, [2]uint64{low, high})
	w.last, w.state = high, map[string]string{}
	w.told = append(w.told, fmt.Sprintf("list at %d after %d", high, low))
	for _, cm := range list.Items {
		w.state[cm.Name] = cm.Data["v"]
	}
	return list.ResourceVersion
}

func (w *seen) inGap(revision string) bool {
	n, _ := strconv.ParseUint(revision, 10, 64)
	return slices.ContainsFunc(w.gaps, func(g [2]uint64) bool { return n > g[0] && n <= g[1] })
}

func (w *seen) take(kind string, cm *corev1.ConfigMap) {
	revision, err := strconv.ParseUint(cm.ResourceVersion, 10, 64)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil || revision <= w.last {
		w.wrong = append(w.wrong, fmt.Sprintf("event %s of %s at %s came after %d", kind, cm.Name, cm.ResourceVersion, w.last))
	}
	w.last = revision
	w.told = append(w.told, fmt.Sprintf("%d %s %s=%s", revision, kind, cm.Name, cm.Data["v"]))
	_, there := w.state[cm.Name]
	if (kind == "ADDED") == there {
		w.wrong = append(w.wrong, fmt.Sprintf("event %s of %s at %d, which was there: %v", kind, cm.Name, revision, there))
	}
	w.values[cm.ResourceVersion] = cm.Name + "=" + cm.Data["v"]
	if w.state[cm.Name] = cm.Data["v"]; kind == "DELETED" {
		delete(w.state, cm.Name)
		delete(w.values, cm.ResourceVersion)
	}
}

// checkLinear kills with SIGKILL while many clients write, and then asks whether one order explains all answers, and whether the
// watcher was told of each write once and in order. Only after a restart of the server may it have to list anew.
func checkLinear(t *testing.T, s *server, kills, restarts int, kill func(i int)) {
	r := &recorder{wrote: map[string]string{}}
	w := &seen{values: map[string]string{}, state: map[string]string{}}
	list, err := s.client(t).CoreV1().ConfigMaps("default").List(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	watching, stopWatching := context.WithCancel(t.Context())
	defer stopWatching()
	var clients, watcher sync.WaitGroup
	defer clients.Wait()
	defer stop()
	watcher.Go(func() { w.watch(watching, s, list.ResourceVersion) })
	for id := range 8 {
		clients.Go(func() { exercise(ctx, t, s, r, id) })
	}
	for i := range kills {
		_, before := r.now()
		eventually(t, 60*time.Second, func() error {
			if _, n := r.now(); n < before+100 {
				return fmt.Errorf("%d answers after a restart: %w", n-before, errNotYet)
			}
			return nil
		})
		kill(i)
		r.mu.Lock()
		r.epoch++
		r.mu.Unlock()
	}
	stop()
	clients.Wait()
	if list, err = s.client(t).CoreV1().ConfigMaps("default").List(t.Context(), ours); err != nil {
		t.Fatal(err)
	}
	final := map[string]string{}
	t.Logf("the list is of revision %s", list.ResourceVersion)
	now := time.Now().UnixNano()
	for _, cm := range list.Items {
		final[cm.Name] = cm.Data["v"]
	}
	for epoch := range kills + 1 {
		for i := range 4 {
			key := fmt.Sprintf("k%d-%d", epoch, i)
			r.ops = append(r.ops, porcupine.Operation{Input: input{op: "get", key: key}, Output: output{value: final[key]}, Call: now, Return: now + 1})
		}
	}
	result, _ := porcupine.CheckOperationsVerbose(register.ToModel(), r.ops, time.Minute)
	if result != porcupine.Ok {
		t.Errorf("%d operations: %s", len(r.ops), result)
	}
	checkSeen(t, w, r, final, restarts)
	stopWatching()
	watcher.Wait()
	t.Logf("%d operations, %d acknowledged writes, %d kills", len(r.ops), len(r.wrote), kills)
}

// checkSeen waits until the watcher's state is the final one.
func checkSeen(t *testing.T, w *seen, r *recorder, final map[string]string, restarts int) {
	t.Helper()
	eventually(t, 30*time.Second, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if fmt.Sprint(w.state) != fmt.Sprint(final) {
			return fmt.Errorf("the watcher has %v, the server %v; it was told %q, of which is wrong %q", w.state, final, w.told, w.wrong)
		}
		return nil
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, text := range w.wrong {
		t.Error(text)
	}
	if len(w.gaps) > restarts {
		t.Errorf("%d lists anew after %d restarts", len(w.gaps), restarts)
	}
	for revision, what := range r.wrote {
		if w.values[revision] != what && !w.inGap(revision) {
			t.Errorf("the write of %s at %s was seen as %q", what, revision, w.values[revision])
		}
	}
}

func TestLinearUnderKills(t *testing.T) {
	s := &server{data: t.TempDir(), port: 6448}
	s.start(t)
	checkLinear(t, s, 8, 8, func(int) {
		s.kill()
		s.start(t)
	})
}

func TestLinearOverAKilledEtcd(t *testing.T) {
	dir := t.TempDir()
	url, args := upstream.Etcd(dir, 2389)
	run := func() *process {
		return start(t, filepath.Join(dir, "log"), []string{runEtcd + "=1"}, "/proc/self/exe", args...)
	}
	etcd := run()
	s := &server{data: t.TempDir(), port: 6449, flags: []string{"--etcd-endpoints", url}}
	s.start(t)
	checkLinear(t, s, 6, 3, func(i int) {
		etcd.kill()
		if i%2 == 1 {
			s.kill()
		}
		etcd = run()
		if i%2 == 1 {
			s.start(t)
		}
	})
}
