package agent

import (
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
	"github.com/gantryio/gantry/interfaces/plugin"
	fakeruntime "github.com/gantryio/gantry/plugins/runtime/fake"
)

func annotated(pairs ...string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Annotations = map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			p.Annotations[pairs[i]] = pairs[i+1]
		}
	}
}

func TestPodWaitsForItsNetwork(t *testing.T) {
	b := newBench(t, fakeruntime.Options{})
	var up atomic.Bool
	b.start(func(a *Agent) {
		a.NetworkUp = func(name string) error {
			if name == "" || up.Load() {
				return nil
			}
			return errors.New("network plugin " + name + " is down: it hangs")
		}
	})
	b.create(testPod("plain"))
	b.until("plain", "ready", ready)
	b.create(testPod("asks", annotated(v1alpha1.NetworkAnnotation, "fast")))
	want := "Warning NetworkNotReady network is not ready: network plugin fast is down: it hangs (annotation plugins.gantry.dev/network of the pod)"
	for event := range b.events.Events {
		if strings.Contains(event, "NetworkNotReady") {
			if event != want {
				t.Errorf("event %q, want %q", event, want)
			}
			break
		}
	}
	if sandboxes, _ := b.rt.Dump(); len(sandboxes) != 1 {
		t.Errorf("the runtime was asked before the network was there: %v", sandboxes)
	}
	up.Store(true)
	b.until("asks", "ready", ready)
}

func TestNetworksOfPods(t *testing.T) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default", Annotations: map[string]string{v1alpha1.NetworkAnnotation: "quiet"}}}
	b := newBench(t, fakeruntime.Options{}, namespace)
	b.start(nil)
	for _, test := range []struct {
		name   string
		change func(*corev1.Pod)
		want   PodNetworks
		failed error
	}{
		{name: "namespace", change: annotated(), want: PodNetworks{Name: "quiet"}},
		{name: "pod", change: annotated(v1alpha1.NetworkAnnotation, "fast"), want: PodNetworks{Name: "fast"}},
		{name: "extra", change: annotated(v1alpha1.NetworksAnnotation, "a, b,,"), want: PodNetworks{Name: "quiet", Extra: []string{"a", "b"}}},
		{
			name: "addresses", change: annotated(v1alpha1.IPsAnnotation, "10.0.0.9,fd00::9", v1alpha1.MACAnnotation, "02-00-00-00-00-09"),
			want: PodNetworks{Name: "quiet", IPs: []netip.Addr{netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("fd00::9")}, MAC: "02:00:00:00:00:09"},
		},
		{name: "no-ip", change: annotated(v1alpha1.IPsAnnotation, "ten"), failed: plugin.ErrInvalid},
		{name: "no-mac", change: annotated(v1alpha1.MACAnnotation, "02:00"), failed: plugin.ErrInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := testPod(test.name, test.change)
			b.create(p)
			b.until(test.name, "ready", ready)
			got, err := b.agent.Networks(t.Context(), p.UID)
			if !errors.Is(err, test.failed) {
				t.Fatalf("error %v, want %v", err, test.failed)
			}
			if diff := cmp.Diff(test.want, got, cmpopts.EquateComparable(netip.Addr{})); err == nil && diff != "" {
				t.Errorf("networks differ (-want +got):\n%s", diff)
			}
		})
	}
	if got, err := b.agent.Networks(t.Context(), "nobody"); err != nil || !cmp.Equal(got, PodNetworks{}) {
		t.Errorf("networks of an unknown sandbox: %v, %v", got, err)
	}
	if _, err := (&Agent{}).Networks(t.Context(), "nobody"); !errors.Is(err, plugin.ErrUnavailable) {
		t.Errorf("networks before the pods are known: %v, want %v", err, plugin.ErrUnavailable)
	}
}
