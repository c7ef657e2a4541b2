package apiserver

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/all"
)

// benchPod is a pod as a Deployment makes it, defaults filled in.
func benchPod() *corev1.Pod {
	yes := true
	grace, seconds := int64(30), int64(300)
	probe := &corev1.Probe{
		ProbeHandler:   corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt32(8080), Scheme: "HTTP"}},
		TimeoutSeconds: 1, PeriodSeconds: 10, SuccessThreshold: 1, FailureThreshold: 3,
	}
	return &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "web-5d7c9f7b8c-x2x9z", GenerateName: "web-5d7c9f7b8c-", Namespace: "default", UID: "1",
			Labels:          map[string]string{"app": "web", "pod-template-hash": "5d7c9f7b8c"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-5d7c9f7b8c", UID: "7", Controller: &yes, BlockOwnerDeletion: &yes}},
		},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{
				Name: "web", Image: "gantry.local/demo:1", ImagePullPolicy: "IfNotPresent", ReadinessProbe: probe,
				Ports:                  []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: "TCP"}},
				Env:                    []corev1.EnvVar{{Name: "A", Value: "b"}, {Name: "C", Value: "d"}},
				TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: "File",
				VolumeMounts: []corev1.VolumeMount{{Name: "token", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true}},
			}},
			Volumes:       []corev1.Volume{{Name: "token", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
			RestartPolicy: "Always", DNSPolicy: "ClusterFirst", SchedulerName: "default-scheduler", ServiceAccountName: "default",
			DeprecatedServiceAccount: "default", EnableServiceLinks: &yes, TerminationGracePeriodSeconds: &grace, SecurityContext: &corev1.PodSecurityContext{},
			Tolerations: []corev1.Toleration{
				{Key: "node.kubernetes.io/not-ready", Operator: "Exists", Effect: "NoExecute", TolerationSeconds: &seconds},
				{Key: "node.kubernetes.io/unreachable", Operator: "Exists", Effect: "NoExecute", TolerationSeconds: &seconds},
			},
		},
		Status: corev1.PodStatus{Phase: "Pending", QOSClass: "BestEffort"},
	}
}

func runningStatus(p *corev1.Pod) {
	p.Status.Phase, p.Status.PodIP, p.Status.HostIP = corev1.PodRunning, "10.0.0.7", "10.0.0.1"
	p.Status.PodIPs, p.Status.HostIPs = []corev1.PodIP{{IP: "10.0.0.7"}}, []corev1.HostIP{{IP: "10.0.0.1"}}
	for _, t := range []corev1.PodConditionType{"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"} {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: t, Status: "True", LastTransitionTime: metav1.Now()})
	}
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: "web", Ready: true, Image: "gantry.local/demo:1", ImageID: "sha256:1", ContainerID: "containerd://1",
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
	}}
}

func BenchmarkTrack(b *testing.B) {
	s := &Server{Registry: all.Kinds()}
	s.managed.init(s.Registry)
	r := s.Registry.Resource(corev1.SchemeGroupVersion.WithResource("pods"))
	created := benchPod()
	if err := s.track(&api.Request{Resource: r, Manager: "gantry"}, created, nil); err != nil {
		b.Fatal(err)
	}
	b.Run("create", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p := *created
			p.ManagedFields = nil
			_ = s.track(&api.Request{Resource: r, Manager: "gantry"}, &p, nil)
		}
	})
	running := *created
	runningStatus(&running)
	b.Run("status", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p := running
			p.ManagedFields = append([]metav1.ManagedFieldsEntry(nil), created.ManagedFields...)
			_ = s.track(&api.Request{Resource: r, Manager: "agent", Subresource: "status"}, &p, created)
		}
	})
	b.Run("update", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p := running
			p.ManagedFields = append([]metav1.ManagedFieldsEntry(nil), created.ManagedFields...)
			p.Labels = map[string]string{"app": "web", "pod-template-hash": "5d7c9f7b8c", "x": "y"}
			_ = s.track(&api.Request{Resource: r, Manager: "kubectl"}, &p, &running)
		}
	})
}
