package core

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestValidatePod(t *testing.T) {
	first := func(change func(c *corev1.Container)) func(*corev1.Pod) {
		return func(p *corev1.Pod) { change(&p.Spec.Containers[0]) }
	}
	spec := func(change func(s *corev1.PodSpec)) func(*corev1.Pod) {
		return func(p *corev1.Pod) { change(&p.Spec) }
	}
	volume := func(s corev1.VolumeSource) func(*corev1.Pod) {
		return spec(func(s2 *corev1.PodSpec) { s2.Volumes = []corev1.Volume{{Name: "v", VolumeSource: s}} })
	}
	const c0 = "spec.containers[0]"
	for _, test := range []struct {
		name   string
		change func(*corev1.Pod)
		want   []string
	}{
		{"good", func(*corev1.Pod) {}, nil},
		{"no containers", spec(func(s *corev1.PodSpec) { s.Containers = nil }), []string{"spec.containers: Required value"}},
		{"no name", first(func(c *corev1.Container) { c.Name = "" }), []string{c0 + ".name: Required value"}},
		{"bad name", first(func(c *corev1.Container) { c.Name = "A_b" }), []string{c0 + ".name: Invalid value"}},
		{"no image", first(func(c *corev1.Container) { c.Image = "" }), []string{c0 + ".image: Required value"}},
		{"padded image", first(func(c *corev1.Container) { c.Image = " a" }), []string{c0 + ".image: Invalid value"}},
		{"same name", spec(func(s *corev1.PodSpec) { s.Containers = append(s.Containers, s.Containers[0]) }), []string{"spec.containers[1].name: Duplicate value"}},
		{"same name as init", spec(func(s *corev1.PodSpec) { s.InitContainers = s.Containers[:1:1] }), []string{"spec.initContainers[0].name: Duplicate value"}},
		{"pull policy", first(func(c *corev1.Container) { c.ImagePullPolicy = "Sometimes" }), []string{c0 + ".imagePullPolicy: Unsupported value"}},
		{"claims", spec(func(s *corev1.PodSpec) {
			s.ResourceClaims = []corev1.PodResourceClaim{{Name: "a", ResourceClaimName: new("c")}, {Name: "b", ResourceClaimTemplateName: new("t")}}
			s.Containers[0].Resources.Claims = []corev1.ResourceClaim{{Name: "a"}, {Name: "b", Request: "r"}}
		}), nil},
		{"bad claims", spec(func(s *corev1.PodSpec) {
			s.ResourceClaims = []corev1.PodResourceClaim{{}, {Name: "a", ResourceClaimName: new("C")}, {Name: "a", ResourceClaimName: new("c"), ResourceClaimTemplateName: new("T")}}
			s.Containers[0].Resources.Claims = []corev1.ResourceClaim{{Name: "a"}, {Name: "a"}, {Name: "z"}}
		}), []string{
			"spec.resourceClaims[0].name: Required value", "spec.resourceClaims[0]: Invalid value", "spec.resourceClaims[1].resourceClaimName: Invalid value", "spec.resourceClaims[2].name: Duplicate value",
			"spec.resourceClaims[2]: Invalid value", "spec.resourceClaims[2].resourceClaimTemplateName: Invalid value", c0 + ".resources.claims[1]: Duplicate value", c0 + ".resources.claims[2].name: Not found",
		}},
		{"static pod with claims", func(p *corev1.Pod) {
			p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
			p.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "a", ResourceClaimName: new("c")}}
		}, []string{"[]: Forbidden"}},
		{"restart policy", spec(func(s *corev1.PodSpec) { s.RestartPolicy = "Maybe" }), []string{"spec.restartPolicy: Unsupported value"}},
		{"port range", first(func(c *corev1.Container) { c.Ports = []corev1.ContainerPort{{ContainerPort: 70000}} }), []string{c0 + ".ports[0].containerPort: Invalid value"}},
		{"no port", first(func(c *corev1.Container) { c.Ports = []corev1.ContainerPort{{Name: "x"}} }), []string{c0 + ".ports[0].containerPort: Required value"}},
		{"port names", first(func(c *corev1.Container) {
			c.Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 80}, {Name: "http", ContainerPort: 81}, {Name: "much-too-long-name", ContainerPort: 82}}
		}), []string{c0 + ".ports[1].name: Duplicate value", c0 + ".ports[2].name: Invalid value"}},
		{"host port twice", first(func(c *corev1.Container) {
			c.Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: 80}, {ContainerPort: 81, HostPort: 80}}
		}), []string{c0 + ".ports[1].hostPort: Duplicate value"}},
		{"host network port", spec(func(s *corev1.PodSpec) {
			s.HostNetwork = true
			s.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: 81}}
		}), []string{c0 + ".ports[0].containerPort: Invalid value"}},
		{"env without name", first(func(c *corev1.Container) { c.Env = []corev1.EnvVar{{Value: "x"}} }), []string{c0 + ".env[0].name: Required value"}},
		{"env name", first(func(c *corev1.Container) { c.Env = []corev1.EnvVar{{Name: "a=b"}} }), []string{c0 + ".env[0].name: Invalid value"}},
		{"env source", first(func(c *corev1.Container) {
			c.Env = []corev1.EnvVar{{Name: "a", ValueFrom: &corev1.EnvVarSource{}}}
		}), []string{c0 + ".env[0].valueFrom: Invalid value"}},
		{"env field", first(func(c *corev1.Container) {
			c.Env = []corev1.EnvVar{{Name: "a", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nope"}}}}
		}), []string{c0 + ".env[0].valueFrom.fieldRef.fieldPath: Invalid value"}},
		{"env labels", first(func(c *corev1.Container) {
			c.Env = []corev1.EnvVar{{Name: "a", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}}}}
		}), []string{c0 + ".env[0].valueFrom.fieldRef.fieldPath: Unsupported value"}},
		{"env one label", first(func(c *corev1.Container) {
			c.Env = []corev1.EnvVar{{Name: "a", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['app']"}}}}
		}), nil},
		{"env resource divisor", first(func(c *corev1.Container) {
			c.Env = []corev1.EnvVar{{Name: "a", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.cpu", Divisor: resource.MustParse("2")}}}}
		}), []string{c0 + ".env[0].valueFrom.resourceFieldRef.divisor: Invalid value"}},
		{"env from", first(func(c *corev1.Container) { c.EnvFrom = []corev1.EnvFromSource{{}} }), []string{c0 + ".envFrom: Invalid value"}},
		{"probe without handler", first(func(c *corev1.Container) { c.LivenessProbe = &corev1.Probe{} }), []string{c0 + ".livenessProbe: Required value"}},
		{"probe with two handlers", first(func(c *corev1.Container) {
			c.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
				Exec:      &corev1.ExecAction{Command: []string{"true"}},
				TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(1)},
			}}
		}), []string{c0 + ".readinessProbe: Forbidden"}},
		{"probe numbers", first(func(c *corev1.Container) {
			c.LivenessProbe = &corev1.Probe{
				ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(0)}},
				PeriodSeconds: -1, SuccessThreshold: 2, TerminationGracePeriodSeconds: new(int64(0)),
			}
		}), []string{
			c0 + ".livenessProbe.httpGet.port: Invalid value", c0 + ".livenessProbe.periodSeconds: Invalid value",
			c0 + ".livenessProbe.successThreshold: Invalid value", c0 + ".livenessProbe.terminationGracePeriodSeconds: Invalid value",
		}},
		{"init probe", spec(func(s *corev1.PodSpec) {
			s.InitContainers = []corev1.Container{{Name: "i", Image: "i:1", ReadinessProbe: &corev1.Probe{}}}
		}), []string{"spec.initContainers[0].readinessProbe: Forbidden"}},
		{"unknown mount", first(func(c *corev1.Container) { c.VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}} }), []string{c0 + ".volumeMounts[0].name: Not found"}},
		{"mounts", spec(func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{{Name: "v"}}
			s.Containers[0].VolumeMounts = []corev1.VolumeMount{
				{Name: "v", MountPath: "/v"},
				{Name: "v", MountPath: "/v"},
				{Name: "v"},
				{Name: "v", MountPath: "/w", SubPath: "../x"},
				{Name: "v", MountPath: "/x", SubPath: "/abs"},
				{Name: "v", MountPath: "/y", MountPropagation: new(corev1.MountPropagationBidirectional)},
			}
		}), []string{
			c0 + ".volumeMounts[1].mountPath: Invalid value", c0 + ".volumeMounts[2].mountPath: Required value",
			c0 + ".volumeMounts[3].subPath: Invalid value", c0 + ".volumeMounts[4].subPath: Invalid value",
			c0 + ".volumeMounts[5].mountPropagation: Forbidden",
		}},
		{"volume names", spec(func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{{Name: "v"}, {Name: "v"}, {Name: ""}, {Name: "A"}}
		}), []string{
			"spec.volumes[1].name: Duplicate value", "spec.volumes[2].name: Required value", "spec.volumes[3].name: Invalid value",
		}},
		{"two sources", volume(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}, HostPath: &corev1.HostPathVolumeSource{Path: "/"}}), []string{"spec.volumes[0].emptyDir: Forbidden"}},
		{"host path", volume(corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/a/../b", Type: new(corev1.HostPathType("Odd"))}}), []string{
			"spec.volumes[0].hostPath.path: Invalid value", "spec.volumes[0].hostPath.type: Unsupported value",
		}},
		{"secret volume", volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{DefaultMode: new(int32(0o1000)), Items: []corev1.KeyToPath{{Key: "k", Path: "/x"}}}}), []string{
			"spec.volumes[0].secret.defaultMode: Invalid value", "spec.volumes[0].secret.items[0].path: Invalid value", "spec.volumes[0].secret.secretName: Required value",
		}},
		{"downward volume", volume(corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{{Path: "x"}}}}), []string{"spec.volumes[0].downwardAPI: Required value"}},
		{"projected volume", volume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{},
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "t", ExpirationSeconds: new(int64(1))}},
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "c"}, Items: []corev1.KeyToPath{{Key: "k", Path: "t"}}}},
		}}}), []string{
			"spec.volumes[0].projected.sources[0]: Required value",
			"spec.volumes[0].projected.sources[1].serviceAccountToken.expirationSeconds: Invalid value",
			"spec.volumes[0].projected.sources[2].configMap.items[0].path: Invalid value",
		}},
		{"request over limit", first(func(c *corev1.Container) {
			c.Resources = corev1.ResourceRequirements{
				Requests: corev1.ResourceList{"cpu": resource.MustParse("2")}, Limits: corev1.ResourceList{"cpu": resource.MustParse("1")},
			}
		}), []string{c0 + ".resources.requests: Invalid value"}},
		{"resource names", first(func(c *corev1.Container) {
			c.Resources.Limits = corev1.ResourceList{"gpu": resource.MustParse("1"), "memory": resource.MustParse("-1"), "example.com/gpu": resource.MustParse("1500m")}
		}), []string{
			c0 + ".resources.limits[example.com/gpu]: Invalid value", c0 + ".resources.limits[gpu]: Invalid value",
			c0 + ".resources.limits[memory]: Invalid value", c0 + ".resources.requests[example.com/gpu]: Invalid value",
			c0 + ".resources.requests[gpu]: Invalid value", c0 + ".resources.requests[memory]: Invalid value",
		}},
		{"security context", first(func(c *corev1.Container) {
			c.SecurityContext = &corev1.SecurityContext{
				RunAsUser: new(int64(-1)), Privileged: new(true), AllowPrivilegeEscalation: new(false),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost},
			}
		}), []string{
			c0 + ".securityContext: Invalid value", c0 + ".securityContext.runAsUser: Invalid value",
			c0 + ".securityContext.seccompProfile.localhostProfile: Required value",
		}},
		{"pod security context", spec(func(s *corev1.PodSpec) {
			s.SecurityContext = &corev1.PodSecurityContext{FSGroup: new(int64(-2)), Sysctls: []corev1.Sysctl{{Name: "a_b$"}, {Name: "net.x"}, {Name: "net/x"}}}
			s.HostPID, s.ShareProcessNamespace = true, new(true)
		}), []string{
			"spec.securityContext.fsGroup: Invalid value", "spec.securityContext.sysctls[0].name: Invalid value",
			"spec.securityContext.sysctls[2].name: Duplicate value", "spec.shareProcessNamespace: Invalid value",
		}},
		{"tolerations", spec(func(s *corev1.PodSpec) {
			s.Tolerations = []corev1.Toleration{{Operator: "Equal"}, {Key: "k", Operator: "Exists", Value: "v"}, {Key: "k", Effect: "No"}, {Key: "k", TolerationSeconds: new(int64(1))}}
		}), []string{
			"spec.tolerations[0].operator: Invalid value", "spec.tolerations[1].operator: Invalid value",
			"spec.tolerations[2].effect: Unsupported value", "spec.tolerations[3].effect: Invalid value",
		}},
		{"node affinity", spec(func(s *corev1.PodSpec) {
			s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{},
				PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{Preference: corev1.NodeSelectorTerm{
					MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "k", Operator: "In"}},
				}}},
			}}
		}), []string{
			"spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value",
			"spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value",
			"spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].values: Required value",
		}},
		{"pod affinity", spec(func(s *corev1.PodSpec) {
			s.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{Namespaces: []string{"A"}, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"-": "x"}}}},
			}}
		}), []string{
			"spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector.matchLabels: Invalid value",
			"spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].namespaces[0]: Invalid value",
			"spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value",
		}},
		{"spread", spec(func(s *corev1.PodSpec) {
			c := corev1.TopologySpreadConstraint{MaxSkew: 0, WhenUnsatisfiable: "X", MinDomains: new(int32(0))}
			s.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{c, {MaxSkew: 1, WhenUnsatisfiable: "X", TopologyKey: "z"}, {MaxSkew: 1, WhenUnsatisfiable: "X", TopologyKey: "z"}}
		}), []string{
			"spec.topologySpreadConstraints[0].maxSkew: Invalid value", "spec.topologySpreadConstraints[0].minDomains: Invalid value",
			"spec.topologySpreadConstraints[0].topologyKey: Required value", "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value",
			"spec.topologySpreadConstraints[1].whenUnsatisfiable: Unsupported value",
			"spec.topologySpreadConstraints[2].whenUnsatisfiable: Unsupported value",
			"spec.topologySpreadConstraints[2].{topologyKey, whenUnsatisfiable}: Duplicate value",
		}},
		{"dns", spec(func(s *corev1.PodSpec) { s.DNSPolicy = corev1.DNSNone }), []string{"spec.dnsConfig: Required value"}},
		{"host names", spec(func(s *corev1.PodSpec) {
			s.Hostname, s.Subdomain = "a.b", strings.Repeat("a", 64)
			s.HostAliases = []corev1.HostAlias{{IP: "x"}}
		}), []string{"spec.hostAliases[0].ip: Invalid value", "spec.hostname: Invalid value", "spec.subdomain: Invalid value"}},
		{"deadline", spec(func(s *corev1.PodSpec) { s.ActiveDeadlineSeconds = new(int64(0)) }), []string{"spec.activeDeadlineSeconds: Invalid value"}},
		{"gate and node", spec(func(s *corev1.PodSpec) {
			s.NodeName, s.SchedulingGates = "n", []corev1.PodSchedulingGate{{Name: "g"}, {Name: "g"}}
		}), []string{"spec.nodeName: Forbidden", "spec.schedulingGates[1]: Duplicate value"}},
		{"ephemeral on create", spec(func(s *corev1.PodSpec) {
			s.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e", Image: "e:1"}}}
		}), []string{"spec.ephemeralContainers: Forbidden"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := simplePod()
			test.change(p)
			DefaultPod(p)
			checkRefusals(t, validatePod(p, nil), test.want...)
		})
	}
}

