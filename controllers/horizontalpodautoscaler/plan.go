package horizontalpodautoscaler

import (
	"errors"
	"fmt"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Settings are the numbers that a cluster can choose; zero means Kubernetes' own choice.
type Settings struct {
	// Sync is the time between two looks at the metrics.
	Sync time.Duration
	// Tolerance is by how much a metric may miss its target without anything being done about it.
	Tolerance float64
	// CPUInitialization is how long the CPU of a pod that is not ready does not count after its start, and
	// InitialReadiness how soon after its start a pod that became unready counts as one that was never ready.
	CPUInitialization, InitialReadiness time.Duration
	// Stabilization is for how long a lower recommendation must have been made before it is followed.
	Stabilization time.Duration
}

func (s Settings) withDefaults() Settings {
	for _, d := range []struct {
		have *time.Duration
		def  time.Duration
	}{{&s.Sync, 15 * time.Second}, {&s.CPUInitialization, 5 * time.Minute}, {&s.InitialReadiness, 30 * time.Second}, {&s.Stabilization, 5 * time.Minute}} {
		if *d.have == 0 {
			*d.have = d.def
		}
	}
	if s.Tolerance == 0 {
		s.Tolerance = 0.1
	}
	return s
}

// state is what is known of one autoscaler and its target.
type state struct {
	hpa   *autoscalingv2.HorizontalPodAutoscaler
	scale *autoscalingv1.Scale
	// selector says why the target's pods cannot be told, nil when they can.
	selector *problem
	pods     []*corev1.Pod
	// readings are those of the metrics, in their order; nil when they do not matter.
	readings []reading
	history  history
	now      time.Time
	Settings
}

// problem is an event and the reason of a condition.
type problem struct {
	event, reason string
	// text is the event's, message the condition's.
	text, message string
}

// notice is an event for people.
type notice struct{ kind, reason, text string }

// plan is what to do about one autoscaler.
type plan struct {
	// status is to be reported once the target has been scaled.
	status autoscalingv2.HorizontalPodAutoscalerStatus
	// rescale says that the target is to have status.DesiredReplicas replicas, and why.
	rescale bool
	why     string
	events  []notice
	history history
	// err is what kept the plan from being all that was asked for.
	err error
	now time.Time
}

func (s *state) least() int32 {
	if s.hpa.Spec.MinReplicas == nil {
		return 1
	}
	return *s.hpa.Spec.MinReplicas
}

// metricsMatter tells that the size is not decided by its limits alone.
func (s *state) metricsMatter() bool {
	n := s.scale.Spec.Replicas
	return n >= s.least() && n <= s.hpa.Spec.MaxReplicas
}

// decide makes the plan.
func decide(s state) plan {
	p := plan{now: s.now, status: *s.hpa.Status.DeepCopy(), history: s.history.clone()}
	current := s.scale.Spec.Replicas
	p.history.begin(current, s.now)
	p.condition(autoscalingv2.AbleToScale, corev1.ConditionTrue, "SucceededGetScale", "the HPA controller was able to get the target's current scale")
	p.status.CurrentReplicas = current
	desired := current
	switch {
	case current == 0 && s.least() != 0:
		p.condition(autoscalingv2.ScalingActive, corev1.ConditionFalse, "ScalingDisabled", "scaling is disabled since the replica count of the target is zero")
		p.status.CurrentMetrics = nil
	case current > s.hpa.Spec.MaxReplicas:
		desired, p.why = s.hpa.Spec.MaxReplicas, "Current number of replicas above Spec.MaxReplicas"
		p.status.CurrentMetrics = nil
	case current < s.least():
		desired, p.why = s.least(), "Current number of replicas below Spec.MinReplicas"
		p.status.CurrentMetrics = nil
	default:
		var ok bool
		if desired, ok = p.byMetrics(&s); !ok {
			return p
		}
	}
	p.rescale = desired != current
	p.status.DesiredReplicas = desired
	return p
}

// byMetrics is the size that the metrics ask for, within what the rules allow at this time.
func (p *plan) byMetrics(s *state) (int32, bool) {
	current := s.scale.Spec.Replicas
	wanted, metric, err := p.ask(s)
	if err != nil && wanted < 0 {
		p.tell(corev1.EventTypeWarning, "FailedComputeMetricsReplicas", err.Error())
		p.err = fmt.Errorf("failed to compute desired number of replicas based on listed metrics for %s: %w", reference(s.hpa), err)
		return 0, false
	}
	p.err = err
	switch {
	case wanted > current:
		p.why = metric + " above target"
	case wanted < current:
		p.why = "All metrics below target"
	}
	if s.hpa.Spec.Behavior == nil {
		return p.limit(s, wanted), true
	}
	return p.limitByBehavior(s, wanted), true
}

// ask evaluates all metrics and takes the one that asks for most. What cannot be read is no reason to scale down; then, and
// when nothing can be read, the size is negative.
func (p *plan) ask(s *state) (int32, string, error) {
	if s.selector != nil {
		p.tell(corev1.EventTypeWarning, s.selector.event, s.selector.text)
		p.condition(autoscalingv2.ScalingActive, corev1.ConditionFalse, s.selector.reason, s.selector.message)
		p.status.CurrentMetrics = nil
		return -1, "", errors.New(s.selector.text)
	}
	specs := s.hpa.Spec.Metrics
	p.status.CurrentMetrics = make([]autoscalingv2.MetricStatus, len(specs))
	replicas, metric := int32(0), ""
	invalid := 0
	var first proposal
	for i := range specs {
		got := s.evaluate(&specs[i], &s.readings[i])
		if got.err != nil {
			p.tell(corev1.EventTypeWarning, got.reason, got.cause.Error())
			if invalid++; invalid == 1 {
				first = got
			}
			continue
		}
		p.status.CurrentMetrics[i] = got.status
		if replicas == 0 || got.replicas > replicas {
			replicas, metric = got.replicas, got.metric
		}
	}
	var err error
	if invalid > 0 {
		err = fmt.Errorf("invalid metrics (%d invalid out of %d), first error is: %w", invalid, len(specs), first.err)
	}
	if invalid >= len(specs) || invalid > 0 && replicas < s.scale.Spec.Replicas {
		p.condition(autoscalingv2.ScalingActive, corev1.ConditionFalse, first.reason, "the HPA was unable to compute the replica count: "+first.cause.Error())
		return -1, "", err
	}
	p.condition(autoscalingv2.ScalingActive, corev1.ConditionTrue, "ValidMetricFound", "the HPA was able to successfully calculate a replica count from "+metric)
	return replicas, metric, err
}

// unscalable is the plan for an autoscaler whose target cannot be read.
func unscalable(hpa *autoscalingv2.HorizontalPodAutoscaler, h history, err error, now time.Time) plan {
	p := plan{now: now, status: *hpa.Status.DeepCopy(), history: h, err: err}
	p.tell(corev1.EventTypeWarning, "FailedGetScale", err.Error())
	p.condition(autoscalingv2.AbleToScale, corev1.ConditionFalse, "FailedGetScale", fmt.Sprintf("the HPA controller was unable to get the target's current scale: %v", err))
	return p
}

// scaled goes on with a plan whose target has been given its new size, or could not be.
func (p *plan) scaled(hpa *autoscalingv2.HorizontalPodAutoscaler, err error) {
	desired := p.status.DesiredReplicas
	if err != nil {
		p.tell(corev1.EventTypeWarning, "FailedRescale", fmt.Sprintf("New size: %d; reason: %s; error: %v", desired, p.why, err))
		p.condition(autoscalingv2.AbleToScale, corev1.ConditionFalse, "FailedUpdateScale", fmt.Sprintf("the HPA controller was unable to update the target scale: %v", err))
		p.status.DesiredReplicas = hpa.Status.DesiredReplicas
		p.err = fmt.Errorf("failed to rescale %s: %w", reference(hpa), err)
		return
	}
	p.tell(corev1.EventTypeNormal, "SuccessfulRescale", fmt.Sprintf("New size: %d; reason: %s", desired, p.why))
	p.condition(autoscalingv2.AbleToScale, corev1.ConditionTrue, "SucceededRescale", fmt.Sprintf("the HPA controller was able to update the target scale to %d", desired))
	p.status.LastScaleTime = new(metav1.NewTime(p.now).Rfc3339Copy())
	if hpa.Spec.Behavior != nil {
		p.history.changed(desired-p.status.CurrentReplicas, p.now)
	}
}

func (p *plan) tell(kind, reason, text string) {
	p.events = append(p.events, notice{kind, reason, text})
}

// condition sets a condition; its time is that of its last change.
func (p *plan) condition(kind autoscalingv2.HorizontalPodAutoscalerConditionType, status corev1.ConditionStatus, reason, message string) {
	c := autoscalingv2.HorizontalPodAutoscalerCondition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(p.now).Rfc3339Copy()}
	for i := range p.status.Conditions {
		have := &p.status.Conditions[i]
		if have.Type != kind {
			continue
		}
		if have.Status == status {
			c.LastTransitionTime = have.LastTransitionTime
		}
		*have = c
		return
	}
	p.status.Conditions = append(p.status.Conditions, c)
}

func reference(hpa *autoscalingv2.HorizontalPodAutoscaler) string {
	return fmt.Sprintf("%s/%s/%s", hpa.Spec.ScaleTargetRef.Kind, hpa.Namespace, hpa.Spec.ScaleTargetRef.Name)
}
