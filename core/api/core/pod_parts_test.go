package core

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func debugger(name string, change ...func(*corev1.EphemeralContainer)) corev1.EphemeralContainer {
	c := corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: name, Image: "d:1"}}
	for _, f := range change {
		f(&c)
	}
	return c
}

func TestEphemeralContainers(t *testing.T) {
	const e0, list = "spec.ephemeralContainers[0]", "spec.ephemeralContainers"
	one := func(change func(*corev1.EphemeralContainer)) []corev1.EphemeralContainer {
		return []corev1.EphemeralContainer{debugger("d", change)}
	}
	for _, test := range []struct {
		name     string
		old, now []corev1.EphemeralContainer
		want     []string
	}{
		{"added", nil, []corev1.EphemeralContainer{debugger("d"), debugger("e")}, nil},
		{"another added before", []corev1.EphemeralContainer{debugger("d")}, []corev1.EphemeralContainer{debugger("e"), debugger("d")}, nil},
		{"none", nil, nil, nil},
		{"removed", []corev1.EphemeralContainer{debugger("d"), debugger("e")}, []corev1.EphemeralContainer{debugger("d")}, []string{list + ": Forbidden"}},
		{"changed", []corev1.EphemeralContainer{debugger("d")}, one(func(c *corev1.EphemeralContainer) { c.Image = "d:2" }), []string{list + ": Forbidden"}},
		{"target", nil, one(func(c *corev1.EphemeralContainer) { c.TargetContainerName = "c" }), nil},
		{"target that is not there", nil, one(func(c *corev1.EphemeralContainer) { c.TargetContainerName = "x" }), []string{e0 + ".targetContainerName: Not found"}},
		{"target that is ephemeral", nil, []corev1.EphemeralContainer{debugger("d"), debugger("e", func(c *corev1.EphemeralContainer) { c.TargetContainerName = "d" })}, []string{list + "[1].targetContainerName: Not found"}},
		{"name of a container", nil, one(func(c *corev1.EphemeralContainer) { c.Name = "c" }), []string{e0 + ".name: Duplicate value"}},
		{"name twice", nil, []corev1.EphemeralContainer{debugger("d"), debugger("d")}, []string{list + "[1].name: Duplicate value"}},
		{"padded image", nil, one(func(c *corev1.EphemeralContainer) { c.Image = " d:1" }), []string{e0 + ".image: Invalid value"}},
		{"what others rely on", nil, one(func(c *corev1.EphemeralContainer) {
			c.Ports = []corev1.ContainerPort{{ContainerPort: 1}}
			c.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}
			c.ResizePolicy = []corev1.ContainerResizePolicy{{ResourceName: corev1.ResourceCPU, RestartPolicy: corev1.NotRequired}}
			c.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
			c.LivenessProbe, c.ReadinessProbe, c.StartupProbe, c.Lifecycle = &corev1.Probe{}, &corev1.Probe{}, &corev1.Probe{}, &corev1.Lifecycle{}
		}), []string{
			e0 + ".ports: Forbidden", e0 + ".resources: Forbidden", e0 + ".resizePolicy: Forbidden", e0 + ".restartPolicy: Forbidden",
			e0 + ".livenessProbe: Forbidden", e0 + ".readinessProbe: Forbidden", e0 + ".startupProbe: Forbidden", e0 + ".lifecycle: Forbidden",
		}},
		{"a part of a volume", nil, one(func(c *corev1.EphemeralContainer) {
			c.VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v", SubPath: "s"}, {Name: "v", MountPath: "/w", SubPathExpr: "s"}}
		}), []string{e0 + ".volumeMounts[0].subPath: Forbidden", e0 + ".volumeMounts[1].subPathExpr: Forbidden"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			old := simplePod()
			old.Spec.Volumes = []corev1.Volume{{Name: "v"}}
			old.Spec.EphemeralContainers = test.old
			DefaultPod(old)
			p := old.DeepCopy()
			p.Spec.EphemeralContainers = test.now
			p.Spec.NodeName = "not a part of it"
			DefaultPod(p)
			ephemeralContainers.Prepare(p, old)
			checkRefusals(t, ephemeralContainers.Validate(p, old), test.want...)
			if p.Spec.NodeName != "" {
				t.Error("the rest of the spec is taken, too")
			}
		})
	}
}

