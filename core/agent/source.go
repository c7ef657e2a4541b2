package agent

import (
	"context"
	"errors"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/agent/criconfig"
	"github.com/gantryio/gantry/core/agent/objects"
)

// source reads what an environment refers to.
type source struct {
	ctx       context.Context
	a         *Agent
	namespace string
}

var _ criconfig.Source = source{}

// ConfigMap implements criconfig.Source.
func (s source) ConfigMap(name string) (*corev1.ConfigMap, error) {
	var cm corev1.ConfigMap
	err := s.a.API.Get(s.ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, &cm)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get configmap %s/%s: %w", s.namespace, name, err)
	}
	return &cm, nil
}

// Secret implements criconfig.Source.
func (s source) Secret(name string) (*corev1.Secret, error) {
	var secret corev1.Secret
	err := s.a.API.Get(s.ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, &secret)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get secret %s/%s: %w", s.namespace, name, err)
	}
	return &secret, nil
}

// servicesFor lists the Services that a pod's environment tells of: those of its namespace if it wants them, and always
// the API server's.
func (a *Agent) servicesFor(ctx context.Context, p *corev1.Pod) ([]*corev1.Service, error) {
	if a.Hollow {
		return nil, nil
	}
	var out []*corev1.Service
	var api corev1.Service
	err := a.API.Get(ctx, client.ObjectKey{Namespace: metaDefault, Name: "kubernetes"}, &api)
	switch {
	case err == nil:
		out = append(out, &api)
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("get service kubernetes: %w", err)
	}
	if p.Spec.EnableServiceLinks != nil && !*p.Spec.EnableServiceLinks {
		return out, nil
	}
	var list corev1.ServiceList
	if err := a.API.List(ctx, &list, client.InNamespace(p.Namespace)); err != nil {
		return nil, fmt.Errorf("list services of %s: %w", p.Namespace, err)
	}
	for i := range list.Items {
		out = append(out, &list.Items[i])
	}
	return out, nil
}

const metaDefault = "default"

// pullSecrets reads a pod's image pull secrets. One that is missing is skipped: the pull tells what is wrong.
func (a *Agent) pullSecrets(ctx context.Context, p *corev1.Pod) []*corev1.Secret {
	src := source{ctx: ctx, a: a, namespace: p.Namespace}
	var out []*corev1.Secret
	for _, ref := range p.Spec.ImagePullSecrets {
		s, err := src.Secret(ref.Name)
		if err != nil || s == nil {
			a.event(p, "", corev1.EventTypeWarning, "FailedToRetrieveImagePullSecret",
				fmt.Sprintf("Unable to retrieve some image pull secrets (%s); attempting to pull the image may not succeed.", ref.Name))
			continue
		}
		out = append(out, s)
	}
	return out
}

// volumeImages readies the images of image volumes that a container mounts.
func (a *Agent) volumeImages(ctx context.Context, p *corev1.Pod, c *corev1.Container) (map[string]string, error) {
	var out map[string]string
	for i := range c.VolumeMounts {
		for j := range p.Spec.Volumes {
			v := &p.Spec.Volumes[j]
			if v.Name != c.VolumeMounts[i].Name || v.Image == nil {
				continue
			}
			fake := &corev1.Container{Name: c.Name, Image: v.Image.Reference, ImagePullPolicy: v.Image.PullPolicy}
			img := a.ensureImage(ctx, p, fake, nil)
			if img.Failure != nil {
				return nil, errors.New(img.Failure.Message)
			}
			if out == nil {
				out = map[string]string{}
			}
			out[v.Name] = img.Ref
		}
	}
	return out, nil
}

// dns is the resolver configuration of a pod on this node.
func (a *Agent) dns(p *corev1.Pod) (*runtimeapi.DNSConfig, []criconfig.Warning) {
	servers := a.ClusterDNS
	if a.Resolvers != nil {
		servers = a.Resolvers()
	}
	return criconfig.DNS(p, criconfig.ClusterDNS{Servers: servers, Domain: a.ClusterDomain}, a.hostDNS())
}

// warnOfDNS tells people what is not as they may expect of a pod's resolver configuration.
func (a *Agent) warnOfDNS(p *corev1.Pod) {
	_, warnings := a.dns(p)
	for _, w := range warnings {
		a.event(p, "", corev1.EventTypeWarning, w.Reason, w.Message)
	}
}

// hostDNS reads the machine's resolver configuration.
func (a *Agent) hostDNS() *runtimeapi.DNSConfig {
	if a.Hollow {
		return &runtimeapi.DNSConfig{}
	}
	raw, err := os.ReadFile(a.ResolvConf)
	if err != nil {
		return &runtimeapi.DNSConfig{}
	}
	return criconfig.ParseResolvConf(raw)
}

// followMissing watches the objects that a container's environment refers to, so that the container starts as soon as
// what was missing is there.
func (w *worker) followMissing(name string) {
	c := criconfig.Find(w.cur, name)
	if c == nil {
		return
	}
	if w.missing == nil {
		w.missing = w.a.objects.NewSet(func() {
			w.post(func() {
				for n, e := range w.obs.Errors {
					e.RetryAt = w.a.Clock.Now()
					w.obs.Errors[n] = e
				}
			})
		})
	}
	set, ns, ctx := w.missing, w.cur.Namespace, w.ending
	go func() {
		for _, key := range references(ns, c) {
			_, _ = set.Get(ctx, key)
		}
		if ctx.Err() != nil {
			set.Close()
		}
	}()
}

// references are the objects that a container's environment refers to.
func references(ns string, c *corev1.Container) []objects.Key {
	var out []objects.Key
	add := func(kind objects.Kind, name string) {
		out = append(out, objects.Key{Kind: kind, Namespace: ns, Name: name})
	}
	for i := range c.EnvFrom {
		if r := c.EnvFrom[i].ConfigMapRef; r != nil {
			add(objects.ConfigMap, r.Name)
		}
		if r := c.EnvFrom[i].SecretRef; r != nil {
			add(objects.Secret, r.Name)
		}
	}
	for i := range c.Env {
		if from := c.Env[i].ValueFrom; from != nil && from.ConfigMapKeyRef != nil {
			add(objects.ConfigMap, from.ConfigMapKeyRef.Name)
		} else if from != nil && from.SecretKeyRef != nil {
			add(objects.Secret, from.SecretKeyRef.Name)
		}
	}
	return out
}
