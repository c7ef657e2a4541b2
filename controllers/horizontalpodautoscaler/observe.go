package horizontalpodautoscaler

import (
	"context"
	"errors"
	"fmt"
	"slices"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// target is an object of any kind that has a scale, of which nothing but its name matters.
type target = *unstructured.Unstructured

// scaleOf finds what an autoscaler scales, in whichever version of its kind there is a scale.
func (c *Controller) scaleOf(ctx context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler) (target, *autoscalingv1.Scale, error) {
	ref := hpa.Spec.ScaleTargetRef
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return nil, nil, fmt.Errorf("invalid API version in scale target reference: %w", err)
	}
	kind := schema.GroupKind{Group: gv.Group, Kind: ref.Kind}
	mappings, err := c.mapper.RESTMappings(kind)
	if meta.IsNoMatchError(err) {
		err = &meta.NoKindMatchError{GroupKind: kind} // mappers differ in their words
	}
	if err != nil {
		return nil, nil, fmt.Errorf("unable to determine resource for scale target reference: %w", err)
	}
	first := errors.New("unrecognized resource")
	for i, m := range mappings {
		obj := &unstructured.Unstructured{}
		obj.SetGroupVersionKind(m.GroupVersionKind)
		obj.SetNamespace(hpa.Namespace)
		obj.SetName(ref.Name)
		scale := &autoscalingv1.Scale{}
		err := c.Client.SubResource("scale").Get(ctx, obj, scale)
		if err == nil {
			return obj, scale, nil
		}
		if i == 0 {
			first = err
		}
	}
	return nil, nil, first
}

// observe reads all that the decision needs, and no metrics when they do not matter.
func (c *Controller) observe(ctx context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler, scale *autoscalingv1.Scale) (state, error) {
	s := state{hpa: hpa, scale: scale, now: c.Clock.Now(), Settings: c.Settings.withDefaults(), history: c.remember(client.ObjectKeyFromObject(hpa))}
	if scale.Spec.Replicas == 0 && s.least() != 0 || !s.metricsMatter() {
		return s, nil
	}
	selector, trouble := parseSelector(scale.Status.Selector)
	if s.selector = trouble; trouble != nil {
		return s, nil
	}
	var list corev1.PodList
	if err := c.Client.List(ctx, &list, client.InNamespace(hpa.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return s, fmt.Errorf("list the pods of %s: %w", reference(hpa), err)
	}
	for i := range list.Items {
		s.pods = append(s.pods, &list.Items[i])
	}
	if s.selector = c.ambiguity(client.ObjectKeyFromObject(hpa), scale.Status.Selector, selector, s.pods); s.selector != nil {
		return s, nil
	}
	s.readings = make([]reading, len(hpa.Spec.Metrics))
	for i := range hpa.Spec.Metrics {
		s.readings[i] = c.Metrics.read(ctx, hpa.Namespace, selector, &hpa.Spec.Metrics[i])
	}
	s.now = c.Clock.Now() // reading may have taken its time
	return s, nil
}

func parseSelector(text string) (labels.Selector, *problem) {
	if text == "" {
		return nil, &problem{
			event: "SelectorRequired", text: "selector is required",
			reason: "InvalidSelector", message: "the HPA target's scale is missing a selector",
		}
	}
	selector, err := labels.Parse(text)
	if err != nil {
		text := fmt.Sprintf("couldn't convert selector into a corresponding internal selector object: %v", err)
		return nil, &problem{event: "InvalidSelector", text: text, reason: "InvalidSelector", message: text}
	}
	return selector, nil
}

// ambiguity looks for other autoscalers whose targets select one of the same pods: they would pull it to and fro. It knows
// the selectors of those that it has looked at already.
func (c *Controller) ambiguity(key types.NamespacedName, selector string, parsed labels.Selector, pods []*corev1.Pod) *problem {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.selectors == nil {
		c.selectors = map[string]map[string]labels.Selector{}
	}
	if c.selectors[key.Namespace] == nil {
		c.selectors[key.Namespace] = map[string]labels.Selector{}
	}
	c.selectors[key.Namespace][key.Name] = parsed
	var names []string
	for name, other := range c.selectors[key.Namespace] {
		if selectsOne(other, pods) {
			names = append(names, key.Namespace+"/"+name)
		}
	}
	if len(names) < 2 {
		return nil
	}
	slices.Sort(names)
	text := fmt.Sprintf("pods by selector %v are controlled by multiple HPAs: %v", selector, names)
	return &problem{event: "AmbiguousSelector", text: text, reason: "AmbiguousSelector", message: text}
}

func selectsOne(s labels.Selector, pods []*corev1.Pod) bool {
	for _, pod := range pods {
		if s.Matches(labels.Set(pod.Labels)) {
			return true
		}
	}
	return false
}
