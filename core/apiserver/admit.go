package apiserver

import (
	"context"
	"fmt"
	"net/url"
	"strconv"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/api"
)

// chains are the admission of one kind.
type chains struct {
	all, internals admission.Chain // those of all that ask nobody
}

// chainsOf are the plugins that have something to say to a kind, of which there are few.
func (s *Server) chainsOf(r *api.Resource) *chains {
	kind := r.GroupResource()
	if have, ok := s.admissions.Load(kind); ok {
		return have.(*chains)
	}
	all := s.Admission.About(r)
	c := &chains{all, all.Internals()}
	s.admissions.Store(kind, c)
	return c
}

// chainFor is the admission of a write. One that carries out a subresource about which others have been asked is not told to
// them a second time.
func (s *Server) chainFor(q *api.Request) admission.Chain {
	c := s.chainsOf(q.Resource)
	if q.Admitted || setsStatus(q) {
		return c.internals
	}
	return c.all
}

// admit runs the mutators and looks at what others have made of the object.
func (s *Server) admit(ctx context.Context, a *admission.Attributes) error {
	owned := a.Object.GetManagedFields()
	if err := s.chainFor(a.Request).Admit(ctx, a); err != nil || !a.Mutated {
		return err
	}
	if err := managedfields.ValidateManagedFields(a.Object.GetManagedFields()); err != nil {
		if a.Warn != nil {
			a.Warn(fmt.Sprintf(".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating admission controller; please fix your requests: %v", err))
		}
		a.Object.SetManagedFields(owned)
	}
	if a.Old == nil {
		return checkTarget(a.Request, a.Object)
	}
	return nil
}

// admitDeletion asks the external plugins, of which some mutate and see deletions too, before all that validate.
func (s *Server) admitDeletion(ctx context.Context, a *admission.Attributes) error {
	if !a.Admitted {
		if err := s.externals.Admit(ctx, a); err != nil {
			return err
		}
	}
	return s.chainFor(a.Request).Validate(ctx, a)
}

// askAbout asks the external plugins about what is no object of the kind.
func (s *Server) askAbout(ctx context.Context, a *admission.Attributes) error {
	if a.Body != nil {
		a.Body.GetObjectKind().SetGroupVersionKind(a.BodyKind)
	}
	if err := s.externals.Admit(ctx, a); err != nil {
		return err
	}
	return s.externals.Validate(ctx, a)
}

// runSub runs a subresource after external admission, which is asked about its own object.
func (s *Server) runSub(ctx context.Context, q *api.Request, h *subHandler, obj runtime.Object) (runtime.Object, error) {
	if h.kind == q.Resource.GroupVersionKind() {
		return h.run(ctx, q, obj) // which is a write of the object
	}
	if s.externals.Idle() {
		return h.run(ctx, q, obj)
	}
	body := obj.DeepCopyObject()
	if err := s.askAbout(ctx, &admission.Attributes{Request: q, Operation: admission.Create, Body: body, BodyKind: h.kind}); err != nil {
		return nil, err
	}
	carry := *q
	carry.Admitted = true
	return h.run(ctx, &carry, body)
}

// admitScale asks about a new scale, which may be changed, of an object.
func (s *Server) admitScale(ctx context.Context, q *api.Request, scale *autoscalingv1.Scale, current api.Object) error {
	if s.externals.Idle() {
		return nil
	}
	kind := autoscalingv1.SchemeGroupVersion.WithKind("Scale")
	old := q.Resource.GetScale(current)
	old.SetGroupVersionKind(kind)
	return s.askAbout(ctx, &admission.Attributes{Request: q, Operation: admission.Update, Body: scale, OldBody: old, BodyKind: kind})
}

// admitConnection asks about a connection before it is made.
func (s *Server) admitConnection(c *call) error {
	if c.sub.kind == c.q.Resource.GroupVersionKind() || s.externals.Idle() {
		return nil // logs are only read
	}
	a := &admission.Attributes{Request: c.q, Operation: admission.Connect, BodyKind: c.sub.kind, Body: connectOptions(c)}
	return s.askAbout(c.ctx, a)
}

// connectOptions are the options of a connection as an object.
func connectOptions(c *call) runtime.Object {
	v := c.query
	switch c.sub.kind {
	case podKind("PodExecOptions"):
		return &corev1.PodExecOptions{
			Stdin: queryBool(v, "stdin"), Stdout: queryBool(v, "stdout"), Stderr: queryBool(v, "stderr"), TTY: queryBool(v, "tty"),
			Container: v.Get("container"), Command: v["command"],
		}
	case podKind("PodAttachOptions"):
		return &corev1.PodAttachOptions{
			Stdin: queryBool(v, "stdin"), Stdout: queryBool(v, "stdout"), Stderr: queryBool(v, "stderr"), TTY: queryBool(v, "tty"),
			Container: v.Get("container"),
		}
	case podKind("PodPortForwardOptions"):
		return &corev1.PodPortForwardOptions{Ports: ports(v)}
	case podKind("PodProxyOptions"):
		return &corev1.PodProxyOptions{Path: c.tail()}
	case podKind("ServiceProxyOptions"):
		return &corev1.ServiceProxyOptions{Path: c.tail()}
	case podKind("NodeProxyOptions"):
		return &corev1.NodeProxyOptions{Path: c.tail()}
	}
	return nil
}

func podKind(name string) schema.GroupVersionKind { return corev1.SchemeGroupVersion.WithKind(name) }

func ports(v url.Values) []int32 {
	var out []int32
	for _, text := range v["ports"] {
		if n, err := strconv.ParseInt(text, 10, 32); err == nil {
			out = append(out, int32(n))
		}
	}
	return out
}
