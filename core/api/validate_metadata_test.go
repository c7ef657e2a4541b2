package api

import (
	"math/rand"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// some is a random thing of those given, the first one mostly.
func some[T any](r *rand.Rand, all ...T) T {
	if r.Intn(4) > 0 {
		return all[0]
	}
	return all[r.Intn(len(all))]
}

func randomMetadata(r *rand.Rand) metav1.ObjectMeta {
	key := func(usual string) string { return some(r, append([]string{usual}, names...)...) }
	words := func(n int) map[string]string {
		out := map[string]string{}
		for range r.Intn(n) {
			out[key("app")] = key("web")
		}
		return out
	}
	m := metav1.ObjectMeta{
		Name: key("x"), GenerateName: some(r, "", "x-", "x", "-", "x.-", "X-"), Namespace: key("default"), Generation: some[int64](r, 1, 0, -1, 5), Labels: words(4), Annotations: words(3),
		ResourceVersion: some(r, "1", ""), UID: some[types.UID](r, "u", "v"), CreationTimestamp: metav1.Unix(some[int64](r, 1000, 1001), 0),
		DeletionTimestamp: some(r, nil, &metav1.Time{Time: time.Unix(2000, 0)}, &metav1.Time{Time: time.Unix(2001, 0)}), DeletionGracePeriodSeconds: some(r, nil, new(int64(1)), new(int64(2))),
	}
	if r.Intn(20) == 0 {
		m.Annotations["large"] = strings.Repeat("x", validation.TotalAnnotationSizeLimitB-r.Intn(20))
	}
	for range r.Intn(3) {
		m.OwnerReferences = append(m.OwnerReferences, metav1.OwnerReference{
			APIVersion: some(r, "apps/v1", "v1", "", "/", "a/", "/v1", "a/b/c"), Kind: some(r, "ReplicaSet", "Event", ""), Name: some(r, "x", ""), UID: some[types.UID](r, "u", ""),
			Controller: some(r, nil, new(true), new(false)),
		})
		m.Finalizers = append(m.Finalizers, key("example.com/f"))
		m.ManagedFields = append(m.ManagedFields, metav1.ManagedFieldsEntry{
			Manager:     some(r, "kubectl", "", "ä", "a\n", strings.Repeat("m", 128), strings.Repeat("m", 129)),
			Operation:   some(r, metav1.ManagedFieldsOperationApply, metav1.ManagedFieldsOperationUpdate, "", "x"),
			FieldsType:  some(r, "FieldsV1", "", "x"),
			Subresource: some(r, "", "status", strings.Repeat("s", 256), strings.Repeat("s", 257)),
		})
	}
	return m
}

// All metadata get the library's answer, and the plainly good ones without it.
func TestMetadata(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	quick, good := 0, 0
	same := func(what string, obj, old any, got, want field.ErrorList, plain bool) {
		t.Helper()
		if sorted(got) != sorted(want) {
			t.Fatalf("%s of\n%+v\n%+v:\n%v\nwant\n%v", what, obj, old, got, want)
		}
		if plain {
			quick++
		}
		if len(want) == 0 {
			good++
		}
	}
	for range 50_000 {
		obj, old := &corev1.ConfigMap{ObjectMeta: randomMetadata(r)}, &corev1.ConfigMap{ObjectMeta: randomMetadata(r)}
		kind := &Resource{Namespaced: r.Intn(4) > 0, ValidateName: ValidateSubdomain}
		if !kind.Namespaced {
			obj.Namespace = some(r, "", "default")
		}
		path := field.NewPath("metadata")
		same("create", obj.ObjectMeta, nil, kind.ValidateMetadata(obj), validation.ValidateObjectMetaAccessor(obj, kind.Namespaced, validation.NameIsDNSSubdomain, path),
			kind.goodPlace(obj) && goodMetadata(obj) && goodFinalizers(obj.Finalizers))
		same("update", obj.ObjectMeta, old.ObjectMeta, ValidateMetadataUpdate(obj, old), validation.ValidateObjectMetaAccessorUpdate(obj, old, path), keeps(obj, old) && goodMetadata(obj))
	}
	if t.Logf("%d good, %d without the library", good, quick); quick < good*3/4 {
		t.Errorf("%d of %d were left to the library", good-quick, good)
	}
}

// sorted are the errors in an order that does not go by that of maps.
func sorted(errs field.ErrorList) string {
	var out []string
	for _, e := range errs {
		out = append(out, reflect.TypeOf(e.BadValue).String()+e.Error())
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}
