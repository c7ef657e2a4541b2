package deployment

import (
	"fmt"
	"math"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The reasons of the condition Progressing that the controller itself looks at.
const (
	newAvailable = "NewReplicaSetAvailable"
	timedOut     = "ProgressDeadlineExceeded"
	pausedReason = "DeploymentPaused"
	failedCreate = "ReplicaSetCreateError"
)

func hasDeadline(d *appsv1.Deployment) bool {
	return d.Spec.ProgressDeadlineSeconds != nil && *d.Spec.ProgressDeadlineSeconds != math.MaxInt32
}

func condition(t appsv1.DeploymentConditionType, status corev1.ConditionStatus, reason, message string, now time.Time) appsv1.DeploymentCondition {
	at := metav1.NewTime(now)
	return appsv1.DeploymentCondition{Type: t, Status: status, Reason: reason, Message: message, LastUpdateTime: at, LastTransitionTime: at}
}

func find(s *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	for i := range s.Conditions {
		if s.Conditions[i].Type == t {
			return &s.Conditions[i]
		}
	}
	return nil
}

func drop(s *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType) {
	s.Conditions = slices.DeleteFunc(s.Conditions, func(c appsv1.DeploymentCondition) bool { return c.Type == t })
}

// setCondition changes nothing when status and reason are the same already.
func setCondition(s *appsv1.DeploymentStatus, c appsv1.DeploymentCondition) {
	if have := find(s, c.Type); have != nil {
		if have.Status == c.Status && have.Reason == c.Reason {
			return
		}
		if have.Status == c.Status {
			c.LastTransitionTime = have.LastTransitionTime
		}
	}
	drop(s, c.Type)
	s.Conditions = append(s.Conditions, c)
}

// notePause says that the Deployment was paused or resumed, from which the deadline counts anew.
func (r *rollout) notePause() {
	if !hasDeadline(r.d) {
		return
	}
	have := find(&r.conds, appsv1.DeploymentProgressing)
	if have != nil && have.Reason == timedOut {
		return
	}
	was := have != nil && have.Reason == pausedReason
	switch {
	case r.d.Spec.Paused && !was:
		setCondition(&r.conds, condition(appsv1.DeploymentProgressing, corev1.ConditionUnknown, pausedReason, "Deployment is paused", r.now))
	case !r.d.Spec.Paused && was:
		setCondition(&r.conds, condition(appsv1.DeploymentProgressing, corev1.ConditionUnknown, "DeploymentResumed", "Deployment is resumed", r.now))
	}
}

// statusOnly counts, and says whether enough pods are available.
func (r *rollout) statusOnly() appsv1.DeploymentStatus {
	s := appsv1.DeploymentStatus{
		ObservedGeneration: r.d.Generation, CollisionCount: r.d.Status.CollisionCount,
		Conditions: slices.Clone(r.conds.Conditions),
	}
	terminating, known := int32(0), true
	for _, rs := range r.all() {
		s.Replicas += rs.Status.Replicas
		s.ReadyReplicas += rs.Status.ReadyReplicas
		s.AvailableReplicas += rs.Status.AvailableReplicas
		if rs.Status.TerminatingReplicas == nil {
			known = known && rs.Status.ObservedGeneration == 0 // a set that nobody has looked at yet has none
			continue
		}
		terminating += *rs.Status.TerminatingReplicas
	}
	if known {
		s.TerminatingReplicas = &terminating
	}
	if r.new != nil {
		s.UpdatedReplicas = r.new.Status.Replicas
	}
	s.UnavailableReplicas = max(0, total(r.all())-s.AvailableReplicas)
	if s.AvailableReplicas >= desired(r.d)-r.missing {
		setCondition(&s, condition(appsv1.DeploymentAvailable, corev1.ConditionTrue, "MinimumReplicasAvailable", "Deployment has minimum availability.", r.now))
	} else {
		setCondition(&s, condition(appsv1.DeploymentAvailable, corev1.ConditionFalse, "MinimumReplicasUnavailable", "Deployment does not have minimum availability.", r.now))
	}
	return s
}

// progress is the status with the conditions about the rollout, and when to look at its deadline again.
func (r *rollout) progress() (appsv1.DeploymentStatus, time.Duration) {
	s := r.statusOnly()
	have := find(&s, appsv1.DeploymentProgressing)
	if !hasDeadline(r.d) {
		drop(&s, appsv1.DeploymentProgressing)
	} else if have == nil || have.Reason != newAvailable || s.Replicas != s.UpdatedReplicas {
		r.judge(&s, have)
	}
	r.noteFailure(&s)
	return s, r.deadline(&s)
}

func (r *rollout) judge(s *appsv1.DeploymentStatus, have *appsv1.DeploymentCondition) {
	subject := fmt.Sprintf("Deployment %q", r.d.Name)
	if r.new != nil {
		subject = fmt.Sprintf("ReplicaSet %q", r.new.Name)
	}
	switch {
	case complete(r.d, s):
		setCondition(s, condition(appsv1.DeploymentProgressing, corev1.ConditionTrue, newAvailable, subject+" has successfully progressed.", r.now))
	case progressing(&r.d.Status, s):
		c := condition(appsv1.DeploymentProgressing, corev1.ConditionTrue, "ReplicaSetUpdated", subject+" is progressing.", r.now)
		if have != nil && have.Status == corev1.ConditionTrue {
			c.LastTransitionTime = have.LastTransitionTime
		}
		drop(s, c.Type) // even an equal one: its time of update counts
		setCondition(s, c)
	case late(r.d, have, r.now):
		setCondition(s, condition(appsv1.DeploymentProgressing, corev1.ConditionFalse, timedOut, subject+" has timed out progressing.", r.now))
	}
}

// noteFailure shows why a set cannot make its pods, the new one's reason first.
func (r *rollout) noteFailure(s *appsv1.DeploymentStatus) {
	sets := r.old
	if r.new != nil {
		sets = append([]*appsv1.ReplicaSet{r.new}, sets...)
	}
	for _, rs := range sets {
		for _, c := range rs.Status.Conditions {
			if c.Type == appsv1.ReplicaSetReplicaFailure && c.Status == corev1.ConditionTrue {
				setCondition(s, appsv1.DeploymentCondition{
					Type: appsv1.DeploymentReplicaFailure, Status: c.Status, Reason: c.Reason, Message: c.Message,
					LastUpdateTime: c.LastTransitionTime, LastTransitionTime: c.LastTransitionTime,
				})
				return
			}
		}
	}
	drop(s, appsv1.DeploymentReplicaFailure)
}

func complete(d *appsv1.Deployment, s *appsv1.DeploymentStatus) bool {
	want := desired(d)
	return s.UpdatedReplicas == want && s.Replicas == want && s.AvailableReplicas == want && s.ObservedGeneration >= d.Generation
}

func progressing(old, now *appsv1.DeploymentStatus) bool {
	return now.UpdatedReplicas > old.UpdatedReplicas ||
		now.Replicas-now.UpdatedReplicas < old.Replicas-old.UpdatedReplicas ||
		now.ReadyReplicas > old.ReadyReplicas || now.AvailableReplicas > old.AvailableReplicas
}

func late(d *appsv1.Deployment, c *appsv1.DeploymentCondition, now time.Time) bool {
	switch {
	case c == nil || c.Reason == newAvailable:
		return false
	case c.Reason == timedOut:
		return true
	}
	return now.After(c.LastUpdateTime.Add(time.Duration(*d.Spec.ProgressDeadlineSeconds) * time.Second))
}

// deadline is how long the rollout may still take, 0 when nothing is waited for.
func (r *rollout) deadline(s *appsv1.DeploymentStatus) time.Duration {
	c := find(s, appsv1.DeploymentProgressing)
	if !hasDeadline(r.d) || c == nil || c.Reason == timedOut || complete(r.d, s) {
		return 0
	}
	end := c.LastUpdateTime.Add(time.Duration(*r.d.Spec.ProgressDeadlineSeconds) * time.Second)
	return max(time.Second, end.Sub(r.now)+time.Second)
}
