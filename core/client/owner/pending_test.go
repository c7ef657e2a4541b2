package owner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

var (
	errLost = errors.New("connection reset")
	key     = types.NamespacedName{Namespace: "default", Name: "web"}
)

// deaf is an API whose answers to writes get lost; do says whether the writes happen.
func deaf(do bool, objs ...client.Object) client.WithWatch {
	return fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(objs...).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			if do {
				_ = c.Create(ctx, obj, opts...)
			}
			return errLost
		},
		Delete: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
			if do {
				_ = c.Delete(ctx, obj, opts...)
			}
			return errLost
		},
	}).Build()
}

func newPod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: name, GenerateName: "web-", UID: types.UID(name),
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: "set", Controller: new(true)}},
	}}
}

// A create whose answer was lost is waited for when it took place, and only then.
func TestLostAnswerToCreate(t *testing.T) {
	for _, happened := range []bool{true, false} {
		t.Run(fmt.Sprint("happened=", happened), func(t *testing.T) {
			var p Pending
			api := deaf(happened)
			if err := p.Create(t.Context(), api, key, newPod("")); !errors.Is(err, errLost) {
				t.Fatalf("error is %v", err)
			}
			if _, settled, err := p.Apply(t.Context(), api, key, nil); settled == happened || err != nil {
				t.Errorf("settled is %v (%v)", settled, err)
			}
			var pods corev1.PodList
			if err := api.List(t.Context(), &pods); err != nil {
				t.Fatal(err)
			}
			var listed []*corev1.Pod
			for i := range pods.Items {
				listed = append(listed, &pods.Items[i])
			}
			if got, settled, err := p.Apply(t.Context(), api, key, listed); !settled || err != nil || len(got) != len(listed) {
				t.Errorf("once it is listed, settled is %v (%v) with %d pods", settled, err, len(got))
			}
		})
	}
}

// A pod whose deletion was not answered counts as deleted when it truly is, and only then.
func TestLostAnswerToDelete(t *testing.T) {
	for _, happened := range []bool{true, false} {
		t.Run(fmt.Sprint("happened=", happened), func(t *testing.T) {
			var p Pending
			pod := newPod("web-1")
			api := deaf(happened, pod)
			if err := p.Delete(t.Context(), api, key, pod); !errors.Is(err, errLost) {
				t.Fatalf("error is %v", err)
			}
			kept, settled, err := p.Apply(t.Context(), api, key, []*corev1.Pod{pod}) // a list that lags
			if !settled || err != nil || (len(kept) == 0) != happened {
				t.Errorf("settled is %v (%v) with %d pods", settled, err, len(kept))
			}
		})
	}
}

func TestCreateTriesOtherNames(t *testing.T) {
	taken := 0
	api := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			if taken++; taken < 3 {
				return apierrors.NewAlreadyExists(schema.GroupResource{Resource: "pods"}, obj.GetName())
			}
			return c.Create(ctx, obj, opts...)
		},
	}).Build()
	var p Pending
	pod := newPod("")
	pod.GenerateName = strings.Repeat("x", 70) + "-"
	if err := p.Create(t.Context(), api, key, pod); err != nil || len(pod.Name) != 63 {
		t.Errorf("name is %q (%v)", pod.Name, err)
	}
}

func TestRefused(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	for _, test := range []struct {
		err  error
		want bool
	}{
		{apierrors.NewForbidden(pods, "a", nil), true},
		{fmt.Errorf("create: %w", apierrors.NewConflict(pods, "a", errLost)), true},
		{apierrors.NewTimeoutError("", 1), false},
		{apierrors.NewInternalError(errLost), false},
		{errLost, false},
		{context.DeadlineExceeded, false},
	} {
		if got := Refused(test.err); got != test.want {
			t.Errorf("%v: %v", test.err, got)
		}
	}
}
