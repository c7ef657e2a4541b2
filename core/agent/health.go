package agent

import (
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/core/agent/node"
)

const healthTimeout = 2 * time.Second

// health says how the node is right now.
func (a *Agent) health(ctx context.Context) node.Health {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	a.mu.Lock()
	h := a.pressure
	a.mu.Unlock()
	var problems []string
	instances := a.Runtimes.Instances()
	if len(instances) == 0 {
		problems = append(problems, "no container runtime")
	}
	for n, i := range instances {
		st, err := i.Runtime.Status(ctx, &runtimeapi.StatusRequest{})
		if err != nil {
			if n == 0 {
				problems = append(problems, "container runtime is down: "+message(err))
			}
			continue
		}
		h.Handlers = append(h.Handlers, handlers(i, st)...)
		if n > 0 {
			continue
		}
		problems = append(problems, conditions(st)...)
		h.RuntimeVersion = a.runtimeVersion(ctx, i)
		if list, err := i.Runtime.ListImages(ctx, &runtimeapi.ListImagesRequest{}); err == nil {
			h.Images = node.Images(list.GetImages())
		}
	}
	if n := a.theNode(); a.NeedPodCIDR && (n == nil || n.Spec.PodCIDR == "") {
		problems = append(problems, "container runtime network not ready: the node has no pod range yet")
	}
	if a.NetworkReady != nil {
		if err := a.NetworkReady(ctx); err != nil {
			problems = append(problems, "container runtime network not ready: "+err.Error())
		}
	}
	h.NotReady = strings.Join(problems, ", ")
	return h
}

func (a *Agent) runtimeVersion(ctx context.Context, i Instance) string {
	a.mu.Lock()
	_, ok := a.names[i.Plugin]
	a.mu.Unlock()
	if !ok {
		a.learnName(ctx, i)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.names[i.Plugin] == "" {
		return ""
	}
	return a.names[i.Plugin] + "://" + a.names[i.Plugin+" version"]
}

func conditions(st *runtimeapi.StatusResponse) []string {
	var out []string
	for _, c := range st.GetStatus().GetConditions() {
		switch {
		case c.GetStatus():
		case c.GetType() == "RuntimeReady":
			out = append(out, "container runtime status check may not have completed yet: "+c.GetReason()+": "+c.GetMessage())
		case c.GetType() == "NetworkReady":
			out = append(out, "container runtime network not ready: NetworkReady=false reason:"+c.GetReason()+" message:"+c.GetMessage())
		}
	}
	return out
}

func handlers(i Instance, st *runtimeapi.StatusResponse) []corev1.NodeRuntimeHandler {
	var out []corev1.NodeRuntimeHandler
	for _, h := range st.GetRuntimeHandlers() {
		rro, userns := h.GetFeatures().GetRecursiveReadOnlyMounts(), h.GetFeatures().GetUserNamespaces()
		out = append(out, corev1.NodeRuntimeHandler{Name: h.GetName(), Features: &corev1.NodeRuntimeHandlerFeatures{
			RecursiveReadOnlyMounts: &rro, UserNamespaces: &userns,
		}})
	}
	for _, name := range i.Handlers {
		out = append(out, corev1.NodeRuntimeHandler{Name: name})
	}
	return out
}
