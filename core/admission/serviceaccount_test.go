package admission

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAccessToTheAPI(t *testing.T) {
	account := func(name string, mount *bool) *corev1.ServiceAccount {
		return &corev1.ServiceAccount{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "a"}, AutomountServiceAccountToken: mount,
			ImagePullSecrets: []corev1.LocalObjectReference{{Name: "registry"}},
		}
	}
	p := ServiceAccount{reader(t, account("robot", nil), account("shy", new(false)))}
	pod := func(name string, change func(s *corev1.PodSpec)) *corev1.Pod {
		out := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a"}, Spec: corev1.PodSpec{
			ServiceAccountName: name, InitContainers: []corev1.Container{{Name: "i"}},
			Containers: []corev1.Container{{Name: "c"}, {Name: "own", VolumeMounts: []corev1.VolumeMount{{Name: "x", MountPath: accessPath}}}},
		}}
		if change != nil {
			change(&out.Spec)
		}
		return out
	}
	for _, test := range []struct {
		name                      string
		pod                       *corev1.Pod
		volumes, mounts, withInit int
		secrets                   int
	}{
		{"a known account", pod("robot", nil), 1, 1, 1, 1},
		{"the default of a new namespace", pod("", nil), 1, 1, 1, 0},
		{"an account that says no", pod("shy", nil), 0, 0, 0, 1},
		{"a pod that says yes", pod("shy", func(s *corev1.PodSpec) { s.AutomountServiceAccountToken = new(true) }), 1, 1, 1, 1},
		{"a pod that says no", pod("robot", func(s *corev1.PodSpec) { s.AutomountServiceAccountToken = new(false) }), 0, 0, 0, 1},
		{"a pod with its own secrets", pod("robot", func(s *corev1.PodSpec) {
			s.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "a"}, {Name: "b"}}
		}), 1, 1, 1, 2},
		{"a pod that has the volume", pod("robot", func(s *corev1.PodSpec) { s.Volumes = []corev1.Volume{{Name: accessVolume + "abcde"}} }), 1, 1, 1, 1},
		{"nobody wants it", pod("robot", func(s *corev1.PodSpec) { s.InitContainers, s.Containers = nil, s.Containers[1:] }), 0, 1, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := attributes(Create, nil, test.pod, nil)
			a.Namespace = "a"
			refused(t, "admit", p.Admit(t.Context(), a), 0, "")
			s := &test.pod.Spec
			init := 0
			if len(s.InitContainers) > 0 {
				init = len(s.InitContainers[0].VolumeMounts)
			}
			if len(s.Volumes) != test.volumes || len(s.Containers[0].VolumeMounts) != test.mounts || init != test.withInit || len(s.ImagePullSecrets) != test.secrets {
				t.Errorf("got %+v", s)
			}
			if test.volumes > 0 && !strings.HasPrefix(s.Volumes[0].Name, accessVolume) {
				t.Errorf("volume %q", s.Volumes[0].Name)
			}
		})
	}
	a := attributes(Create, nil, pod("nobody", nil), nil)
	a.Namespace = "a"
	refused(t, "an unknown account", p.Admit(t.Context(), a), 403, `serviceaccount "nobody" not found`)
}
