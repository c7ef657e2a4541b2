package horizontalpodautoscaler

import (
	"context"
	"errors"
	"fmt"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
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
	mappings, err := c.Client.RESTMapper().RESTMappings(kind)
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
	s := state{hpa: hpa, scale: scale, now: c.now(), Settings: c.Settings.withDefaults(), history: c.remember(client.ObjectKeyFromObject(hpa))}
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
	var err error
	if s.selector, err = c.ambiguity(ctx, hpa, scale, s.pods); err != nil || s.selector != nil {
		return s, err
	}
	s.readings = make([]reading, len(hpa.Spec.Metrics))
	for i := range hpa.Spec.Metrics {
		s.readings[i] = c.Metrics.read(ctx, hpa.Namespace, selector, &hpa.Spec.Metrics[i])
	}
	s.now = c.now() // reading may have taken its time
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

// ambiguity looks for other autoscalers whose targets select one of the same pods: they would pull it to and fro.
func (c *Controller) ambiguity(ctx context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler, scale *autoscalingv1.Scale, pods []*corev1.Pod) (*problem, error) {
	var list autoscalingv2.HorizontalPodAutoscalerList
	if err := c.Client.List(ctx, &list, client.InNamespace(hpa.Namespace)); err != nil {
		return nil, fmt.Errorf("list the autoscalers beside %s: %w", hpa.Name, err)
	}
	var names []string
	for i := range list.Items {
		other := &list.Items[i]
		selector := scale.Status.Selector
		if other.Name != hpa.Name {
			_, others, err := c.scaleOf(ctx, other)
			if err != nil {
				continue // it scales nothing
			}
			selector = others.Status.Selector
		}
		parsed, trouble := parseSelector(selector)
		if trouble == nil && selectsOne(parsed, pods) {
			names = append(names, other.Namespace+"/"+other.Name)
		}
	}
	if len(names) < 2 {
		return nil, nil
	}
	text := fmt.Sprintf("pods by selector %v are controlled by multiple HPAs: %v", scale.Status.Selector, names)
	return &problem{event: "AmbiguousSelector", text: text, reason: "AmbiguousSelector", message: text}, nil
}

func selectsOne(s labels.Selector, pods []*corev1.Pod) bool {
	for _, pod := range pods {
		if s.Matches(labels.Set(pod.Labels)) {
			return true
		}
	}
	return false
}
