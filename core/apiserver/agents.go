package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/proxy"
	serverproxy "k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/streaming/pkg/httpstream/wsstream"

	"github.com/gantryio/gantry/core/upgrade"
)

// podTarget finds the container that a log or stream request means and its agent's URL.
func (s *Server) podTarget(c *call, path string) (*url.URL, error) {
	entry, err := s.Get(c.ctx, c.q, "")
	if err != nil {
		return nil, err
	}
	pod := entry.Object.(*corev1.Pod)
	if pod.Spec.NodeName == "" {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("pod %s does not have a host assigned", pod.Name))
	}
	host, err := s.agentAddress(c, pod.Spec.NodeName)
	if err != nil {
		return nil, err
	}
	u := &url.URL{Scheme: "https", Host: host, Path: "/" + path + "/" + pod.Namespace + "/" + pod.Name}
	if path == "portForward" {
		return u, nil
	}
	container, err := chooseContainer(pod, c.query.Get("container"))
	if err != nil {
		return nil, err
	}
	u.Path += "/" + container
	return u, nil
}

func chooseContainer(pod *corev1.Pod, name string) (string, error) {
	var all, inits []string
	for i := range pod.Spec.Containers {
		all = append(all, pod.Spec.Containers[i].Name)
	}
	for i := range pod.Spec.InitContainers {
		inits = append(inits, pod.Spec.InitContainers[i].Name)
	}
	if name == "" {
		if len(all) == 1 {
			return all[0], nil
		}
		if preferred := pod.Annotations["kubectl.kubernetes.io/default-container"]; preferred != "" {
			return preferred, nil
		}
		text := fmt.Sprintf("a container name must be specified for pod %s, choose one of: %v", pod.Name, all)
		if len(inits) > 0 {
			text += fmt.Sprintf(" or one of the init containers: %v", inits)
		}
		return "", apierrors.NewBadRequest(text)
	}
	for _, have := range append(all, inits...) {
		if have == name {
			return name, nil
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if pod.Spec.EphemeralContainers[i].Name == name {
			return name, nil
		}
	}
	return "", apierrors.NewBadRequest(fmt.Sprintf("container %s is not valid for pod %s", name, pod.Name))
}

func (s *Server) agentAddress(c *call, node string) (string, error) {
	r := s.Registry.Resource(corev1.SchemeGroupVersion.WithResource("nodes"))
	entry := s.Cache.Of(r).Get(r.Key("", node))
	if entry == nil {
		return "", apierrors.NewNotFound(r.GroupResource(), node)
	}
	return agentAddress(entry.Object.(*corev1.Node))
}

// agentAddress is where a node's agent listens.
func agentAddress(n *corev1.Node) (string, error) {
	port := n.Status.DaemonEndpoints.KubeletEndpoint.Port
	for _, a := range n.Status.Addresses {
		if a.Type == corev1.NodeInternalIP && port != 0 {
			return net.JoinHostPort(a.Address, strconv.Itoa(int(port))), nil
		}
	}
	return "", apierrors.NewServiceUnavailable(fmt.Sprintf("node %s has no address or port for its agent yet", n.Name))
}

// agentError passes on what an agent says: kubectl prints the text of a bad request, such as of a container that is waiting
// to start.
func agentError(c *call, code int, text string) error {
	switch code {
	case http.StatusInternalServerError:
		return apierrors.NewInternalError(errors.New(text))
	case http.StatusBadRequest:
		return apierrors.NewBadRequest(text)
	}
	return apierrors.NewGenericServerResponse(code, "get", c.q.Resource.GroupResource(), c.q.Name, text, 0, false)
}

// connectStream joins the client's upgraded connection with one to the agent. WebSockets are translated
// to SPDY here, as upstream does: runtimes' streaming servers speak its newest protocols over SPDY only.
func (s *Server) connectStream(w http.ResponseWriter, c *call) {
	path := map[string]string{"exec": "exec", "attach": "attach", "portforward": "portForward"}[c.q.Subresource]
	u, err := s.podTarget(c, path)
	if err != nil {
		s.fail(w, jsonView, err)
		return
	}
	u.RawQuery = streamQuery(c.query, c.q.Subresource).Encode()
	var handler http.Handler = proxy.NewUpgradeAwareHandler(u, s.Agents, false, true, streamErrors{s})
	if wsstream.IsWebSocketRequest(c.req) {
		if c.q.Subresource == "portforward" {
			handler = serverproxy.NewTunnelingHandler(handler)
		} else if wsstream.IsWebSocketRequestWithStreamCloseProtocol(c.req) {
			handler = serverproxy.NewStreamTranslatorHandler(u, s.Agents, 0, streamOptions(c.query))
		}
	}
	// The session ends with its connections, which nobody closes when the server stops while its process lives on.
	handler.ServeHTTP(upgrade.Patient(w), c.req.WithContext(context.WithoutCancel(c.ctx)))
}

func streamOptions(q url.Values) serverproxy.Options {
	return serverproxy.Options{
		Stdin: queryBool(q, "stdin"), Stdout: queryBool(q, "stdout"),
		Stderr: queryBool(q, "stderr"), Tty: queryBool(q, "tty"),
	}
}

// streamQuery puts the options under the names that agents know.
func streamQuery(q url.Values, kind string) url.Values {
	out := url.Values{}
	if kind == "portforward" {
		for _, port := range q["ports"] {
			out.Add("port", port)
		}
		return out
	}
	for from, to := range map[string]string{"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"} {
		if queryBool(q, from) {
			out.Set(to, "1")
		}
	}
	if kind == "exec" {
		out["command"] = q["command"]
	}
	return out
}

// streamErrors answers when the agent cannot be reached.
type streamErrors struct{ s *Server }

func (e streamErrors) Error(w http.ResponseWriter, _ *http.Request, err error) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		err = apierrors.NewInternalError(fmt.Errorf("error dialing backend: %w", err))
	}
	e.s.fail(w, jsonView, err)
}
