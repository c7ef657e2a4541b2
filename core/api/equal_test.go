package api

import (
	"math/rand"
	"reflect"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/randfill"
)

// Objects count as equal when they do for the library: copies, copies that differ somewhere, and such whose difference does not count.
func TestEqual(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	fill := randfill.New().RandSource(random).NilChance(.4).NumElements(0, 2).MaxDepth(12).Funcs(
		func(q *resource.Quantity, c randfill.Continue) {
			*q = resource.MustParse([]string{"1", "1000m", "0", "1Gi"}[c.Intn(4)])
		},
		func(at *metav1.Time, c randfill.Continue) {
			*at = metav1.NewTime(time.Unix(c.Int63n(2), c.Int63n(2)))
		},
		func(e *runtime.RawExtension, _ randfill.Continue) { e.Raw = []byte("{}") },
		func(s *string, c randfill.Continue) { *s = []string{"", "a", "b"}[c.Intn(3)] },
	)
	equal, different := 0, 0
	for _, like := range []runtime.Object{&corev1.Pod{}, &corev1.Node{}, &appsv1.Deployment{}, &autoscalingv2.HorizontalPodAutoscaler{}, &networkingv1.Ingress{}, &corev1.ConfigMap{}} {
		for range 400 {
			a := reflect.New(reflect.TypeOf(like).Elem()).Interface().(runtime.Object)
			fill.Fill(a)
			b := a.DeepCopyObject()
			alter(random, fill, reflect.ValueOf(b).Elem())
			want, got := semantic.general.DeepEqual(a, b), Equal(a, b)
			if wantStored, gotStored := inStore.general.DeepEqual(a, b), EqualInStore(a, b); want != got || wantStored != gotStored {
				t.Fatalf("equal %v and in store %v, want %v and %v:\n%v\n%v", got, gotStored, want, wantStored, a, b)
			}
			if want {
				equal++
			} else {
				different++
			}
		}
	}
	if equal < 100 || different < 100 {
		t.Errorf("%d pairs were equal and %d were not", equal, different)
	}
}

// alter changes hardly anything.
func alter(random *rand.Rand, fill *randfill.Filler, v reflect.Value) {
	switch {
	case v.CanAddr() && random.Intn(300) == 0:
		fill.Fill(v.Addr().Interface())
	case v.Kind() == reflect.Slice && v.IsNil() && random.Intn(2) == 0:
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			alter(random, fill, v.Index(i))
		}
	case v.Kind() == reflect.Pointer && !v.IsNil():
		alter(random, fill, v.Elem())
	case v.Type() == reflect.TypeFor[metav1.Time]() || v.Type() == reflect.TypeFor[resource.Quantity]():
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				alter(random, fill, v.Field(i))
			}
		}
	}
}

func BenchmarkEqual(b *testing.B) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: make([]corev1.Container, 3), Volumes: make([]corev1.Volume, 2)}}
	for i := range pod.Spec.Containers {
		pod.Spec.Containers[i].Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse("1"), "memory": resource.MustParse("1Gi")}
	}
	other := pod.DeepCopy()
	b.Run("own", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Equal(pod, other)
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			semantic.general.DeepEqual(pod, other)
		}
	})
}
