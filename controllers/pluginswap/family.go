package pluginswap

import (
	"fmt"
	"math"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// family is the pods that do each other's work: those of one Deployment, whichever of its ReplicaSets made them, or of
// one controller of another kind. It says how many of them may be missing at a time.
type family struct {
	// title is the kind and the name, for people.
	title string
	pods  []*corev1.Pod
	// want is how many there should be; -1 when that is not known. Then one goes when no other is ending.
	want int32
	// spare is how many of those may be missing, at least one: otherwise nothing could ever move.
	spare int32
	// strict families have no number to be measured by, but every one of their pods has to be ready.
	strict bool
	// settle is how long a pod has to be ready before it counts.
	settle time.Duration
}

// everyone is the spare of pods whose absence costs nobody a service.
const everyone = math.MaxInt32

// missing is how many of the family's pods do not work, and why. next is when the first of those that are ready will have
// been so for long enough; 0 when there are none.
func (f *family) missing(now time.Time) (n int32, why string, next time.Duration) {
	var works, ends, unready int32
	for _, o := range f.pods {
		switch {
		case o.DeletionTimestamp != nil:
			ends++
			why = fmt.Sprintf("pod %s/%s ends", o.Namespace, o.Name)
		case done(o):
		case available(o, f.settle, now):
			works++
		case ready(o):
			if left := readySince(o).Add(f.settle).Sub(now); next == 0 || left < next {
				next = left
			}
		default:
			unready++
			if f.strict {
				why = fmt.Sprintf("pod %s/%s is not ready", o.Namespace, o.Name)
			}
		}
	}
	switch {
	case f.strict:
		return ends + unready, why, 0
	case f.want < 0:
		return ends, why, 0
	}
	return f.want - works, fmt.Sprintf("%s has %d of %d pods ready", f.title, works, f.want), next
}

// busyOn tells that pods of the family come to a node or go from it.
func (f *family) busyOn(node string) bool {
	return slices.ContainsFunc(f.pods, func(o *corev1.Pod) bool {
		return o.Spec.NodeName == node && !done(o) && (o.DeletionTimestamp != nil || !ready(o))
	})
}

func done(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

func available(p *corev1.Pod, settle time.Duration, now time.Time) bool {
	return ready(p) && !readySince(p).Add(settle).After(now)
}

func ready(p *corev1.Pod) bool {
	c := readiness(p)
	return c != nil && c.Status == corev1.ConditionTrue
}

func readySince(p *corev1.Pod) time.Time { return readiness(p).LastTransitionTime.Time }

func readiness(p *corev1.Pod) *corev1.PodCondition {
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == corev1.PodReady {
			return &p.Status.Conditions[i]
		}
	}
	return nil
}

// ofDeployment is as many as a rollout may take away. Where it may take none away, or recreates all, one goes at a time.
func ofDeployment(d *appsv1.Deployment) (want, spare int32, settle time.Duration) {
	want = orOne(d.Spec.Replicas)
	spare = 1
	if ru := d.Spec.Strategy.RollingUpdate; ru != nil && d.Spec.Strategy.Type == appsv1.RollingUpdateDeploymentStrategyType {
		spare = share(ru.MaxUnavailable, want, false)
	}
	return want, spare, seconds(d.Spec.MinReadySeconds)
}

func ofStatefulSet(s *appsv1.StatefulSet) (want, spare int32, settle time.Duration) {
	want, spare = orOne(s.Spec.Replicas), 1
	if ru := s.Spec.UpdateStrategy.RollingUpdate; ru != nil {
		spare = share(ru.MaxUnavailable, want, true)
	}
	return want, spare, seconds(s.Spec.MinReadySeconds)
}

func ofDaemonSet(d *appsv1.DaemonSet) (want, spare int32, settle time.Duration) {
	want, spare = d.Status.DesiredNumberScheduled, 1
	if ru := d.Spec.UpdateStrategy.RollingUpdate; ru != nil {
		spare = share(ru.MaxUnavailable, want, true)
	}
	return want, spare, seconds(d.Spec.MinReadySeconds)
}

// share is a number or a percentage of all, at least one.
func share(v *intstr.IntOrString, of int32, up bool) int32 {
	n, err := intstr.GetScaledValueFromIntOrPercent(intstr.ValueOrDefault(v, intstr.FromInt32(1)), int(of), up)
	if err != nil {
		return 1
	}
	return max(1, int32(n))
}

func orOne(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }
