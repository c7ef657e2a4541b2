package horizontalpodautoscaler

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// podMetric is what was measured of one pod, in thousandths, in a window that ended at a time.
type podMetric struct {
	value  int64
	at     time.Time
	window time.Duration
}

// groups are the pods of a target by what their figures are worth.
type groups struct {
	// ready counts those whose figures are taken as they are.
	ready int
	// unready ones were measured while they began, or not at all yet; missing ones should have been.
	unready, missing []string
	// metrics are those of the ready.
	metrics map[string]podMetric
}

// group looks at every pod; name is the resource that was measured, empty for other metrics. Pods that have failed or are
// being deleted do not matter at all.
func (s *state) group(metrics map[string]podMetric, name corev1.ResourceName) groups {
	g := groups{metrics: maps.Clone(metrics)}
	for _, pod := range s.pods {
		metric, measured := metrics[pod.Name]
		switch {
		case pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodFailed:
			delete(g.metrics, pod.Name)
		case pod.Status.Phase == corev1.PodPending:
			g.unready = append(g.unready, pod.Name)
			delete(g.metrics, pod.Name)
		case !measured:
			g.missing = append(g.missing, pod.Name)
		case name == corev1.ResourceCPU && s.beginning(pod, metric):
			g.unready = append(g.unready, pod.Name)
			delete(g.metrics, pod.Name)
		default:
			g.ready++
		}
	}
	return g
}

// beginning tells that the CPU of a pod is that of its start and not of its work.
func (s *state) beginning(pod *corev1.Pod, m podMetric) bool {
	c, start := readiness(pod), pod.Status.StartTime
	if c == nil || start == nil {
		return true
	}
	if start.Add(s.CPUInitialization).After(s.now) {
		return c.Status == corev1.ConditionFalse || m.at.Before(c.LastTransitionTime.Add(m.window))
	}
	return c.Status == corev1.ConditionFalse && start.Add(s.InitialReadiness).After(c.LastTransitionTime.Time)
}

var (
	errNoPods     = errors.New("no pods returned by selector while calculating replica count")
	errNoneReady  = errors.New("did not receive metrics for any ready pods")
	errNoRequests = errors.New("no metrics returned matched known pods")
)

// byUtilization compares what pods use with what they request. It returns the size, and of the measured pods the percentage
// and what each uses on average.
func (s *state) byUtilization(metrics map[string]podMetric, target int32, name corev1.ResourceName, container string) (int32, int32, int64, error) {
	if len(s.pods) == 0 {
		return 0, 0, 0, errNoPods
	}
	g := s.group(metrics, name)
	requests, err := s.requests(name, container)
	if err != nil {
		return 0, 0, 0, err
	}
	if len(g.metrics) == 0 {
		return 0, 0, 0, errNoneReady
	}
	ratio, percent, average, err := utilization(g.metrics, requests, target)
	if err != nil {
		return 0, 0, 0, err
	}
	n := s.resize(&g, ratio, func(pod string) int64 { return requests[pod] * int64(max(100, target)) / 100 }, func() (float64, error) {
		ratio, _, _, err := utilization(g.metrics, requests, target)
		return ratio, err
	})
	return n, percent, average, nil
}

// byValues compares what each pod has on average with what it should have.
func (s *state) byValues(metrics map[string]podMetric, target int64, name corev1.ResourceName) (int32, int64, error) {
	if len(s.pods) == 0 {
		return 0, 0, errNoPods
	}
	g := s.group(metrics, name)
	if len(g.metrics) == 0 {
		return 0, 0, errNoneReady
	}
	mean := func() int64 {
		total := int64(0)
		for _, m := range g.metrics {
			total += m.value
		}
		return total / int64(len(g.metrics))
	}
	average := mean()
	ratio := float64(average) / float64(target)
	n := s.resize(&g, ratio, func(string) int64 { return target }, func() (float64, error) {
		return float64(mean()) / float64(target), nil
	})
	return n, average, nil
}

// resize turns a ratio into a size. Pods of which nothing is known make it careful: they are taken to use nothing when more
// are wanted, and all that they may (as full says) when fewer are; and never does that turn the one into the other.
func (s *state) resize(g *groups, ratio float64, full func(pod string) int64, again func() (float64, error)) int32 {
	current := s.scale.Spec.Replicas
	unready := len(g.unready) > 0 && ratio > 1
	if !unready && len(g.missing) == 0 {
		if s.tolerable(ratio) {
			return current
		}
		return saturated(math.Ceil(ratio * float64(g.ready)))
	}
	for _, pod := range g.missing {
		switch {
		case ratio < 1:
			g.metrics[pod] = podMetric{value: full(pod)}
		case ratio > 1:
			g.metrics[pod] = podMetric{}
		}
	}
	if unready {
		for _, pod := range g.unready {
			g.metrics[pod] = podMetric{}
		}
	}
	careful, err := again()
	if err != nil || s.tolerable(careful) || ratio < 1 && careful > 1 || ratio > 1 && careful < 1 {
		return current
	}
	n := saturated(math.Ceil(careful * float64(len(g.metrics))))
	if careful < 1 && n > current || careful > 1 && n < current {
		return current
	}
	return n
}

// requests is what each pod requests of a resource, or one container of each. Init containers that run on are containers.
func (s *state) requests(name corev1.ResourceName, container string) (map[string]int64, error) {
	out := map[string]int64{}
	for _, pod := range s.pods {
		sum := int64(0)
		add := func(c *corev1.Container) error {
			if container != "" && container != c.Name {
				return nil
			}
			q, ok := c.Resources.Requests[name]
			if !ok {
				return fmt.Errorf("missing request for %s in container %s of Pod %s", name, c.Name, pod.Name)
			}
			sum += q.MilliValue()
			return nil
		}
		for i := range pod.Spec.Containers {
			if err := add(&pod.Spec.Containers[i]); err != nil {
				return nil, err
			}
		}
		for i := range pod.Spec.InitContainers {
			if c := &pod.Spec.InitContainers[i]; c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
				if err := add(c); err != nil {
					return nil, err
				}
			}
		}
		out[pod.Name] = sum
	}
	return out, nil
}

// utilization compares sums; what was measured of pods that are not known is left out.
func utilization(metrics map[string]podMetric, requests map[string]int64, target int32) (ratio float64, percent int32, average int64, err error) {
	used, requested, n := int64(0), int64(0), int64(0)
	for pod, m := range metrics {
		request, known := requests[pod]
		if !known {
			continue
		}
		used, requested, n = used+m.value, requested+request, n+1
	}
	if requested == 0 {
		return 0, 0, 0, errNoRequests
	}
	percent = int32(used * 100 / requested)
	return float64(percent) / float64(target), percent, used / n, nil
}
