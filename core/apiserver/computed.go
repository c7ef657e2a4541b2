package apiserver

import (
	"context"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/apiserver/usage"
	"github.com/gantryio/gantry/core/cache"
)

// Compute makes the objects of a computed kind that the selectors, nil for all, select in q's namespace, or in all when
// that is empty.
func (s *Server) Compute(ctx context.Context, q *api.Request, labels labels.Selector, fields fields.Selector) ([]*cache.Entry, error) {
	f, err := newSelection(q, &ListOptions{Labels: labels, Fields: fields})
	if err != nil {
		return nil, err
	}
	gv := q.Resource.GroupVersionKind().GroupVersion()
	if r := s.remoteOf([]string{"apis", gv.Group, gv.Version}); r != nil {
		return s.fetchObjects(ctx, r, q, labels, &f.Selector)
	}
	return s.compute(ctx, q, &f.Selector)
}

func (s *Server) computeOne(ctx context.Context, q *api.Request) (*cache.Entry, error) {
	entries, err := s.Compute(ctx, q, nil, fields.OneTermEqualSelector("metadata.name", q.Name))
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, apierrors.NewNotFound(q.Resource.GroupResource(), q.Name)
	}
	return entries[0], nil
}

func (s *Server) compute(ctx context.Context, q *api.Request, f *cache.Selector) ([]*cache.Entry, error) {
	if err := s.waitFor(ctx, ""); err != nil {
		return nil, err
	}
	var objects []api.Object
	switch q.Resource.GroupVersionResource() {
	case metricsv1beta1.SchemeGroupVersion.WithResource("nodes"):
		objects = s.nodeMetrics(ctx, f)
	case metricsv1beta1.SchemeGroupVersion.WithResource("pods"):
		objects = s.podMetrics(ctx, q.Namespace, f)
	case corev1.SchemeGroupVersion.WithResource("componentstatuses"):
		objects = s.componentStatuses(ctx, f)
	default:
		return nil, errNoResource
	}
	out := make([]*cache.Entry, len(objects))
	for i, o := range objects {
		q.Resource.SetType(o)
		out[i] = &cache.Entry{Object: o}
	}
	return out, nil
}

func (s *Server) stored(version schema.GroupVersion, plural, namespace string) []*cache.Entry {
	r := s.Registry.Resource(version.WithResource(plural))
	var out []*cache.Entry
	for _, e := range s.Cache.Of(r).Snapshot().From(namespace, "") {
		out = append(out, e)
	}
	return out
}

// metricsMeta is the metadata of what is computed about an object: its labels are that object's.
func metricsMeta(obj api.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: obj.GetName(), Namespace: obj.GetNamespace(), Labels: obj.GetLabels(), CreationTimestamp: metav1.Now().Rfc3339Copy()}
}

func (s *Server) nodeMetrics(ctx context.Context, f *cache.Selector) []api.Object {
	var nodes []*corev1.Node
	for _, e := range s.stored(corev1.SchemeGroupVersion, "nodes", "") {
		if f.Matches(&metricsv1beta1.NodeMetrics{ObjectMeta: metricsMeta(e.Object)}) {
			nodes = append(nodes, e.Object.(*corev1.Node))
		}
	}
	figures := s.meter.Read(ctx, nodes)
	var out []api.Object
	for _, n := range nodes {
		if got := figures[n.Name]; got != nil && got.Node != nil {
			out = append(out, &metricsv1beta1.NodeMetrics{
				ObjectMeta: metricsMeta(n), Timestamp: metav1.NewTime(got.Node.At).Rfc3339Copy(),
				Window: metav1.Duration{Duration: got.Node.Window}, Usage: used(*got.Node),
			})
		}
	}
	return out
}

// podMetrics asks only those nodes that the selected pods are on.
func (s *Server) podMetrics(ctx context.Context, namespace string, f *cache.Selector) []api.Object {
	var pods []*corev1.Pod
	names := map[string]bool{}
	for _, e := range s.stored(corev1.SchemeGroupVersion, "pods", namespace) {
		pod := e.Object.(*corev1.Pod)
		if pod.Status.Phase == corev1.PodRunning && f.Matches(&metricsv1beta1.PodMetrics{ObjectMeta: metricsMeta(pod)}) {
			pods, names[pod.Spec.NodeName] = append(pods, pod), true
		}
	}
	var nodes []*corev1.Node
	for _, e := range s.stored(corev1.SchemeGroupVersion, "nodes", "") {
		if n := e.Object.(*corev1.Node); names[n.Name] {
			nodes = append(nodes, n)
		}
	}
	figures := s.meter.Read(ctx, nodes)
	var out []api.Object
	for _, pod := range pods {
		got := figures[pod.Spec.NodeName]
		if got == nil {
			continue
		}
		if containers := got.Pods[string(pod.UID)]; len(containers) > 0 {
			out = append(out, podMetricsOf(pod, containers))
		}
	}
	return out
}

// podMetricsOf has the time of the container that was measured first.
func podMetricsOf(pod *corev1.Pod, containers map[string]usage.Figure) *metricsv1beta1.PodMetrics {
	out := &metricsv1beta1.PodMetrics{ObjectMeta: metricsMeta(pod)}
	for _, name := range slices.SortedFunc(maps.Keys(containers), strings.Compare) {
		f := containers[name]
		if at := metav1.NewTime(f.At).Rfc3339Copy(); out.Timestamp.IsZero() || at.Before(&out.Timestamp) {
			out.Timestamp, out.Window = at, metav1.Duration{Duration: f.Window}
		}
		out.Containers = append(out.Containers, metricsv1beta1.ContainerMetrics{Name: name, Usage: used(f)})
	}
	return out
}

func used(f usage.Figure) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewScaledQuantity(f.Nanocores, resource.Nano),
		corev1.ResourceMemory: *resource.NewQuantity(f.Memory, resource.BinarySI),
	}
}
