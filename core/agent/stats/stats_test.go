package stats

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// What was measured comes with when it began, as far as the pod's status tells: rates of fresh containers need it.
func TestStartTimes(t *testing.T) {
	at := func(seconds int64) metav1.Time { return metav1.NewTime(time.Unix(1_700_000_000+seconds, 0)) }
	container := func(name string) *runtimeapi.ContainerStats {
		return &runtimeapi.ContainerStats{
			Attributes: &runtimeapi.ContainerAttributes{Metadata: &runtimeapi.ContainerMetadata{Name: name}},
			Cpu:        &runtimeapi.CpuUsage{UsageCoreNanoSeconds: &runtimeapi.UInt64Value{Value: 7}},
		}
	}
	sandbox := &runtimeapi.PodSandboxStats{
		Attributes: &runtimeapi.PodSandboxAttributes{Metadata: &runtimeapi.PodSandboxMetadata{Name: "web", Namespace: "default", Uid: "1"}},
		Linux:      &runtimeapi.LinuxPodSandboxStats{Containers: []*runtimeapi.ContainerStats{container("main"), container("side"), container("ended"), {}}},
	}
	running := func(name string, start metav1.Time) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: start}}}
	}
	begun := at(1)
	pod := &corev1.Pod{Status: corev1.PodStatus{
		StartTime: &begun, ContainerStatuses: []corev1.ContainerStatus{running("main", at(3)), {Name: "ended"}},
		InitContainerStatuses: []corev1.ContainerStatus{running("side", at(2))},
	}}
	for _, tc := range []struct {
		name string
		pod  *corev1.Pod
		want map[string]metav1.Time
	}{
		{"known", pod, map[string]metav1.Time{"": begun, "main": at(3), "side": at(2), "ended": {}}},
		{"nobody's", nil, map[string]metav1.Time{"": {}, "main": {}, "side": {}, "ended": {}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out := Pod(sandbox, tc.pod)
			got := map[string]metav1.Time{"": out.StartTime}
			for _, c := range out.Containers {
				got[c.Name] = c.StartTime
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
