package deployment

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func template(image string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: image}}},
	}
}

type editD func(*appsv1.Deployment)

func deploy(n int32, image string, edits ...editD) *appsv1.Deployment {
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "deploy", Generation: 2, Annotations: map[string]string{"kubernetes.io/change-cause": image}},
		Spec: appsv1.DeploymentSpec{
			Replicas: &n, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, Template: template(image),
			RevisionHistoryLimit: new(int32(2)), ProgressDeadlineSeconds: new(int32(600)),
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{
				MaxSurge: new(intstr.FromString("25%")), MaxUnavailable: new(intstr.FromString("25%")),
			}},
		},
	}
	for _, e := range edits {
		e(d)
	}
	return d
}

func recreate(d *appsv1.Deployment) {
	d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
}
func paused(d *appsv1.Deployment) { d.Spec.Paused = true }
func strategy(surge, missing int) editD {
	return func(d *appsv1.Deployment) {
		d.Spec.Strategy.RollingUpdate.MaxSurge = new(intstr.FromInt(surge))
		d.Spec.Strategy.RollingUpdate.MaxUnavailable = new(intstr.FromInt(missing))
	}
}

type editS func(*appsv1.ReplicaSet)

// rs is a set of n pods of the image, avail of them available, with its revision and the Deployment's
// size when it was last resized.
func rs(image string, n, avail int32, revision, of int, edits ...editS) *appsv1.ReplicaSet {
	t := template(image)
	t.Labels["pod-template-hash"] = "h" + image
	s := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: "web-" + image, UID: types.UID("uid-" + image), Generation: 1,
			CreationTimestamp: metav1.NewTime(start.Add(time.Duration(revision-100) * time.Minute)),
			Annotations: map[string]string{
				revisionAnnotation: strconv.Itoa(revision), desiredAnnotation: strconv.Itoa(of), maxAnnotation: strconv.Itoa(of + (of+3)/4),
				"kubernetes.io/change-cause": image,
			},
		},
		Spec: appsv1.ReplicaSetSpec{Replicas: &n, Template: t},
		Status: appsv1.ReplicaSetStatus{
			Replicas: n, ReadyReplicas: avail, AvailableReplicas: avail, ObservedGeneration: 1, TerminatingReplicas: new(int32),
		},
	}
	for _, e := range edits {
		e(s)
	}
	return s
}

// text shows what a plan does: "+web=3" makes a set, "web-1:5>4" resizes, "-web-1" deletes.
func text(p plan) string {
	var out []string
	if p.create != nil {
		out = append(out, fmt.Sprintf("+%s=%d", p.create.Spec.Template.Spec.Containers[0].Image, sizeOf(p.create)))
	}
	for _, w := range p.write {
		if sizeOf(w.from) != sizeOf(w.to) {
			out = append(out, fmt.Sprintf("%s:%d>%d", w.from.Name, sizeOf(w.from), sizeOf(w.to)))
		}
	}
	for _, s := range p.remove {
		out = append(out, "-"+s.Name)
	}
	return strings.Join(out, " ")
}

