package apiserver_test

import (
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
)

func deployment(name string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod("").Spec},
		},
	}
}

func TestUpdatesCompareVersions(t *testing.T) {
	ns := shared.namespace(t)
	maps := shared.typed(t).CoreV1().ConfigMaps(ns)
	first := must(maps.Create(t.Context(), configMap("a", "k", "1"), metav1.CreateOptions{}))(t)
	second := first.DeepCopy()
	second.Data["k"] = "2"
	second = must(maps.Update(t.Context(), second, metav1.UpdateOptions{}))(t)

	stale := first.DeepCopy()
	stale.Data["k"] = "3"
	_, err := maps.Update(t.Context(), stale, metav1.UpdateOptions{})
	wantStatus(t, err, 409, metav1.StatusReasonConflict,
		`Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again`)

	stale.ResourceVersion = ""
	third := must(maps.Update(t.Context(), stale, metav1.UpdateOptions{}))(t)
	if third.Data["k"] != "3" || third.UID != first.UID || !third.CreationTimestamp.Equal(&first.CreationTimestamp) || third.ResourceVersion == second.ResourceVersion {
		t.Errorf("unconditional update: %+v", third)
	}
	same := must(maps.Update(t.Context(), third.DeepCopy(), metav1.UpdateOptions{}))(t)
	if same.ResourceVersion != third.ResourceVersion {
		t.Errorf("an update that changes nothing was written: %s, was %s", same.ResourceVersion, third.ResourceVersion)
	}
	other := third.DeepCopy()
	other.UID = "another"
	_, err = maps.Update(t.Context(), other, metav1.UpdateOptions{})
	wantStatus(t, err, 409, metav1.StatusReasonConflict, "Precondition failed: UID in precondition: another")

	_, err = maps.Update(t.Context(), configMap("absent"), metav1.UpdateOptions{})
	wantStatus(t, err, 404, metav1.StatusReasonNotFound, `configmaps "absent" not found`)

	dry := third.DeepCopy()
	dry.Data["k"] = "dry"
	if got := must(maps.Update(t.Context(), dry, metav1.UpdateOptions{DryRun: []string{"All"}}))(t); got.Data["k"] != "dry" {
		t.Errorf("dry run answered %v", got.Data)
	}
	if got := must(maps.Get(t.Context(), "a", metav1.GetOptions{}))(t); got.Data["k"] != "3" {
		t.Errorf("dry run wrote %v", got.Data)
	}
}

func TestANameOfAnotherURLIsRefused(t *testing.T) {
	ns := shared.namespace(t)
	got := shared.request(t, "PUT", "/api/v1/namespaces/"+ns+"/configmaps/a", `{"metadata":{"name":"b"}}`).status(t)
	if got.Code != 400 || got.Message != "the name of the object (b) does not match the name on the URL (a)" {
		t.Errorf("got %d %s", got.Code, got.Message)
	}
}

func TestConflictingWritersAllGetThrough(t *testing.T) {
	ns := shared.namespace(t)
	maps := shared.typed(t).CoreV1().ConfigMaps(ns)
	must(maps.Create(t.Context(), configMap("a"), metav1.CreateOptions{}))(t)
	const writers = 8
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
				cm, err := maps.Get(t.Context(), "a", metav1.GetOptions{})
				if err != nil {
					return err
				}
				if cm.Data == nil {
					cm.Data = map[string]string{}
				}
				cm.Data[string(rune('a'+i))] = "x"
				_, err = maps.Update(t.Context(), cm, metav1.UpdateOptions{})
				return err
			})
			if err != nil && !apierrors.IsConflict(err) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// Writers that try the same change at once must all be answered: one writes, the others find it done.
func TestEqualWritesAtOnceAreAllAnswered(t *testing.T) {
	ns := shared.namespace(t)
	api := shared.typed(t).CoreV1()
	for range 20 {
		must(api.Pods(ns).Create(t.Context(), pod("a"), metav1.CreateOptions{}))(t)
		must(struct{}{}, api.Pods(ns).Bind(t.Context(), &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: "a"}, Target: corev1.ObjectReference{Name: "node"},
		}, metav1.CreateOptions{}))(t)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := api.Pods(ns).Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		now := int64(0)
		must(struct{}{}, api.Pods(ns).Delete(t.Context(), "a", metav1.DeleteOptions{GracePeriodSeconds: &now}))(t)
	}
}

