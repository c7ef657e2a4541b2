package admission

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/api"
)

// resizing is a write of the resize subresource.
func resizing(old, now *corev1.Pod) *Attributes {
	now.Generation = old.Generation + 1
	a := attributes(Update, nil, now, old)
	a.Subresource = "resize"
	return a
}

func TestPodResize(t *testing.T) {
	node := func(name, os string) api.Object {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{Allocatable: quantities("cpu", "1", "memory", "1Gi")}}
		if os != "" {
			n.Labels = map[string]string{corev1.LabelOSStable: os}
		}
		return n
	}
	p := PodResize{reader(t, node("n", "linux"), node("plain", ""), node("w", "windows"))}
	for _, c := range []struct {
		name, node string
		requests   corev1.ResourceList
		refused    string
		because    metav1.CauseType
		direct     bool
	}{
		{name: "fits", node: "n", requests: quantities("cpu", "400m", "memory", "100Mi")},
		{name: "fits where nobody says what it is", node: "plain", requests: quantities("cpu", "400m")},
		{name: "nowhere yet", requests: quantities("cpu", "9")},
		{name: "too much of both", node: "n", requests: quantities("cpu", "2", "memory", "2Gi"), because: "NodeCapacity", refused: "node didn't have enough allocatable resources: cpu, requested: 2000, allocatable: 1000; memory, requested: 2147483648, allocatable: 1073741824"},
		{name: "no such node", node: "x", requests: quantities("cpu", "1m"), refused: `node "x" not found`},
		{name: "another system", node: "w", requests: quantities("cpu", "1m"), because: "UnsupportedPlatform", refused: `pod resize is only supported on linux nodes, node "w" is "windows"`},
		{name: "not by the subresource", node: "n", requests: quantities("cpu", "9"), direct: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			old := limitedPod("a", quantities("cpu", "1m"), nil)
			old.Spec.NodeName = c.node
			now := limitedPod("a", c.requests, nil)
			now.Spec.NodeName = c.node
			a := resizing(old, now)
			if c.direct {
				a.Subresource = ""
			}
			err := p.Validate(t.Context(), a)
			if c.refused == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), c.refused) {
				t.Fatalf("got %v, want %s", err, c.refused)
			}
			var got metav1.CauseType
			for _, cause := range err.(apierrors.APIStatus).Status().Details.Causes {
				got = cause.Type
			}
			if got != c.because {
				t.Errorf("because of %q, want %q", got, c.because)
			}
		})
	}
}

// Limit ranges hold for resizes, and their defaults as well; other updates of pods they leave alone.
func TestLimitRangerOfResizes(t *testing.T) {
	p := LimitRanger{reader(t, limitRange("a", corev1.LimitRangeItem{
		Type: corev1.LimitTypeContainer, Max: quantities("cpu", "1"), Default: quantities("cpu", "500m"),
	}))}
	old := limitedPod("a", quantities("cpu", "100m"), quantities("cpu", "1"))
	big := limitedPod("a", quantities("cpu", "2"), quantities("cpu", "2"))
	err := p.Validate(t.Context(), resizing(old, big))
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "maximum cpu usage per Container is 1, but limit is 2") {
		t.Errorf("got %v", err)
	}
	for what, a := range map[string]*Attributes{
		"an update":                attributes(Update, nil, big, old),
		"an ephemeral container":   {Request: resizing(old, big).Request, Operation: Update, Object: big, Old: old},
		"a pod that is on its way": resizing(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "p", DeletionTimestamp: &metav1.Time{}}}, big),
	} {
		if what == "an ephemeral container" {
			a.Subresource = "ephemeralcontainers"
		}
		if err := p.Validate(t.Context(), a); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	bare := limitedPod("a", quantities("cpu", "200m"), nil)
	if err := p.Admit(t.Context(), resizing(old, bare)); err != nil {
		t.Fatal(err)
	}
	if limit := bare.Spec.Containers[0].Resources.Limits.Cpu(); limit.String() != "500m" {
		t.Errorf("the limit is %s", limit)
	}
}
