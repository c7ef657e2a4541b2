package cache

import (
	"fmt"
	"math/rand"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	machinery "k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/randfill"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/all"
	"github.com/gantryio/gantry/core/api/fastjson"
)

// TestSharingChangesNothing takes objects of every kind, like each other by chance and on purpose, and compares them before and after.
func TestSharingChangesNothing(t *testing.T) {
	for _, r := range all.Kinds().Stored() {
		for seed := range int64(30) {
			random := rand.New(rand.NewSource(seed))
			fill := fewValues(random)
			like, obj := r.New(), r.New()
			fill.Fill(like)
			if seed%2 == 0 {
				obj = like.DeepCopyObject().(api.Object)
				changeSome(fill, random, reflect.ValueOf(obj).Elem())
			} else {
				fill.Fill(obj)
			}
			var other api.Object
			if seed%3 != 0 {
				other = obj.DeepCopyObject().(api.Object)
				changeSome(fill, random, reflect.ValueOf(other).Elem())
				other = other.DeepCopyObject().(api.Object)
			}
			obj, like = obj.DeepCopyObject().(api.Object), like.DeepCopyObject().(api.Object)
			before, likeBefore := obj.DeepCopyObject(), like.DeepCopyObject()
			share(obj, like, other)
			if !reflect.DeepEqual(obj, before) {
				t.Fatalf("%s, seed %d: sharing changed %s", r.Kind, seed, cmp.Diff(before, obj))
			}
			if !reflect.DeepEqual(like, likeBefore) {
				t.Fatalf("%s, seed %d: sharing changed what was like it: %s", r.Kind, seed, cmp.Diff(likeBefore, like))
			}
			one, err := fastjson.Append(nil, obj)
			two, err2 := fastjson.Append(nil, before.(api.Object))
			if (err == nil) != (err2 == nil) || string(one) != string(two) {
				t.Fatalf("%s, seed %d: encoded as %s, before as %s", r.Kind, seed, one, two)
			}
		}
	}
}

// changeSome makes some fields of a struct, at any depth, something else.
func changeSome(fill *randfill.Filler, random *rand.Rand, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Field(i)
		switch {
		case !f.CanSet():
		case f.Kind() == reflect.Struct && random.Intn(2) == 0:
			changeSome(fill, random, f)
		case random.Intn(4) == 0:
			fill.Fill(f.Addr().Interface())
		}
	}
}

// fewValues makes equal values likely.
func fewValues(random *rand.Rand) *randfill.Filler {
	return randfill.New().RandSource(random).NilChance(.4).NumElements(0, 2).MaxDepth(9).Funcs(
		func(s *string, c randfill.Continue) { *s = []string{"", "a", "bc"}[c.Intn(3)] },
		func(n *int32, c randfill.Continue) { *n = c.Int31n(2) },
		func(n *int64, c randfill.Continue) { *n = c.Int63n(2) },
		func(b *[]byte, c randfill.Continue) { *b = [][]byte{nil, {}, []byte("x")}[c.Intn(3)] },
		func(v *resource.Quantity, c randfill.Continue) {
			*v = resource.MustParse([]string{"1", "1000m"}[c.Intn(2)])
		},
		func(v *machinery.RawExtension, _ randfill.Continue) { v.Raw = []byte(`{"a":1}`) },
		func(*machinery.Object, randfill.Continue) {},
		func(v *metav1.FieldsV1, c randfill.Continue) { v.Raw = []byte([]string{`{}`, `{"f:a":{}}`}[c.Intn(2)]) },
	)
}

func replica(name string) *corev1.Pod {
	yes := true
	owned := &metav1.FieldsV1{Raw: []byte(`{"f:spec":{}}`)}
	return &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "ns", Labels: map[string]string{"app": strings.Clone("web")},
			OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "web", UID: "7", Controller: &yes}},
			ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "m" + name, FieldsV1: owned}},
		},
		Spec: corev1.PodSpec{NodeName: "on-" + name, Containers: []corev1.Container{{
			Name: "c", Image: fmt.Sprint("img:", 1),
			Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("1")}},
		}}},
	}
}