func TestSpecAndStatusAreSeparate(t *testing.T) {
	ns := shared.namespace(t)
	apps := shared.typed(t).AppsV1().Deployments(ns)
	in := deployment("d", 2)
	in.Status.Replicas = 9
	made := must(apps.Create(t.Context(), in, metav1.CreateOptions{}))(t)
	if made.Status.Replicas != 0 || made.Generation != 1 {
		t.Errorf("created with status %+v, generation %d", made.Status, made.Generation)
	}
	both := made.DeepCopy()
	both.Spec.Replicas = new(int32(5))
	both.Status.Replicas = 7
	both.Labels = map[string]string{"l": "1"}
	spec := must(apps.Update(t.Context(), both, metav1.UpdateOptions{}))(t)
	if *spec.Spec.Replicas != 5 || spec.Status.Replicas != 0 || spec.Generation != 2 || spec.Labels["l"] != "1" {
		t.Errorf("update: replicas %d, status %+v, generation %d", *spec.Spec.Replicas, spec.Status, spec.Generation)
	}
	both = spec.DeepCopy()
	both.Spec.Replicas = new(int32(1))
	both.Status.Replicas = 7
	both.Labels = nil
	status := must(apps.UpdateStatus(t.Context(), both, metav1.UpdateOptions{FieldManager: "controller"}))(t)
	if *status.Spec.Replicas != 5 || status.Status.Replicas != 7 || status.Generation != 2 || status.Labels["l"] != "1" {
		t.Errorf("status update: %+v", status)
	}
	for _, m := range status.ManagedFields {
		if want := map[bool]string{true: "status", false: ""}[m.Manager == "controller"]; m.Subresource != want {
			t.Errorf("manager %s of subresource %q, want %q", m.Manager, m.Subresource, want)
		}
	}
	labelled := status.DeepCopy()
	labelled.Labels["l"] = "2"
	if got := must(apps.Update(t.Context(), labelled, metav1.UpdateOptions{}))(t); got.Generation != 2 || got.Status.Replicas != 7 {
		t.Errorf("a label counted: generation %d, status %+v", got.Generation, got.Status)
	}
	if got := must(apps.Get(t.Context(), "d", metav1.GetOptions{}))(t); got.Status.Replicas != 7 {
		t.Errorf("read %+v", got.Status)
	}
}

func TestScale(t *testing.T) {
	ns := shared.namespace(t)
	apps := shared.typed(t).AppsV1().Deployments(ns)
	must(apps.Create(t.Context(), deployment("d", 2), metav1.CreateOptions{}))(t)
	scale := must(apps.GetScale(t.Context(), "d", metav1.GetOptions{}))(t)
	if scale.Spec.Replicas != 2 || scale.Status.Selector != "app=d" || scale.ResourceVersion == "" {
		t.Errorf("scale %+v", scale)
	}
	up := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: "d", Namespace: ns}, Spec: autoscalingv1.ScaleSpec{Replicas: 6}}
	if got := must(apps.UpdateScale(t.Context(), "d", up, metav1.UpdateOptions{}))(t); got.Spec.Replicas != 6 {
		t.Errorf("scaled to %d", got.Spec.Replicas)
	}
	scale.Spec.Replicas = 9
	_, err := apps.UpdateScale(t.Context(), "d", scale, metav1.UpdateOptions{})
	wantStatus(t, err, 409, metav1.StatusReasonConflict, "the object has been modified")
	up.Spec.Replicas = -1
	_, err = apps.UpdateScale(t.Context(), "d", up, metav1.UpdateOptions{})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, "spec.replicas: Invalid value: -1: must be greater than or equal to 0")
	d := must(apps.Patch(t.Context(), "d", "application/merge-patch+json", []byte(`{"spec":{"replicas":3}}`), metav1.PatchOptions{}, "scale"))(t)
	_ = d
	if got := must(apps.Get(t.Context(), "d", metav1.GetOptions{}))(t); *got.Spec.Replicas != 3 || got.Generation != 3 {
		t.Errorf("after the patch: %d replicas, generation %d", *got.Spec.Replicas, got.Generation)
	}
	_, err = apps.GetScale(t.Context(), "none", metav1.GetOptions{})
	wantStatus(t, err, 404, metav1.StatusReasonNotFound, `deployments.apps "none" not found`)
}

