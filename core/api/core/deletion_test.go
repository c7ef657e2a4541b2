package core

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestPodGrace(t *testing.T) {
	seconds := func(n int64) *int64 { return &n }
	running := corev1.Pod{Spec: corev1.PodSpec{NodeName: "a", TerminationGracePeriodSeconds: seconds(7)}}
	unbound, ended := running, running
	unbound.Spec.NodeName = ""
	ended.Status.Phase = corev1.PodSucceeded
	for _, tt := range []struct {
		name  string
		pod   corev1.Pod
		asked *int64
		want  int64
	}{
		{"the pod says", running, nil, 7},
		{"the caller says", running, seconds(3), 3},
		{"at once", running, seconds(0), 0},
		{"a negative period is the shortest", running, seconds(-1), 1},
		{"a pod without a node has nobody to stop it", unbound, seconds(3), 0},
		{"a pod that ended needs no stopping", ended, nil, 0},
		{"without a word it is half a minute", corev1.Pod{Spec: corev1.PodSpec{NodeName: "a"}}, nil, 30},
	} {
		if got := podGrace(&tt.pod, tt.asked); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}
