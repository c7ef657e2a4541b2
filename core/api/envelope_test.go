package api

import (
	"bytes"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func TestEnvelopeAround(t *testing.T) {
	for _, size := range []int{0, 1, 127, 128, 70_000} {
		raw := bytes.Repeat([]byte{'x'}, size)
		u := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: "PodList"}}
		before, after := EnvelopeAround(&u, size)
		got := append(append(before, raw...), after...)
		if want := Envelope(&u, raw); !bytes.Equal(got, want) {
			t.Errorf("around %d bytes: %q, want %q", size, got[:min(60, len(got))], want[:min(60, len(want))])
		}
	}
}

func TestEnveloped(t *testing.T) {
	for _, size := range []int{0, 1, 100, 70_000} {
		obj := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Data: map[string]string{"k": string(bytes.Repeat([]byte{'x'}, size))}}
		u := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}}
		got, err := enveloped(&u, obj)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := MarshalProtobuf(obj)
		if err != nil {
			t.Fatal(err)
		}
		if want := Envelope(&u, raw); !bytes.Equal(got, want) {
			t.Errorf("with %d bytes: %q, want %q", size, got[:min(60, len(got))], want[:min(60, len(want))])
		}
		version, message, err := opened(got[len(ProtobufPrefix):])
		if err != nil || version != "v1" || !bytes.Equal(message, raw) {
			t.Errorf("with %d bytes: opened %q and %d bytes, %v", size, version, len(message), err)
		}
	}
}

// What is in an envelope is what the library finds in it, also when its fields come in another order or are others.
func FuzzOpened(f *testing.F) {
	whole := Envelope(&runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ContentEncoding: "gzip"}, []byte("raw"))
	f.Add(whole[len(ProtobufPrefix):])
	f.Add([]byte("\x12\x03raw\x0a\x04\x0a\x02v1\x28\x07"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var u runtime.Unknown
		if u.Unmarshal(data) != nil {
			return // what is read beyond that is unreadable as an object
		}
		version, message, err := opened(data)
		if err != nil || version != u.APIVersion || !bytes.Equal(message, u.Raw) {
			t.Errorf("%q: opened %q and %q, %v; want %q and %q", data, version, message, err, u.APIVersion, u.Raw)
		}
	})
}
