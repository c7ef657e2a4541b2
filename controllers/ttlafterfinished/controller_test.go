package ttlafterfinished

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

var ended = time.Unix(1000, 0)

func job(ttl *int32, condition batchv1.JobConditionType, status corev1.ConditionStatus) *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "pi", UID: "1"},
		Spec:       batchv1.JobSpec{TTLSecondsAfterFinished: ttl},
		Status:     batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: condition, Status: status, LastTransitionTime: metav1.NewTime(ended)}}},
	}
}

func TestReconcile(t *testing.T) {
	const yes = corev1.ConditionTrue
	for _, test := range []struct {
		name  string
		job   *batchv1.Job
		after time.Duration
		gone  bool
		wake  time.Duration
	}{
		{"no end", job(nil, batchv1.JobComplete, yes), time.Hour, false, 0},
		{"not finished", job(new(int32(10)), batchv1.JobComplete, corev1.ConditionFalse), time.Hour, false, 0},
		{"about to end", job(new(int32(10)), batchv1.JobSuccessCriteriaMet, yes), time.Hour, false, 0},
		{"kept for a while", job(new(int32(10)), batchv1.JobComplete, yes), 4 * time.Second, false, 6 * time.Second},
		{"over", job(new(int32(10)), batchv1.JobFailed, yes), 10 * time.Second, true, 0},
		{"at once", job(new(int32(0)), batchv1.JobComplete, yes), 0, true, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			api := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(test.job).Build()
			c := &Controller{Client: api, Clock: func() time.Time { return ended.Add(test.after) }}
			key := client.ObjectKeyFromObject(test.job)
			result, err := c.Reconcile(t.Context(), reconcile.Request{NamespacedName: key})
			if err != nil {
				t.Fatal(err)
			}
			if result.RequeueAfter != test.wake {
				t.Errorf("it wakes after %s, want %s", result.RequeueAfter, test.wake)
			}
			err = api.Get(t.Context(), key, &batchv1.Job{})
			if gone := apierrors.IsNotFound(err); gone != test.gone {
				t.Errorf("the job is gone: %v (%v), want %v", gone, err, test.gone)
			}
		})
	}
}

// A longer time that the cache does not show yet counts.
func TestLooksTwice(t *testing.T) {
	stale := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(job(new(int32(1)), batchv1.JobComplete, corev1.ConditionTrue)).Build()
	live := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(job(new(int32(60)), batchv1.JobComplete, corev1.ConditionTrue)).Build()
	c := &Controller{Client: stale, Live: live, Clock: func() time.Time { return ended.Add(20 * time.Second) }}
	result, err := c.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Namespace: "default", Name: "pi"}})
	if err != nil || result.RequeueAfter != 40*time.Second {
		t.Errorf("it wakes after %s (%v), want 40s", result.RequeueAfter, err)
	}
	if err := stale.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "pi"}, &batchv1.Job{}); err != nil {
		t.Error(err)
	}
}