func TestValidatePodUpdate(t *testing.T) {
	for _, test := range []struct {
		name        string
		old, change func(s *corev1.PodSpec)
		want        []string
	}{
		{"image", nil, func(s *corev1.PodSpec) { s.Containers[0].Image = "demo:2" }, nil},
		{"command", nil, func(s *corev1.PodSpec) { s.Containers[0].Command = []string{"x"} }, []string{"spec: Forbidden"}},
		{"node", nil, func(s *corev1.PodSpec) { s.NodeName = "n" }, []string{"spec: Forbidden"}},
		{"one more container", nil, func(s *corev1.PodSpec) {
			s.Containers = append(s.Containers, corev1.Container{Name: "d", Image: "d:1"})
		}, []string{"spec.containers: Forbidden"}},
		{"new deadline", nil, func(s *corev1.PodSpec) { s.ActiveDeadlineSeconds = new(int64(9)) }, nil},
		{"longer deadline", func(s *corev1.PodSpec) { s.ActiveDeadlineSeconds = new(int64(5)) }, func(s *corev1.PodSpec) { s.ActiveDeadlineSeconds = new(int64(9)) }, []string{"spec.activeDeadlineSeconds: Invalid value"}},
		{"no more deadline", func(s *corev1.PodSpec) { s.ActiveDeadlineSeconds = new(int64(5)) }, func(s *corev1.PodSpec) { s.ActiveDeadlineSeconds = nil }, []string{"spec.activeDeadlineSeconds: Invalid value"}},
		{"one more toleration", nil, func(s *corev1.PodSpec) { s.Tolerations = []corev1.Toleration{{Key: "k"}} }, nil},
		{"one toleration less", func(s *corev1.PodSpec) { s.Tolerations = []corev1.Toleration{{Key: "k"}} }, func(s *corev1.PodSpec) { s.Tolerations = nil }, []string{"spec.tolerations: Forbidden"}},
		{"grace of a negative", func(s *corev1.PodSpec) { s.TerminationGracePeriodSeconds = new(int64(-1)) }, func(s *corev1.PodSpec) { s.TerminationGracePeriodSeconds = new(int64(1)) }, nil},
		{"grace", nil, func(s *corev1.PodSpec) { s.TerminationGracePeriodSeconds = new(int64(1)) }, []string{"spec: Forbidden"}},
		{"gate removed", func(s *corev1.PodSpec) { s.SchedulingGates = []corev1.PodSchedulingGate{{Name: "g"}} }, func(s *corev1.PodSpec) { s.SchedulingGates = nil }, nil},
		{"gate added", nil, func(s *corev1.PodSpec) { s.SchedulingGates = []corev1.PodSchedulingGate{{Name: "g"}} }, []string{"spec.schedulingGates[0].name: Forbidden"}},
		{"gated selector grows", func(s *corev1.PodSpec) { s.SchedulingGates = []corev1.PodSchedulingGate{{Name: "g"}} }, func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"a": "b"} }, nil},
		{"selector grows", nil, func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"a": "b"} }, []string{"spec: Forbidden"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			old := simplePod()
			if test.old != nil {
				test.old(&old.Spec)
			}
			DefaultPod(old)
			p := old.DeepCopy()
			test.change(&p.Spec)
			DefaultPod(p)
			checkRefusals(t, validatePod(p, old), test.want...)
		})
	}
}

func TestValidatePodStatus(t *testing.T) {
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1}}
	for _, test := range []struct {
		policy corev1.RestartPolicy
		want   []string
	}{
		{corev1.RestartPolicyAlways, nil},
		{corev1.RestartPolicyOnFailure, nil},
		{corev1.RestartPolicyNever, []string{"status.containerStatuses[0].state: Forbidden"}},
	} {
		old := simplePod()
		old.Spec.RestartPolicy = test.policy
		old.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: ended}}
		p := old.DeepCopy()
		p.Status.ContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
		checkRefusals(t, validatePodStatus(p, old), test.want...)
	}
}
