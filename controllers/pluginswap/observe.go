package pluginswap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
	"github.com/gantryio/gantry/core/client/owner"
)

func (c *Controller) observe(ctx context.Context, s *v1alpha1.PluginSwap) (world, error) {
	w := world{now: c.now(), nodes: map[string]node{}, siblings: map[types.UID][]*corev1.Pod{}, wanted: map[types.UID]int32{}}
	var list v1alpha1.NodePluginsList
	if err := c.Client.List(ctx, &list); err != nil {
		return w, fmt.Errorf("list the nodes' plugins: %w", err)
	}
	for i := range list.Items {
		n := node{plugins: &list.Items[i], pods: map[string][]*corev1.Pod{}}
		for _, name := range []string{s.Spec.From, s.Spec.To} {
			in := instance(n.plugins, s.Spec.Type, name)
			if in == nil {
				continue
			}
			for _, key := range in.Pods {
				pod, err := c.pod(ctx, key)
				if err != nil {
					return w, err
				}
				if pod == nil || pod.Spec.NodeName != n.plugins.Name {
					continue
				}
				n.pods[name] = append(n.pods[name], pod)
				if err := c.family(ctx, &w, pod); err != nil {
					return w, err
				}
			}
		}
		w.nodes[n.plugins.Name] = n
	}
	asks, err := c.asks(ctx, s.Spec.Type, list.Items)
	w.pinned = asks
	return w, err
}

func (c *Controller) pod(ctx context.Context, key string) (*corev1.Pod, error) {
	namespace, name, _ := strings.Cut(key, "/")
	pod := &corev1.Pod{}
	if err := c.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, pod); err != nil {
		if client.IgnoreNotFound(err) == nil {
			return nil, nil
		}
		return nil, fmt.Errorf("get pod %s: %w", key, err)
	}
	return pod, nil
}

// family finds the pods of a pod's controller, and how many it wants.
func (c *Controller) family(ctx context.Context, w *world, pod *corev1.Pod) error {
	ref := metav1.GetControllerOf(pod)
	if ref == nil {
		return nil
	}
	if _, known := w.siblings[ref.UID]; known {
		return nil
	}
	var pods corev1.PodList
	if err := c.Client.List(ctx, &pods, client.InNamespace(pod.Namespace), client.MatchingFields{owner.ByController: string(ref.UID)}); err != nil {
		return fmt.Errorf("list pods of %s %s/%s: %w", ref.Kind, pod.Namespace, ref.Name, err)
	}
	for i := range pods.Items {
		w.siblings[ref.UID] = append(w.siblings[ref.UID], &pods.Items[i])
	}
	n, err := c.replicas(ctx, pod.Namespace, ref)
	if err != nil {
		return err
	}
	w.wanted[ref.UID] = n
	return nil
}

// replicas is how many pods a controller wants at all times; -1 when that is not a number of its own.
func (c *Controller) replicas(ctx context.Context, namespace string, ref *metav1.OwnerReference) (int32, error) {
	key := client.ObjectKey{Namespace: namespace, Name: ref.Name}
	var obj client.Object
	var count func() *int32
	switch ref.Kind {
	case "ReplicaSet":
		rs := &appsv1.ReplicaSet{}
		obj, count = rs, func() *int32 { return rs.Spec.Replicas }
	case "StatefulSet":
		set := &appsv1.StatefulSet{}
		obj, count = set, func() *int32 { return set.Spec.Replicas }
	case "ReplicationController":
		rc := &corev1.ReplicationController{}
		obj, count = rc, func() *int32 { return rc.Spec.Replicas }
	default:
		return -1, nil
	}
	if err := c.Client.Get(ctx, key, obj); err != nil {
		if client.IgnoreNotFound(err) == nil {
			return -1, nil
		}
		return 0, fmt.Errorf("get %s %s: %w", ref.Kind, key, err)
	}
	if n := count(); n != nil {
		return *n, nil
	}
	return -1, nil
}

// asks makes the function that tells whether a pod asks for a plugin by name.
func (c *Controller) asks(ctx context.Context, t v1alpha1.Type, nodes []v1alpha1.NodePlugins) (func(*corev1.Pod, string) bool, error) {
	if t == v1alpha1.Network {
		return c.asksForNetwork(ctx)
	}
	var classes nodev1.RuntimeClassList
	if err := c.Client.List(ctx, &classes); err != nil {
		return nil, fmt.Errorf("list runtime classes: %w", err)
	}
	handlers := map[string]string{}
	for i := range classes.Items {
		handlers[classes.Items[i].Name] = classes.Items[i].Handler
	}
	return func(p *corev1.Pod, plugin string) bool {
		if p.Spec.RuntimeClassName == nil {
			return false
		}
		handler := handlers[*p.Spec.RuntimeClassName]
		if handler == plugin {
			return true
		}
		for i := range nodes {
			if in := instance(&nodes[i], t, plugin); in != nil && nodes[i].Name == p.Spec.NodeName {
				return slices.Contains(in.Handlers, handler)
			}
		}
		return false
	}, nil
}

// asksForNetwork knows the annotations of pods and their namespaces.
func (c *Controller) asksForNetwork(ctx context.Context) (func(*corev1.Pod, string) bool, error) {
	var list corev1.NamespaceList
	if err := c.Client.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	namespaces := map[string]*corev1.Namespace{}
	for i := range list.Items {
		namespaces[list.Items[i].Name] = &list.Items[i]
	}
	return func(p *corev1.Pod, plugin string) bool {
		name, _ := v1alpha1.NetworkOf(p, namespaces[p.Namespace])
		return name == plugin || slices.Contains(v1alpha1.ExtraNetworks(p), plugin)
	}, nil
}
