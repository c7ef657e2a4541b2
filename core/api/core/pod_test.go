package core

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestDefaultPod(t *testing.T) {
	p := simplePod()
	c := &p.Spec.Containers[0]
	c.Ports = []corev1.ContainerPort{{ContainerPort: 80}}
	c.Resources.Limits = corev1.ResourceList{"cpu": resource.MustParse("100u"), "memory": resource.MustParse("1Gi")}
	c.LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(80)}}}
	c.Env = []corev1.EnvVar{{Name: "IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}}}
	p.Spec.DeprecatedServiceAccount = "sa"
	p.Spec.HostNetwork = true
	p.Spec.Volumes = []corev1.Volume{
		{Name: "nothing"},
		{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}},
		{Name: "token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "t"}}},
		}}},
	}
	DefaultPod(p)
	limits := corev1.ResourceList{"cpu": resource.MustParse("1m"), "memory": resource.MustParse("1Gi")}
	want := corev1.PodSpec{
		DNSPolicy: "ClusterFirst", RestartPolicy: "Always", SchedulerName: "default-scheduler",
		SecurityContext: &corev1.PodSecurityContext{}, TerminationGracePeriodSeconds: new(int64(30)),
		ServiceAccountName: "sa", DeprecatedServiceAccount: "sa", EnableServiceLinks: new(true), HostNetwork: true,
		Volumes: []corev1.Volume{
			{Name: "nothing", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s", DefaultMode: new(int32(0o644))}}},
			{Name: "token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
				DefaultMode: new(int32(0o644)),
				Sources: []corev1.VolumeProjection{{
					ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "t", ExpirationSeconds: new(int64(3600))},
				}},
			}}},
		},
		Containers: []corev1.Container{{
			Name: "c", Image: "demo:1", ImagePullPolicy: "IfNotPresent",
			TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: "File",
			Ports:     []corev1.ContainerPort{{ContainerPort: 80, HostPort: 80, Protocol: "TCP"}},
			Resources: corev1.ResourceRequirements{Limits: limits, Requests: limits},
			Env: []corev1.EnvVar{{Name: "IP", ValueFrom: &corev1.EnvVarSource{
				FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "status.podIP"},
			}}},
			LivenessProbe: &corev1.Probe{
				ProbeHandler:   corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(80), Path: "/", Scheme: "HTTP"}},
				TimeoutSeconds: 1, PeriodSeconds: 10, SuccessThreshold: 1, FailureThreshold: 3,
			},
		}},
	}
	if diff := cmp.Diff(want, p.Spec); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	again := p.DeepCopy()
	DefaultPod(again)
	if diff := cmp.Diff(p, again); diff != "" {
		t.Errorf("defaulting twice differs (-once +twice):\n%s", diff)
	}
	checkRefusals(t, validatePod(p, nil))
}

func TestTemplateKeepsLimitsApart(t *testing.T) {
	p := simplePod()
	p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{"cpu": resource.MustParse("1")}
	DefaultPodTemplate(&corev1.PodTemplateSpec{Spec: p.Spec})
	if got := p.Spec.Containers[0].Resources.Requests; got != nil {
		t.Errorf("requests of a template are %v, want none", got)
	}
}

func TestPullPolicy(t *testing.T) {
	for image, want := range map[string]corev1.PullPolicy{
		"demo":                    corev1.PullAlways,
		"demo:latest":             corev1.PullAlways,
		"demo:1":                  corev1.PullIfNotPresent,
		"registry:5000/a/demo":    corev1.PullAlways,
		"registry:5000/a/demo:v1": corev1.PullIfNotPresent,
		"demo@sha256:" + zeros:    corev1.PullIfNotPresent,
		"Not A Name":              corev1.PullIfNotPresent,
		"gantry.local/demo:latest@sha256:" + zeros: corev1.PullAlways,
	} {
		if got := pullPolicy(image); got != want {
			t.Errorf("pullPolicy(%q) = %s, want %s", image, got, want)
		}
	}
}

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

func TestQOSClass(t *testing.T) {
	list := func(cpu, memory string) corev1.ResourceList {
		out := corev1.ResourceList{}
		if cpu != "" {
			out["cpu"] = resource.MustParse(cpu)
		}
		if memory != "" {
			out["memory"] = resource.MustParse(memory)
		}
		return out
	}
	for _, test := range []struct {
		name             string
		requests, limits corev1.ResourceList
		want             corev1.PodQOSClass
	}{
		{"nothing", nil, nil, corev1.PodQOSBestEffort},
		{"a zero request", list("0", ""), nil, corev1.PodQOSBestEffort},
		{"a request", list("1", ""), nil, corev1.PodQOSBurstable},
		{"limits only of cpu", nil, list("1", ""), corev1.PodQOSBurstable},
		{"both limits, requests follow", nil, list("1", "1Gi"), corev1.PodQOSGuaranteed},
		{"requests below limits", list("500m", "1Gi"), list("1", "1Gi"), corev1.PodQOSBurstable},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := simplePod()
			p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: test.requests, Limits: test.limits}
			DefaultPod(p)
			preparePod(p, nil)
			if p.Status.QOSClass != test.want || p.Status.Phase != corev1.PodPending {
				t.Errorf("status is %+v, want %s and Pending", p.Status, test.want)
			}
		})
	}
}

