package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
	"github.com/gantryio/gantry/interfaces/plugin"
)

// errNetwork marks why a pod waits for its network.
var errNetwork = errors.New("network is not ready")

// PodNetworks is what a pod asks for.
type PodNetworks struct {
	// Name is the plugin of its addresses, "" the node's default; Extra are those of further interfaces.
	Name  string
	Extra []string
	IPs   []netip.Addr
	MAC   string
}

// Networks is what a pod of this node asks for. Sandboxes that are no pod of this node get the default. As long as
// the pods are not known, the error is plugin.ErrUnavailable.
func (a *Agent) Networks(ctx context.Context, uid types.UID) (PodNetworks, error) {
	a.mu.Lock()
	w, listed := a.workers[uid], a.listed
	a.mu.Unlock()
	if w == nil && !listed {
		return PodNetworks{}, fmt.Errorf("find pod %s: the agent has not seen its pods yet: %w", uid, plugin.ErrUnavailable)
	}
	if w == nil {
		return PodNetworks{}, nil
	}
	out, _, err := a.networksOf(ctx, w.pod.Load())
	return out, err
}

// networksOf also says who names the first network: the pod or its namespace.
func (a *Agent) networksOf(ctx context.Context, p *corev1.Pod) (out PodNetworks, asker string, err error) {
	if out.Name, asker, err = a.networkOf(ctx, p); err != nil {
		return out, asker, err
	}
	out.Extra = v1alpha1.ExtraNetworks(p)
	if out.IPs, err = v1alpha1.IPsOf(p); err != nil {
		return out, asker, fmt.Errorf("%w: %w", err, plugin.ErrInvalid)
	}
	if out.MAC, err = v1alpha1.MACOf(p); err != nil {
		return out, asker, fmt.Errorf("%w: %w", err, plugin.ErrInvalid)
	}
	return out, asker, nil
}

// networkOf is the network that a pod or its namespace names.
func (a *Agent) networkOf(ctx context.Context, p *corev1.Pod) (name, asker string, err error) {
	if name, asker = v1alpha1.NetworkOf(p, nil); name != "" {
		return name, asker, nil
	}
	var n corev1.Namespace
	if err := a.API.Get(ctx, client.ObjectKey{Name: p.Namespace}, &n); client.IgnoreNotFound(err) != nil {
		return "", "", fmt.Errorf("get namespace %s: %w: %w", p.Namespace, err, plugin.ErrUnavailable)
	}
	name, asker = v1alpha1.NetworkOf(p, &n)
	return name, asker, nil
}

// checkNetworks says why a pod has to wait for its network plugins. What it returns is an errNetwork.
func (a *Agent) checkNetworks(ctx context.Context, p *corev1.Pod) error {
	if a.NetworkUp == nil || p.Spec.HostNetwork {
		return nil
	}
	want, asker, err := a.networksOf(ctx, p)
	if err != nil {
		return fmt.Errorf("%w: %w", errNetwork, err)
	}
	if err := a.NetworkUp(want.Name); err != nil {
		if asker != "" {
			return fmt.Errorf("%w: %w (annotation %s of the %s)", errNetwork, err, v1alpha1.NetworkAnnotation, asker)
		}
		return fmt.Errorf("%w: %w", errNetwork, err)
	}
	for _, name := range want.Extra {
		if err := a.NetworkUp(name); err != nil {
			return fmt.Errorf("%w: %w (annotation %s of the pod)", errNetwork, err, v1alpha1.NetworksAnnotation)
		}
	}
	return nil
}

// PodUIDs are the pods that this node deals with; nil as long as they are not known.
func (a *Agent) PodUIDs() map[string]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.listed {
		return nil
	}
	out := map[string]bool{}
	for uid := range a.workers {
		out[string(uid)] = true
	}
	for uid := range a.census.parked {
		out[string(uid)] = true
	}
	return out
}
