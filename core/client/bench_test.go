package client_test

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// BenchmarkListOfNothing is what most controllers do with every event of a pod.
func BenchmarkListOfNothing(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		var list appsv1.StatefulSetList
		if err := api.List(b.Context(), &list, client.InNamespace("default")); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNone is [BenchmarkListOfNothing] for who does not have to wait.
func BenchmarkNone(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		var list appsv1.StatefulSetList
		if !api.None(&list, "default") {
			b.Fatal("there are some")
		}
	}
}

// BenchmarkListOfNothingByIndex is what the controller of EndpointSlices does for each label of a pod.
func BenchmarkListOfNothingByIndex(b *testing.B) {
	if err := local.IndexField(b.Context(), &corev1.Service{}, "bench", func(client.Object) []string { return nil }); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var list corev1.ServiceList
		if err := api.List(b.Context(), &list, client.InNamespace("default"), client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("bench", "a")}); err != nil {
			b.Fatal(err)
		}
	}
}
