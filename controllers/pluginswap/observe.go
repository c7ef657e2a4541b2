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
	w := world{now: c.Clock.Now(), nodes: map[string]node{}, families: map[types.UID]*family{}}
	var list v1alpha1.NodePluginsList
	if err := c.Client.List(ctx, &list); err != nil {
		return w, fmt.Errorf("list the nodes' plugins: %w", err)
	}
	for i := range list.Items {
		n := node{plugins: &list.Items[i], pods: map[string][]*corev1.Pod{}}
		if s.Status.StartTime != nil && !slices.ContainsFunc(s.Status.Nodes, func(o v1alpha1.SwapNode) bool { return o.Name == n.plugins.Name }) {
			continue
		}
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
				if err := c.family(ctx, w.families, pod); err != nil {
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

// family makes sure that the family of a pod is among those that are known.
func (c *Controller) family(ctx context.Context, known map[types.UID]*family, pod *corev1.Pod) error {
	ref := metav1.GetControllerOf(pod)
	if ref == nil || known[ref.UID] != nil {
		return nil
	}
	f := &family{title: fmt.Sprintf("%s %s/%s", ref.Kind, pod.Namespace, ref.Name), want: -1, spare: 1, strict: ref.Kind == "Node"} // Static pods are those of their node.
	if ref.Kind == "Job" {
		f.spare = everyone // Whatever a Job's pods have done is lost, whether they go together or one after the other.
	}
	makers := []types.UID{ref.UID}
	if group, _, _ := strings.Cut(ref.APIVersion, "/"); group == appsv1.GroupName || ref.APIVersion == "v1" {
		more, err := c.measure(ctx, pod.Namespace, ref, f)
		if err != nil {
			return fmt.Errorf("get %s: %w", f.title, err)
		}
		makers = append(makers, more...)
	}
	for _, uid := range makers {
		if known[uid] != nil {
			continue
		}
		known[uid] = f
		var pods corev1.PodList
		if err := c.Client.List(ctx, &pods, client.InNamespace(pod.Namespace), client.MatchingFields{owner.ByController: string(uid)}); err != nil {
			return fmt.Errorf("list pods of %s: %w", f.title, err)
		}
		for i := range pods.Items {
			f.pods = append(f.pods, &pods.Items[i])
		}
	}
	return nil
}

// measure fills in how many pods a controller wants and can do without. It returns the UIDs of other controllers whose pods
// are of the same family.
func (c *Controller) measure(ctx context.Context, namespace string, ref *metav1.OwnerReference, f *family) (more []types.UID, err error) {
	key := client.ObjectKey{Namespace: namespace, Name: ref.Name}
	switch ref.Kind {
	case "ReplicaSet":
		var rs appsv1.ReplicaSet
		if err := c.Client.Get(ctx, key, &rs); err != nil {
			return nil, client.IgnoreNotFound(err)
		}
		f.want, f.settle = orOne(rs.Spec.Replicas), seconds(rs.Spec.MinReadySeconds)
		return c.deployed(ctx, &rs, f)
	case "StatefulSet":
		var set appsv1.StatefulSet
		if err := c.Client.Get(ctx, key, &set); err != nil {
			return nil, client.IgnoreNotFound(err)
		}
		f.want, f.spare, f.settle = ofStatefulSet(&set)
	case "DaemonSet":
		var set appsv1.DaemonSet
		if err := c.Client.Get(ctx, key, &set); err != nil {
			return nil, client.IgnoreNotFound(err)
		}
		f.want, f.spare, f.settle = ofDaemonSet(&set)
	case "ReplicationController":
		var rc corev1.ReplicationController
		if err := c.Client.Get(ctx, key, &rc); err != nil {
			return nil, client.IgnoreNotFound(err)
		}
		f.want, f.settle = orOne(rc.Spec.Replicas), seconds(rc.Spec.MinReadySeconds)
	}
	return nil, nil
}

// deployed takes the numbers of a ReplicaSet's Deployment, if it has one, and returns its other ReplicaSets.
func (c *Controller) deployed(ctx context.Context, rs *appsv1.ReplicaSet, f *family) (more []types.UID, err error) {
	ref := metav1.GetControllerOf(rs)
	if ref == nil || ref.Kind != "Deployment" {
		return nil, nil
	}
	var d appsv1.Deployment
	if err := c.Client.Get(ctx, client.ObjectKey{Namespace: rs.Namespace, Name: ref.Name}, &d); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	f.title = fmt.Sprintf("Deployment %s/%s", d.Namespace, d.Name)
	f.want, f.spare, f.settle = ofDeployment(&d)
	var sets appsv1.ReplicaSetList
	if err := c.Client.List(ctx, &sets, client.InNamespace(rs.Namespace), client.MatchingFields{owner.ByController: string(d.UID)}); err != nil {
		return nil, err
	}
	for i := range sets.Items {
		more = append(more, sets.Items[i].UID)
	}
	return more, nil
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