func TestStatusKeepsQOSClass(t *testing.T) {
	old := simplePod()
	preparePod(old, nil)
	p := old.DeepCopy()
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning}
	preparePod(p, old)
	if diff := cmp.Diff(corev1.PodStatus{Phase: corev1.PodRunning, QOSClass: corev1.PodQOSBestEffort}, p.Status); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestPrepareMatchesOwnLabels(t *testing.T) {
	p := simplePod()
	p.Labels = map[string]string{"version": "2"}
	p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
		MaxSkew: 1, TopologyKey: "zone", WhenUnsatisfiable: corev1.DoNotSchedule,
		LabelSelector: &metav1.LabelSelector{}, MatchLabelKeys: []string{"version", "absent"},
	}}
	p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "wait"}}
	preparePod(p, nil)
	want := []metav1.LabelSelectorRequirement{{Key: "version", Operator: metav1.LabelSelectorOpIn, Values: []string{"2"}}}
	if diff := cmp.Diff(want, p.Spec.TopologySpreadConstraints[0].LabelSelector.MatchExpressions); diff != "" {
		t.Errorf("selector (-want +got):\n%s", diff)
	}
	if got := summarize(p).reason; got != "SchedulingGated" {
		t.Errorf("a gated pod is %s", got)
	}
}

func TestPodColumns(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	exit := func(code int32, reason string) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason}}
	}
	wait := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
	}
	for _, test := range []struct {
		name                    string
		change                  func(p *corev1.Pod)
		ready, status, restarts string
	}{
		{"new", func(*corev1.Pod) {}, "0/1", "Pending", "0"},
		{"creating", func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: wait("ContainerCreating")}}
		}, "0/1", "ContainerCreating", "0"},
		{"running", func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodRunning
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: running, Ready: true}}
		}, "1/1", "Running", "0"},
		{"restarted", func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodRunning
			last := exit(1, "Error")
			last.Terminated.FinishedAt = ago(5 * time.Minute)
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: running, Ready: true, RestartCount: 2, LastTerminationState: last}}
		}, "1/1", "Running", "2 (5m ago)"},
		{"crash loop", func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodRunning
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: wait("CrashLoopBackOff"), RestartCount: 3}}
		}, "0/1", "CrashLoopBackOff", "3"},
		{"completed", func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodSucceeded
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: exit(0, "Completed")}}
		}, "0/1", "Completed", "0"},
		{"failed without a reason", func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodFailed
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: exit(3, "")}}
		}, "0/1", "ExitCode:3", "0"},
		{"evicted", func(p *corev1.Pod) { p.Status.Phase, p.Status.Reason = corev1.PodFailed, "Evicted" }, "0/1", "Evicted", "0"},
		{"one of two completed", func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodRunning
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "d"})
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: exit(0, "Completed")}, {Name: "d", State: running, Ready: true}}
		}, "1/2", "NotReady", "0"},
		{"init", func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "i"}, {Name: "j"}}
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "i", State: exit(0, "Completed")}, {Name: "j", State: running}}
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: wait("PodInitializing")}}
		}, "0/1", "Init:1/2", "0"},
		{"init failed", func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "i"}}
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "i", State: exit(1, "Error"), RestartCount: 1}}
		}, "0/1", "Init:Error", "1"},
		{"sidecar", func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodRunning
			p.Spec.InitContainers = []corev1.Container{{Name: "i", RestartPolicy: new(corev1.ContainerRestartPolicyAlways)}}
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "i", State: running, Started: new(true), Ready: true}}
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: running, Ready: true}}
		}, "2/2", "Running", "0"},
		{"terminating", func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodRunning
			p.DeletionTimestamp = new(metav1.Now())
		}, "0/1", "Terminating", "0"},
		{"lost", func(p *corev1.Pod) {
			p.Status.Phase, p.Status.Reason = corev1.PodRunning, "NodeLost"
			p.DeletionTimestamp = new(metav1.Now())
		}, "0/1", "Unknown", "0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := simplePod()
			p.Status.Phase = corev1.PodPending
			p.CreationTimestamp = ago(3 * time.Hour)
			p.Spec.NodeName = "n1"
			p.Status.PodIPs = []corev1.PodIP{{IP: "10.0.0.7"}}
			p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "example.com/ok"}}
			test.change(p)
			want := []any{"p", test.ready, test.status, test.restarts, "3h", "10.0.0.7", "n1", "<none>", "0/1"}
			if diff := cmp.Diff(want, row(Pods, p)); diff != "" {
				t.Errorf("row (-want +got):\n%s", diff)
			}
		})
	}
}
