package apiserver_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
)

// TestLongListsAreWhole reads lists that are sent in pieces, as short ones are not, with upstream's decoders.
func TestLongListsAreWhole(t *testing.T) {
	for _, sizes := range [][]int{{1, 2}, {30 << 10, 30 << 10, 30 << 10, 1}, {64 << 10, 200 << 10}} {
		ns := shared.namespace(t)
		maps := shared.typed(t).CoreV1().ConfigMaps(ns)
		var want []corev1.ConfigMap
		for i, size := range sizes {
			in := configMap(fmt.Sprintf("m%d", i), "k", strings.Repeat("é", size/2))
			made := must(maps.Create(t.Context(), in, metav1.CreateOptions{}))(t)
			want = append(want, *made)
		}
		for format, decoder := range map[string]runtime.Decoder{
			"application/json":                    json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, json.SerializerOptions{Strict: true}),
			"application/vnd.kubernetes.protobuf": protobuf.NewSerializer(scheme.Scheme, scheme.Scheme),
			"application/cbor":                    cbor.NewSerializer(scheme.Scheme, scheme.Scheme),
			"application/yaml":                    json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, json.SerializerOptions{Yaml: true, Strict: true}),
		} {
			answer := shared.request(t, "GET", "/api/v1/namespaces/"+ns+"/configmaps?labelSelector="+"!none", "", "Accept", format)
			if length := answer.Header.Get("Content-Length"); length != strconv.Itoa(len(answer.Body)) {
				t.Errorf("%s of %v: the length is %s, want %d", format, sizes, length, len(answer.Body))
			}
			var got corev1.ConfigMapList
			if _, _, err := decoder.Decode(answer.Body, nil, &got); err != nil {
				t.Errorf("%s of %v: %v", format, sizes, err)
				continue
			}
			var items []corev1.ConfigMap
			for _, cm := range got.Items {
				if cm.Name != "kube-root-ca.crt" {
					cm.TypeMeta = metav1.TypeMeta{}
					items = append(items, cm)
				}
			}
			if diff := cmp.Diff(want, items); diff != "" || got.ResourceVersion == "" || got.Kind != "ConfigMapList" {
				t.Errorf("%s of %v: %s %s %s", format, sizes, got.Kind, got.ResourceVersion, diff)
			}
		}
	}
}