func TestStaticPodsKeepTheirShape(t *testing.T) {
	old := simplePod()
	old.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
	DefaultPod(old)
	for what, validate := range map[string]func(p, old *corev1.Pod) field.ErrorList{
		"static pods do not support ephemeral containers": ephemeralContainers.Validate,
		"static pods cannot be resized":                   resize.Validate,
	} {
		if errs := validate(old.DeepCopy(), old); len(errs) != 1 || !strings.Contains(errs[0].Error(), what) {
			t.Errorf("%v, want %s", errs, what)
		}
	}
}

// sizes are requests and limits of cpu and memory; "" is none.
func sizes(cpu, cpuLimit, memory, memoryLimit string) corev1.ResourceRequirements {
	list := func(cpu, memory string) corev1.ResourceList {
		out := corev1.ResourceList{}
		for name, value := range map[corev1.ResourceName]string{corev1.ResourceCPU: cpu, corev1.ResourceMemory: memory} {
			if value != "" {
				out[name] = resource.MustParse(value)
			}
		}
		return out
	}
	return corev1.ResourceRequirements{Requests: list(cpu, memory), Limits: list(cpuLimit, memoryLimit)}
}

func TestResize(t *testing.T) {
	cpuOnly := sizes("100m", "", "", "")
	of := func(r corev1.ResourceRequirements) func(*corev1.PodSpec) {
		return func(s *corev1.PodSpec) { s.Containers[0].Resources = *r.DeepCopy() }
	}
	sidecar := func(r corev1.ResourceRequirements, policy *corev1.ContainerRestartPolicy) func(*corev1.PodSpec) {
		return func(s *corev1.PodSpec) {
			s.Containers[0].Resources = cpuOnly
			s.InitContainers = []corev1.Container{{Name: "i", Image: "i:1", Resources: *r.DeepCopy(), RestartPolicy: policy}}
		}
	}
	whole := func(r *corev1.ResourceRequirements) func(*corev1.PodSpec) {
		return func(s *corev1.PodSpec) { s.Containers[0].Resources, s.Resources = cpuOnly, r.DeepCopy() }
	}
	always := new(corev1.ContainerRestartPolicyAlways)
	pod, podMore, podLess := sizes("200m", "300m", "", ""), sizes("250m", "400m", "", ""), sizes("", "300m", "", "")
	for _, test := range []struct {
		name     string
		old, now func(*corev1.PodSpec)
		want     []string
	}{
		{"more", of(cpuOnly), of(sizes("200m", "", "", "")), nil},
		{"less", of(cpuOnly), of(sizes("50m", "", "", "")), nil},
		{"another resource", of(cpuOnly), of(sizes("100m", "200m", "10Mi", "")), nil},
		{"the same", of(cpuOnly), of(cpuOnly), nil},
		{"request taken away", of(sizes("100m", "", "1Mi", "")), of(cpuOnly), []string{"spec.containers[0].resources.requests: Forbidden"}},
		{"limit taken away", of(sizes("100m", "200m", "", "")), of(cpuOnly), []string{"spec.containers[0].resources.limits: Forbidden"}},
		{"more than the limit", of(sizes("100m", "200m", "", "")), of(sizes("300m", "200m", "", "")), []string{"spec.containers[0].resources.requests: Invalid value"}},
		{"best effort no more", of(corev1.ResourceRequirements{}), of(cpuOnly), []string{"spec: Invalid value"}},
		{"guaranteed no more", of(sizes("1", "1", "1Gi", "1Gi")), of(sizes("1", "2", "1Gi", "1Gi")), []string{"spec: Invalid value"}},
		{"guaranteed", of(sizes("1", "1", "1Gi", "1Gi")), of(sizes("2", "2", "2Gi", "2Gi")), nil},
		{"storage", of(cpuOnly), func(s *corev1.PodSpec) {
			s.Containers[0].Resources = *cpuOnly.DeepCopy()
			s.Containers[0].Resources.Requests[corev1.ResourceEphemeralStorage] = resource.MustParse("1")
		}, []string{"spec: Forbidden"}},
		{"policy", of(cpuOnly), func(s *corev1.PodSpec) {
			s.Containers[0].Resources = cpuOnly
			s.Containers[0].ResizePolicy = []corev1.ContainerResizePolicy{{ResourceName: corev1.ResourceCPU, RestartPolicy: corev1.RestartContainer}}
		}, []string{"spec: Forbidden"}},
		{"renamed", of(cpuOnly), func(s *corev1.PodSpec) { s.Containers[0].Name = "x" }, []string{"spec.containers[0].name: Forbidden"}},
		{"one more", of(cpuOnly), func(s *corev1.PodSpec) {
			s.Containers[0].Resources = cpuOnly
			s.Containers = append(s.Containers, corev1.Container{Name: "x", Image: "x:1"})
		}, []string{"spec.containers: Forbidden"}},
		{"sidecar", sidecar(cpuOnly, always), sidecar(sizes("200m", "", "", ""), always), nil},
		{"init container", sidecar(cpuOnly, nil), sidecar(sizes("200m", "", "", ""), nil), nil},
		{"init container loses", sidecar(cpuOnly, nil), sidecar(corev1.ResourceRequirements{}, nil), []string{"spec.initContainers[0].resources.requests: Forbidden"}},
		{"whole pod", whole(&pod), whole(&podMore), nil},
		{"whole pod is added", whole(nil), whole(&podMore), nil},
		{"whole pod loses", whole(&pod), whole(&podLess), nil}, // the request comes back by default
		{"whole pod loses its limit", whole(&pod), whole(new(sizes("200m", "", "", ""))), []string{"spec.resources.limits: Forbidden"}},
		{"what is no size", of(cpuOnly), func(s *corev1.PodSpec) {
			s.Containers[0].Resources, s.Containers[0].Image, s.NodeName = cpuOnly, "other", "n"
		}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			old := simplePod()
			test.old(&old.Spec)
			DefaultPod(old)
			p := old.DeepCopy()
			test.now(&p.Spec)
			DefaultPod(p)
			before := old.DeepCopy()
			resize.Prepare(p, old)
			checkRefusals(t, resize.Validate(p, old), test.want...)
			if p.Spec.NodeName != "" || p.Spec.Containers[0].Image != old.Spec.Containers[0].Image {
				t.Error("the rest of the spec is taken, too")
			}
			if diff := cmp.Diff(before, old); diff != "" {
				t.Errorf("the stored pod was changed:\n%s", diff)
			}
		})
	}
}

func TestResizeNeedsANodeThatCan(t *testing.T) {
	old := simplePod()
	DefaultPod(old)
	old.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	checkRefusals(t, resize.Validate(old.DeepCopy(), old), "spec: Forbidden")
	old.Status.ContainerStatuses[0].Resources = &corev1.ResourceRequirements{}
	checkRefusals(t, resize.Validate(old.DeepCopy(), old))
	old.Spec.OS = &corev1.PodOS{Name: corev1.Windows}
	checkRefusals(t, resize.Validate(old.DeepCopy(), old), "[]: Forbidden")
}

func TestResourcesChangeByResizeOnly(t *testing.T) {
	old := simplePod()
	old.Spec.Containers[0].Resources = sizes("100m", "", "", "")
	DefaultPod(old)
	p := old.DeepCopy()
	p.Spec.Containers[0].Resources = sizes("200m", "", "", "")
	errs := validatePod(p, old)
	if len(errs) != 1 || !strings.HasPrefix(errs[0].Detail, "pod updates may not change fields other than `spec.containers[*].image`,") {
		t.Errorf("got %v", errs)
	}
}