// read returns a replica as it is read from the store.
func (r *rig) read(name string) *corev1.Pod {
	r.t.Helper()
	obj, _, err := pods.DecodeStored(r.encode(replica(name)))
	if err != nil {
		r.t.Fatal(err)
	}
	return obj.(*corev1.Pod)
}

func TestNewObjectsLieWhereThoseLikeThemDo(t *testing.T) {
	r := newRig(t)
	col := r.Of(pods)
	first := replica("one")
	r.put(first)
	have := col.Get(pods.Key("ns", "one")).Object.(*corev1.Pod)
	second, want := r.read("two"), r.read("two")
	col.Share(second, nil)
	if diff := cmp.Diff(want, second); diff != "" {
		t.Error(diff)
	}
	a, b := second.Spec.Containers[0].Image, have.Spec.Containers[0].Image
	for what, same := range map[string]bool{
		"labels":     reflect.ValueOf(second.Labels).Pointer() == reflect.ValueOf(have.Labels).Pointer(),
		"containers": &second.Spec.Containers[0] == &have.Spec.Containers[0],
		"images":     unsafe.StringData(a) == unsafe.StringData(b),
		"owners":     &second.OwnerReferences[0] == &have.OwnerReferences[0],
		"ownership":  second.ManagedFields[0].FieldsV1 == have.ManagedFields[0].FieldsV1,
	} {
		if !same {
			t.Errorf("the %s lie in two places", what)
		}
	}
	r.drop("one")
	third := r.read("three")
	col.Share(third, nil)
	if &third.Spec.Containers[0] == &have.Spec.Containers[0] {
		t.Error("what is gone is still held for others to be like")
	}
}

func TestObjectsThatAreLoadedShare(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"one", "two"} {
		r.mem.put(pods.Key("ns", name), r.encode(replica(name)))
	}
	again := New(r.mem, api.NewRegistry(pods, configMaps))
	if err := again.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	one, two := again.Of(pods).Get(pods.Key("ns", "one")), again.Of(pods).Get(pods.Key("ns", "two"))
	if &one.Object.(*corev1.Pod).Spec.Containers[0] != &two.Object.(*corev1.Pod).Spec.Containers[0] {
		t.Error("what is equal lies in two places")
	}
}

func TestVersionsLieWhereTheOnesBeforeDo(t *testing.T) {
	col := newCollection(pods, nil)
	old := replica("one")
	obj := old.DeepCopy()
	obj.Status.Phase = corev1.PodRunning
	col.Share(obj, old)
	if &obj.Spec.Containers[0] != &old.Spec.Containers[0] || &obj.ManagedFields[0] != &old.ManagedFields[0] {
		t.Error("a version does not lie where the one before does")
	}
	if old.Status.Phase != "" || obj.Status.Phase != corev1.PodRunning {
		t.Error("sharing changed a status")
	}
	if spare := cap(obj.Spec.Containers) - len(obj.Spec.Containers); spare != 0 {
		t.Errorf("there is room for %d containers to be appended to what is shared", spare)
	}
}

// What has changed in the same way as in another object lies where it does there.
func TestAVersionLiesAlsoWhereThoseLikeItDo(t *testing.T) {
	col := newCollection(pods, new(atomic.Int64))
	other, old, obj := running(7), replica("pod-8"), running(7)
	other.UID, old.UID, obj.UID = "7", "8", "8"
	obj.Name, obj.Status.PodIP = old.Name, "10.0.0.8"
	col.put(&Entry{Key: "/registry/pods/default/pod-7", Revision: 7, Object: other})
	before := obj.DeepCopy()
	col.Share(obj, old)
	if d := cmp.Diff(before, obj); d != "" {
		t.Error("sharing changed", d)
	}
	if &obj.Status.Conditions[0] != &other.Status.Conditions[0] || &obj.Spec.Containers[0] != &old.Spec.Containers[0] {
		t.Error("what equals one of two lies elsewhere")
	}
}