func TestDecide(t *testing.T) {
	for _, tc := range []struct {
		name string
		d    *appsv1.Deployment
		sets []*appsv1.ReplicaSet
		want string
		rev  string
	}{
		{name: "first set", d: deploy(3, "1"), want: "+1=3", rev: "1"},
		{name: "paused makes none", d: deploy(3, "1", paused), want: ""},
		{name: "steady", d: deploy(3, "1"), sets: []*appsv1.ReplicaSet{rs("1", 3, 3, 1, 3)}, want: "", rev: "1"},
		{name: "a new template", d: deploy(4, "2"), sets: []*appsv1.ReplicaSet{rs("1", 4, 4, 1, 4)}, want: "+2=1 web-1:4>3", rev: "2"},
		{name: "surge only", d: deploy(3, "2", strategy(1, 0)), sets: []*appsv1.ReplicaSet{rs("1", 3, 3, 1, 3)}, want: "+2=1", rev: "2"},
		{
			name: "surge only, one is there", d: deploy(3, "2", strategy(1, 0)),
			sets: []*appsv1.ReplicaSet{rs("1", 3, 3, 1, 3), rs("2", 1, 1, 2, 3)}, want: "web-1:3>2", rev: "2",
		},
		{
			name: "both zero means one may be missing", d: deploy(2, "2", strategy(0, 0)),
			sets: []*appsv1.ReplicaSet{rs("1", 2, 2, 1, 2)}, want: "+2=0 web-1:2>1", rev: "2",
		},
		{
			name: "sick old pods go first, the newest set waits", d: deploy(4, "3"),
			sets: []*appsv1.ReplicaSet{rs("1", 3, 3, 1, 4), rs("2", 1, 0, 2, 4), rs("3", 1, 0, 3, 4)}, want: "web-2:1>0", rev: "3",
		},
		{
			name: "a status that lags does not count twice", d: deploy(4, "2"),
			sets: []*appsv1.ReplicaSet{rs("1", 3, 3, 1, 4, func(s *appsv1.ReplicaSet) { s.Status.AvailableReplicas, s.Generation = 4, 2 }), rs("2", 2, 0, 2, 4)},
			want: "", rev: "2",
		},
		{
			name: "rollback takes the old set up again", d: deploy(2, "1"),
			sets: []*appsv1.ReplicaSet{rs("1", 0, 0, 1, 2), rs("2", 2, 2, 2, 2)}, want: "web-1:0>1", rev: "3",
		},
		{name: "scale one set", d: deploy(5, "1"), sets: []*appsv1.ReplicaSet{rs("1", 3, 3, 1, 3)}, want: "web-1:3>5", rev: "1"},
		{name: "scale while paused", d: deploy(5, "2", paused), sets: []*appsv1.ReplicaSet{rs("1", 3, 3, 1, 3)}, want: "web-1:3>5"},
		{name: "scale down to none", d: deploy(0, "1"), sets: []*appsv1.ReplicaSet{rs("1", 3, 3, 1, 3)}, want: "web-1:3>0", rev: "1"},
		{
			name: "scale up in the middle keeps proportions", d: deploy(20, "2"),
			sets: []*appsv1.ReplicaSet{rs("1", 8, 8, 1, 10), rs("2", 5, 3, 2, 10)}, want: "web-1:8>15 web-2:5>10", rev: "2",
		},
		{
			name: "recreate first empties", d: deploy(2, "2", recreate), sets: []*appsv1.ReplicaSet{rs("1", 2, 2, 1, 2)}, want: "web-1:2>0",
		},
		{
			name: "recreate waits for the last pod", d: deploy(2, "2", recreate),
			sets: []*appsv1.ReplicaSet{rs("1", 0, 0, 1, 2, func(s *appsv1.ReplicaSet) { s.Status.TerminatingReplicas = new(int32(1)) })}, want: "",
		},
		{name: "recreate goes on", d: deploy(2, "2", recreate), sets: []*appsv1.ReplicaSet{rs("1", 0, 0, 1, 2)}, want: "+2=2", rev: "2"},
		{
			name: "history has a limit", d: deploy(1, "4"),
			sets: []*appsv1.ReplicaSet{rs("1", 0, 0, 1, 1), rs("2", 0, 0, 2, 1), rs("3", 0, 0, 3, 1), rs("4", 1, 1, 4, 1)}, want: "-web-1", rev: "4",
		},
		{
			name: "history waits until the rollout is complete", d: deploy(1, "4"),
			sets: []*appsv1.ReplicaSet{rs("1", 0, 0, 1, 1), rs("2", 0, 0, 2, 1), rs("3", 0, 0, 3, 1), rs("4", 1, 0, 4, 1)}, want: "", rev: "4",
		},
		{
			name: "a deleted deployment does nothing", d: deploy(5, "2", func(d *appsv1.Deployment) { d.DeletionTimestamp = &metav1.Time{Time: start} }),
			sets: []*appsv1.ReplicaSet{rs("1", 3, 3, 1, 3)}, want: "",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := decide(tc.d, tc.sets, start)
			if diff := cmp.Diff([]string{tc.want, tc.rev}, []string{text(p), p.revision}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRollbackRemembersRevisions(t *testing.T) {
	p := decide(deploy(2, "1"), []*appsv1.ReplicaSet{rs("1", 0, 0, 1, 2), rs("2", 2, 2, 2, 2)}, start)
	for _, w := range p.write {
		if w.to.Name == "web-1" {
			if got := w.to.Annotations[historyAnnotation]; got != "1" {
				t.Errorf("history is %q", got)
			}
		}
	}
}

func TestConditions(t *testing.T) {
	cond := func(t appsv1.DeploymentConditionType, status corev1.ConditionStatus, reason string, ago time.Duration) editD {
		return func(d *appsv1.Deployment) {
			d.Status.Conditions = append(d.Status.Conditions, condition(t, status, reason, "", start.Add(-ago)))
		}
	}
	had := func(replicas, updated, avail int32) editD {
		return func(d *appsv1.Deployment) {
			d.Status.Replicas, d.Status.UpdatedReplicas, d.Status.AvailableReplicas, d.Status.ReadyReplicas = replicas, updated, avail, avail
		}
	}
	for _, tc := range []struct {
		name string
		d    *appsv1.Deployment
		sets []*appsv1.ReplicaSet
		want []string
		wake time.Duration
	}{
		{
			name: "first", d: deploy(2, "1"),
			want: []string{"Progressing=True NewReplicaSetCreated", "Available=False MinimumReplicasUnavailable"}, wake: 601 * time.Second,
		},
		{
			name: "found", d: deploy(2, "1"), sets: []*appsv1.ReplicaSet{rs("1", 2, 0, 1, 2)},
			want: []string{"Available=False MinimumReplicasUnavailable", "Progressing=True ReplicaSetUpdated"}, wake: 601 * time.Second,
		},
		{
			name: "complete", d: deploy(2, "1", cond("Progressing", "True", "ReplicaSetUpdated", time.Minute), had(2, 2, 1)),
			sets: []*appsv1.ReplicaSet{rs("1", 2, 2, 1, 2)},
			want: []string{"Available=True MinimumReplicasAvailable", "Progressing=True NewReplicaSetAvailable"},
		},
		{
			name: "nothing moves", d: deploy(2, "1", cond("Progressing", "True", "ReplicaSetUpdated", 599*time.Second), had(2, 2, 1)),
			sets: []*appsv1.ReplicaSet{rs("1", 2, 1, 1, 2)},
			want: []string{"Progressing=True ReplicaSetUpdated", "Available=False MinimumReplicasUnavailable"}, wake: 2 * time.Second,
		},
		{
			name: "too late", d: deploy(2, "1", cond("Progressing", "True", "ReplicaSetUpdated", 601*time.Second), had(2, 2, 1)),
			sets: []*appsv1.ReplicaSet{rs("1", 2, 1, 1, 2)},
			want: []string{"Available=False MinimumReplicasUnavailable", "Progressing=False ProgressDeadlineExceeded"},
		},
		{
			name: "a finished rollout does not run late", d: deploy(2, "1", cond("Progressing", "True", newAvailable, time.Hour), had(2, 2, 2)),
			sets: []*appsv1.ReplicaSet{rs("1", 2, 1, 1, 2)},
			want: []string{"Progressing=True NewReplicaSetAvailable", "Available=False MinimumReplicasUnavailable"}, wake: time.Second,
		},
		{
			name: "paused", d: deploy(2, "1", paused, cond("Progressing", "True", newAvailable, time.Hour)), sets: []*appsv1.ReplicaSet{rs("1", 2, 2, 1, 2)},
			want: []string{"Progressing=Unknown DeploymentPaused", "Available=True MinimumReplicasAvailable"},
		},
		{
			name: "resumed", d: deploy(2, "1", cond("Progressing", "Unknown", pausedReason, time.Hour), had(2, 2, 1)), sets: []*appsv1.ReplicaSet{rs("1", 2, 1, 1, 2)},
			want: []string{"Progressing=Unknown DeploymentResumed", "Available=False MinimumReplicasUnavailable"}, wake: 601 * time.Second,
		},
		{
			name: "no deadline", d: deploy(2, "1", func(d *appsv1.Deployment) { d.Spec.ProgressDeadlineSeconds = nil }), sets: []*appsv1.ReplicaSet{rs("1", 2, 2, 1, 2)},
			want: []string{"Available=True MinimumReplicasAvailable"},
		},
		{
			name: "pods cannot be made", d: deploy(2, "1", cond("Progressing", "True", "ReplicaSetUpdated", 0)),
			sets: []*appsv1.ReplicaSet{rs("1", 2, 0, 1, 2, func(s *appsv1.ReplicaSet) {
				s.Status.Replicas = 0
				s.Status.Conditions = []appsv1.ReplicaSetCondition{{Type: "ReplicaFailure", Status: "True", Reason: "FailedCreate"}}
			})},
			want: []string{"Progressing=True ReplicaSetUpdated", "Available=False MinimumReplicasUnavailable", "ReplicaFailure=True FailedCreate"}, wake: 601 * time.Second,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := decide(tc.d, tc.sets, start)
			var got []string
			for _, c := range p.status.Conditions {
				got = append(got, fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if p.wakeAfter != tc.wake {
				t.Errorf("wakes after %s, want %s", p.wakeAfter, tc.wake)
			}
		})
	}
}

// A model of sets and pods that lag: whatever the order of steps, no rollout takes available pods below
// the limit or makes more than the surge allows, and each one ends.
func TestRollsSafely(t *testing.T) {
	for seed := range uint64(80) {
		rng := rand.New(rand.NewPCG(seed, 7))
		want := 1 + rng.IntN(8)
		d := deploy(int32(want), "1", strategy(rng.IntN(3), rng.IntN(3)))
		surge, missing := fenceposts(d)
		m := &model{rng: rng, d: d}
		m.settle(t)
		for step := range 300 {
			if step%60 == 30 {
				m.d.Spec.Template = template(strconv.Itoa(1 + rng.IntN(4)))
				m.d.Generation++
			}
			m.step()
			up, size := 0, 0
			for _, s := range m.sets {
				up += s.up
				size += int(sizeOf(s.rs))
			}
			if up < want-int(missing) || size > want+int(surge) {
				t.Fatalf("seed %d step %d: %d available of %d, at least %d must be; %d in all, at most %d may be",
					seed, step, up, want, want-int(missing), size, want+int(surge))
			}
		}
		m.settle(t)
		if s := m.d.Status; s.UpdatedReplicas != int32(want) || s.Replicas != int32(want) || s.AvailableReplicas != int32(want) {
			t.Fatalf("seed %d: the rollout does not end: %+v", seed, s)
		}
	}
}

type model struct {
	rng  *rand.Rand
	d    *appsv1.Deployment
	sets []*modelSet
	tick int
}

// modelSet is a set as stored and its true pods.
type modelSet struct {
	rs       *appsv1.ReplicaSet
	up, down int
}

func (m *model) decide() {
	var seen []*appsv1.ReplicaSet
	for _, s := range m.sets {
		seen = append(seen, s.rs)
	}
	p := decide(m.d, seen, start)
	m.tick++
	if p.create != nil {
		p.create.CreationTimestamp = metav1.NewTime(start.Add(time.Duration(m.tick) * time.Second))
		p.create.UID, p.create.Generation = types.UID(p.create.Name), 1
		m.sets = append(m.sets, &modelSet{rs: p.create})
	}
	for _, w := range p.write {
		at := slices.IndexFunc(m.sets, func(s *modelSet) bool { return s.rs == w.from })
		w.to.Generation++
		m.sets[at].rs = w.to
	}
	for _, gone := range p.remove {
		m.sets = slices.DeleteFunc(m.sets, func(s *modelSet) bool { return s.rs.Name == gone.Name })
	}
	m.d.Status = p.status
}

func (s *modelSet) sync() {
	for s.up+s.down < int(sizeOf(s.rs)) {
		s.down++
	}
	for s.up+s.down > int(sizeOf(s.rs)) {
		if s.down > 0 {
			s.down--
		} else {
			s.up--
		}
	}
}

func (s *modelSet) report() {
	s.rs = s.rs.DeepCopy()
	s.rs.Status = appsv1.ReplicaSetStatus{
		Replicas: int32(s.up + s.down), ReadyReplicas: int32(s.up), AvailableReplicas: int32(s.up), ObservedGeneration: s.rs.Generation,
	}
}

func (s *modelSet) start() {
	if s.down > 0 {
		s.down--
		s.up++
	}
}

func (m *model) step() {
	if len(m.sets) == 0 || m.rng.IntN(3) == 0 {
		m.decide()
		return
	}
	s := m.sets[m.rng.IntN(len(m.sets))]
	switch m.rng.IntN(3) {
	case 0:
		s.sync()
	case 1:
		s.report()
	case 2:
		s.start()
	}
}

func (m *model) settle(t *testing.T) {
	t.Helper()
	for range 100 {
		m.decide()
		for _, s := range m.sets {
			s.sync()
			for s.down > 0 {
				s.start()
			}
			s.report()
		}
	}
}