func TestBinding(t *testing.T) {
	ns := shared.namespace(t)
	pods := shared.typed(t).CoreV1().Pods(ns)
	made := must(pods.Create(t.Context(), pod("p"), metav1.CreateOptions{}))(t)
	bind := func(b corev1.Binding) error { return pods.Bind(t.Context(), &b, metav1.CreateOptions{}) }
	to := corev1.ObjectReference{Kind: "Node", Name: "n1"}
	wantStatus(t, bind(corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "other"}, Target: to}), 409, metav1.StatusReasonConflict, "UID in precondition: other")
	wantStatus(t, bind(corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "p"}}), 422, metav1.StatusReasonInvalid, "target.name: Required value")
	wantStatus(t, bind(corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "none"}, Target: to}), 404, metav1.StatusReasonNotFound, `pods "none" not found`)
	if err := bind(corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: made.UID, Annotations: map[string]string{"a": "b"}}, Target: to}); err != nil {
		t.Fatal(err)
	}
	got := must(pods.Get(t.Context(), "p", metav1.GetOptions{}))(t)
	if got.Spec.NodeName != "n1" || got.Annotations["a"] != "b" || got.Generation != made.Generation ||
		len(got.Status.Conditions) != 1 || got.Status.Conditions[0].Type != corev1.PodScheduled {
		t.Errorf("bound: %+v %+v", got.Spec.NodeName, got.Status.Conditions)
	}
	wantStatus(t, bind(corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Target: to}), 409, metav1.StatusReasonConflict, `pod p is already assigned to node "n1"`)
}

func TestFinalizeOfANamespace(t *testing.T) {
	ns := shared.namespace(t)
	api := shared.typed(t).CoreV1().Namespaces()
	have := must(api.Get(t.Context(), ns, metav1.GetOptions{}))(t)
	if len(have.Spec.Finalizers) != 1 || have.Spec.Finalizers[0] != corev1.FinalizerKubernetes {
		t.Fatalf("finalizers of a new namespace: %v", have.Spec.Finalizers)
	}
	plain := have.DeepCopy()
	plain.Spec.Finalizers = nil
	if got := must(api.Update(t.Context(), plain, metav1.UpdateOptions{}))(t); len(got.Spec.Finalizers) != 1 {
		t.Errorf("an update took the finalizers: %v", got.Spec.Finalizers)
	}
	wrong := have.DeepCopy()
	wrong.Spec.Finalizers = append(wrong.Spec.Finalizers, "nobody")
	_, err := api.Finalize(t.Context(), wrong, metav1.UpdateOptions{})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, "spec.finalizers[1]: Invalid value")
	if err := api.Delete(t.Context(), ns, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	last := must(api.Get(t.Context(), ns, metav1.GetOptions{}))(t)
	last.Spec.Finalizers = nil
	last.Status = corev1.NamespaceStatus{Phase: corev1.NamespaceActive}
	got := must(api.Finalize(t.Context(), last, metav1.UpdateOptions{}))(t)
	if len(got.Spec.Finalizers) != 0 || got.Status.Phase != corev1.NamespaceTerminating {
		t.Errorf("finalized: %+v %+v", got.Spec, got.Status)
	}
	_, err = api.Get(t.Context(), ns, metav1.GetOptions{})
	wantStatus(t, err, 404, metav1.StatusReasonNotFound, "namespaces")
}

func TestKindsThatAPutMayCreate(t *testing.T) {
	ns := shared.namespace(t)
	got := shared.request(t, "PUT", "/apis/coordination.k8s.io/v1/namespaces/"+ns+"/leases/l", `{"metadata":{"name":"l"}}`)
	if got.Code != 201 {
		t.Errorf("lease: %d %s", got.Code, got.Body)
	}
	leases := shared.typed(t).CoordinationV1().Leases(ns)
	lease := must(leases.Get(t.Context(), "l", metav1.GetOptions{}))(t)
	lease.Spec.HolderIdentity = new("me")
	must[*coordinationv1.Lease](leases.Update(t.Context(), lease, metav1.UpdateOptions{}))(t)
	lease.ResourceVersion = ""
	_, err := leases.Update(t.Context(), lease, metav1.UpdateOptions{})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, "metadata.resourceVersion: Invalid value")
}