func TestListsTakeNoMoreThanTheyNeed(t *testing.T) {
	like, obj := replica("one"), replica("two")
	for _, kind := range []corev1.PodConditionType{"A", "B", "C", "D", "E"} {
		obj.Status.Conditions = append(obj.Status.Conditions, corev1.PodCondition{Type: kind})
	}
	share(obj, like, nil)
	if n, room := len(obj.Status.Conditions), cap(obj.Status.Conditions); n != 5 || room != 5 {
		t.Errorf("%d conditions in room for %d", n, room)
	}
}

func TestFieldSetsAreBounded(t *testing.T) {
	s := fieldSets{now: map[string]*metav1.FieldsV1{}}
	often := &metav1.FieldsV1{Raw: []byte("often")}
	for i := range 10 * mostFieldSets {
		s.fields(&metav1.FieldsV1{Raw: fmt.Appendf(nil, "%d", i)})
		if got := s.fields(&metav1.FieldsV1{Raw: []byte("often")}); i == 0 {
			often = got
		} else if got != often {
			t.Fatal("what is met often was forgotten")
		}
	}
	if n := len(s.now) + len(s.before); n > 2*mostFieldSets+1 {
		t.Errorf("%d are remembered", n)
	}
}

func BenchmarkShare(b *testing.B) {
	like := replica("one")
	for b.Loop() {
		b.StopTimer()
		obj := replica("two")
		b.StartTimer()
		share(obj, like, nil)
	}
}

// BenchmarkShareOfTwo is for a version with another status, as it was reported of the one beside it.
func BenchmarkShareOfTwo(b *testing.B) {
	like, other := replica("one"), running(1)
	for b.Loop() {
		b.StopTimer()
		obj := running(1)
		obj.Name = like.Name
		b.StartTimer()
		share(obj, like, other)
	}
}

// BenchmarkPodInMemory reports how many bytes a running pod of a ReplicaSet takes, with and without those like it.
func BenchmarkPodInMemory(b *testing.B) {
	const n = 5000
	for name, shares := range map[string]bool{"alone": false, "shared": true} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				col := newCollection(pods, nil)
				kept := make([]*Entry, 0, n)
				before := heapInUse()
				for i := range n {
					obj, _, err := pods.DecodeStored(must(pods.EncodeStored(running(i))))
					if err != nil {
						b.Fatal(err)
					}
					kept = append(kept, &Entry{Object: obj})
					if shares {
						col.join(kept[i])
					}
				}
				b.ReportMetric(float64(heapInUse()-before)/n, "B/pod")
				runtime.KeepAlive(kept)
			}
		})
	}
}

func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func running(i int) *corev1.Pod {
	p := replica(fmt.Sprint("pod-", i))
	at := metav1.Unix(int64(i), 0)
	for _, manager := range []string{"controller", "scheduler", "agent"} {
		p.ManagedFields = append(p.ManagedFields, metav1.ManagedFieldsEntry{
			Manager: manager, Operation: "Update", APIVersion: "v1", Time: &at, FieldsType: "FieldsV1",
			FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:resources":{".":{},"f:requests":{}}}}}}`)},
		})
	}
	for _, kind := range []corev1.PodConditionType{"Initialized", "Ready", "ContainersReady", "PodScheduled"} {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: kind, Status: "True", LastTransitionTime: at})
	}
	p.Status.Phase, p.Status.PodIP = corev1.PodRunning, fmt.Sprint("10.0.0.", i)
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", Ready: true, Image: "img:1", ContainerID: fmt.Sprint("containerd://", i)}}
	return p
}
