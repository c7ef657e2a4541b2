package scheduler

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	configv1 "k8s.io/kube-scheduler/config/v1"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"
)

const extenderTimeout = 5 * time.Second

// extender is an HTTP service that has a say in placing, as kube-scheduler's extenders have.
type extender struct {
	configv1.Extender
	http    *http.Client
	managed map[corev1.ResourceName]bool
}

func newExtender(c configv1.Extender) (*extender, error) {
	var tls rest.TLSClientConfig
	if t := c.TLSConfig; t != nil {
		tls = rest.TLSClientConfig{
			Insecure: t.Insecure, ServerName: t.ServerName, CertFile: t.CertFile, KeyFile: t.KeyFile, CAFile: t.CAFile,
			CertData: t.CertData, KeyData: t.KeyData, CAData: t.CAData,
		}
	}
	if c.EnableHTTPS && tls.CAFile == "" && len(tls.CAData) == 0 {
		tls.Insecure = true
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	var err error
	if transport.TLSClientConfig, err = rest.TLSConfigFor(&rest.Config{TLSClientConfig: tls}); err != nil {
		return nil, err
	}
	timeout := c.HTTPTimeout.Duration
	if timeout == 0 {
		timeout = extenderTimeout
	}
	e := &extender{Extender: c, http: &http.Client{Transport: transport, Timeout: timeout}, managed: map[corev1.ResourceName]bool{}}
	for _, r := range c.ManagedResources {
		e.managed[corev1.ResourceName(r.Name)] = true
	}
	return e, nil
}

// concerns tells whether the extender wants to see the pod: every one, or those with its resources.
func (e *extender) concerns(pod *corev1.Pod) bool {
	if len(e.managed) == 0 {
		return true
	}
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			for _, resources := range []corev1.ResourceList{list[i].Resources.Requests, list[i].Resources.Limits} {
				for name := range resources {
					if e.managed[name] {
						return true
					}
				}
			}
		}
	}
	return false
}

func (e *extender) send(ctx context.Context, verb string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("marshal a question: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(e.URLPrefix, "/")+"/"+verb, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := e.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("failed %v with extender at URL %v, code %v", verb, req.URL, resp.StatusCode)
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// question names or lists the nodes, as the extender wants.
func (e *extender) question(pod *corev1.Pod, nodes []*corev1.Node) *extenderv1.ExtenderArgs {
	q := &extenderv1.ExtenderArgs{Pod: pod}
	if e.NodeCacheCapable {
		names := make([]string, 0, len(nodes))
		for _, n := range nodes {
			names = append(names, n.Name)
		}
		q.NodeNames = &names
		return q
	}
	q.Nodes = &corev1.NodeList{}
	for _, n := range nodes {
		q.Nodes.Items = append(q.Nodes.Items, *n)
	}
	return q
}

// refusal is why an extender does not want a node; final when preemption cannot help.
type refusal struct {
	text  string
	final bool
}

// filter returns the names of the nodes that remain, and why others do not.
func (e *extender) filter(ctx context.Context, pod *corev1.Pod, nodes []*corev1.Node) (map[string]bool, map[string]refusal, error) {
	var result extenderv1.ExtenderFilterResult
	if err := e.send(ctx, e.FilterVerb, e.question(pod, nodes), &result); err != nil {
		return nil, nil, err
	}
	if result.Error != "" {
		return nil, nil, errors.New(result.Error)
	}
	known, left, refused := map[string]bool{}, map[string]bool{}, map[string]refusal{}
	for _, n := range nodes {
		known[n.Name] = true
	}
	var names []string
	switch {
	case e.NodeCacheCapable && result.NodeNames != nil:
		names = *result.NodeNames
	case result.Nodes != nil:
		for i := range result.Nodes.Items {
			names = append(names, result.Nodes.Items[i].Name)
		}
	}
	for _, name := range names {
		if !known[name] {
			return nil, nil, fmt.Errorf("extender %q claims a filtered node %q which is not found in the input node list", e.URLPrefix, name)
		}
		left[name] = true
	}
	for name, why := range result.FailedNodes {
		refused[name] = refusal{text: why}
	}
	for name, why := range result.FailedAndUnresolvableNodes {
		refused[name] = refusal{why, true}
	}
	return left, refused, nil
}

// prioritize returns scores between 0 and 10.
func (e *extender) prioritize(ctx context.Context, pod *corev1.Pod, nodes []*corev1.Node) (map[string]int64, error) {
	var list extenderv1.HostPriorityList
	if err := e.send(ctx, e.PrioritizeVerb, e.question(pod, nodes), &list); err != nil {
		return nil, err
	}
	out := map[string]int64{}
	for _, p := range list {
		out[p.Host] = p.Score
	}
	return out, nil
}

func (e *extender) bind(ctx context.Context, pod *corev1.Pod, node string) error {
	var result extenderv1.ExtenderBindingResult
	err := e.send(ctx, e.BindVerb, &extenderv1.ExtenderBindingArgs{PodName: pod.Name, PodNamespace: pod.Namespace, PodUID: pod.UID, Node: node}, &result)
	if err == nil && result.Error != "" {
		err = errors.New(result.Error)
	}
	return err
}
