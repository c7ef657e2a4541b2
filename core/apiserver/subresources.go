package apiserver

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// subresource names one that is neither status nor scale.
type subresource struct{ group, plural, name string }

// subHandler serves such a subresource: run takes and returns objects, connect takes the connection.
type subHandler struct {
	kind    schema.GroupVersionKind
	verbs   []string
	body    func() runtime.Object
	run     func(ctx context.Context, q *api.Request, obj runtime.Object) (runtime.Object, error)
	connect func(w http.ResponseWriter, c *call)
}

// subresources is all that there is, in one place.
func (s *Server) subresources() map[subresource]subHandler {
	core := corev1.SchemeGroupVersion
	stream := []string{"create", "get"}
	return map[subresource]subHandler{
		{"", "pods", "binding"}: {
			kind: core.WithKind("Binding"), verbs: []string{"create"},
			body: func() runtime.Object { return &corev1.Binding{} }, run: s.bind,
		},
		{"", "pods", "eviction"}: {
			kind: policyv1.SchemeGroupVersion.WithKind("Eviction"), verbs: []string{"create"},
			body: func() runtime.Object { return &policyv1.Eviction{} }, run: s.evict,
		},
		{"", "namespaces", "finalize"}: {
			kind: core.WithKind("Namespace"), verbs: []string{"update"},
			body: func() runtime.Object { return &corev1.Namespace{} }, run: s.finalize,
		},
		{"", "serviceaccounts", "token"}: {
			kind: authenticationv1.SchemeGroupVersion.WithKind("TokenRequest"), verbs: []string{"create"},
			body: func() runtime.Object { return &authenticationv1.TokenRequest{} }, run: s.requestToken,
		},
		{"", "pods", "log"}:         {kind: core.WithKind("Pod"), verbs: []string{"get"}, connect: s.connectLog},
		{"", "pods", "exec"}:        {kind: core.WithKind("PodExecOptions"), verbs: stream, connect: s.connectStream},
		{"", "pods", "attach"}:      {kind: core.WithKind("PodAttachOptions"), verbs: stream, connect: s.connectStream},
		{"", "pods", "portforward"}: {kind: core.WithKind("PodPortForwardOptions"), verbs: stream, connect: s.connectStream},
		{"", "pods", "proxy"}:       {kind: core.WithKind("PodProxyOptions"), verbs: proxyVerbs, connect: s.connectProxy},
		{"", "services", "proxy"}:   {kind: core.WithKind("ServiceProxyOptions"), verbs: proxyVerbs, connect: s.connectProxy},
		{"", "nodes", "proxy"}:      {kind: core.WithKind("NodeProxyOptions"), verbs: proxyVerbs, connect: s.connectProxy},
	}
}

func (s *Server) serveSub(w http.ResponseWriter, c *call) {
	if !slices.Contains(c.sub.verbs, c.verb) && !c.asksOptions() {
		s.fail(w, c.view, apierrors.NewMethodNotSupported(c.q.Resource.GroupResource(), c.verb))
		return
	}
	if c.sub.connect != nil {
		if err := s.admitConnection(c); err != nil {
			s.fail(w, jsonView, err)
			return
		}
		c.sub.connect(w, c)
		return
	}
	obj := c.sub.body()
	err := c.decode(obj)
	if err == nil {
		obj, err = s.runSub(c.ctx, c.q, c.sub, obj)
	}
	if err != nil {
		s.fail(w, c.view, err)
		return
	}
	status := http.StatusCreated
	if c.verb != "create" {
		status = http.StatusOK
	}
	s.respondObject(w, view{format: c.view.format}, status, obj)
}

// RunSubresource creates or updates a subresource other than status; it is the in-process form of a
// POST or PUT, and answers with what these return.
func (s *Server) RunSubresource(ctx context.Context, q *api.Request, obj runtime.Object) (runtime.Object, error) {
	if scale, ok := obj.(*autoscalingv1.Scale); ok && q.Subresource == "scale" {
		return s.setScale(ctx, q, func(*autoscalingv1.Scale) (*autoscalingv1.Scale, error) { return scale, nil })
	}
	h, ok := s.subs[subresource{q.Resource.Group, q.Resource.Plural, q.Subresource}]
	if !ok || h.run == nil {
		return nil, errNoResource
	}
	return s.runSub(ctx, q, &h, obj)
}

var success = &metav1.Status{
	TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
	Status:   metav1.StatusSuccess, Code: http.StatusCreated,
}

// bind gives a pod its node, once.
func (s *Server) bind(ctx context.Context, q *api.Request, obj runtime.Object) (runtime.Object, error) {
	b, ok := obj.(*corev1.Binding)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a Binding object: %T", obj))
	}
	if errs := validateBinding(b); len(errs) > 0 {
		return nil, apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Binding").GroupKind(), q.Name, errs)
	}
	_, err := s.modify(ctx, q, func(_ context.Context, current api.Object) (api.Object, error) {
		return bound(q, current.(*corev1.Pod), b)
	})
	if err != nil {
		return nil, err
	}
	return success, nil
}

func validateBinding(b *corev1.Binding) field.ErrorList {
	var errs field.ErrorList
	if b.Target.Kind != "" && b.Target.Kind != "Node" {
		errs = append(errs, field.NotSupported(field.NewPath("target", "kind"), b.Target.Kind, []string{"Node", "<empty>"}))
	}
	if b.Target.Name == "" {
		errs = append(errs, field.Required(field.NewPath("target", "name"), ""))
	}
	return errs
}

func bound(q *api.Request, current *corev1.Pod, b *corev1.Binding) (api.Object, error) {
	refuse := func(format string, args ...any) error {
		return apierrors.NewConflict(schema.GroupResource{Resource: "pods/binding"}, q.Name, fmt.Errorf(format, args...))
	}
	switch {
	case b.UID != "" && b.UID != current.UID:
		return nil, refuse("Precondition failed: UID in precondition: %s, UID in object meta: %s", b.UID, current.UID)
	case current.DeletionTimestamp != nil:
		return nil, refuse("pod %s is being deleted, cannot be assigned to a host", current.Name)
	case current.Spec.NodeName != "":
		return nil, refuse("pod %s is already assigned to node %q", current.Name, current.Spec.NodeName)
	case len(current.Spec.SchedulingGates) > 0:
		return nil, refuse("pod %s has non-empty .spec.schedulingGates", current.Name)
	}
	pod := current.DeepCopy()
	pod.ResourceVersion = ""
	pod.Spec.NodeName = b.Target.Name
	for k, v := range b.Annotations {
		metav1.SetMetaDataAnnotation(&pod.ObjectMeta, k, v)
	}
	setPodCondition(pod, corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now().Rfc3339Copy(),
		ObservedGeneration: pod.Generation,
	})
	return pod, nil
}

func setPodCondition(pod *corev1.Pod, c corev1.PodCondition) {
	for i := range pod.Status.Conditions {
		if have := &pod.Status.Conditions[i]; have.Type == c.Type {
			if have.Status == c.Status {
				c.LastTransitionTime = have.LastTransitionTime
			}
			*have = c
			return
		}
	}
	pod.Status.Conditions = append(pod.Status.Conditions, c)
}

// finalize replaces a namespace with its spec.finalizers, which other updates cannot change.
func (s *Server) finalize(ctx context.Context, q *api.Request, obj runtime.Object) (runtime.Object, error) {
	ns, ok := obj.(*corev1.Namespace)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a Namespace object: %T", obj))
	}
	entry, _, err := s.Update(ctx, q, ns.DeepCopy())
	if err != nil {
		return nil, err
	}
	return entry.Object, nil
}

// Scale returns the scale subresource of an object.
func (s *Server) Scale(ctx context.Context, q *api.Request) (*autoscalingv1.Scale, error) {
	entry, err := s.Get(ctx, q, "")
	if err != nil {
		return nil, err
	}
	return q.Resource.GetScale(entry.Object), nil
}

func (s *Server) setScale(ctx context.Context, q *api.Request, edit func(*autoscalingv1.Scale) (*autoscalingv1.Scale, error)) (runtime.Object, error) {
	r := q.Resource
	target := *q
	target.Subresource, target.Admitted = "", true
	entry, err := s.modify(ctx, &target, func(ctx context.Context, current api.Object) (api.Object, error) {
		scale, err := edit(r.GetScale(current))
		if err != nil {
			return nil, err
		}
		if err := s.admitScale(ctx, q, scale, current); err != nil {
			return nil, err
		}
		if scale.Spec.Replicas < 0 {
			return nil, apierrors.NewInvalid(autoscalingv1.SchemeGroupVersion.WithKind("Scale").GroupKind(), q.Name, field.ErrorList{
				field.Invalid(field.NewPath("spec", "replicas"), scale.Spec.Replicas, "must be greater than or equal to 0"),
			})
		}
		obj := current.DeepCopyObject().(api.Object)
		if scale.UID != "" {
			obj.SetUID(scale.UID)
		}
		obj.SetResourceVersion(scale.ResourceVersion)
		r.SetScale(obj, scale.Spec.Replicas)
		return obj, nil
	})
	if err != nil {
		return nil, err
	}
	return r.GetScale(entry.Object), nil
}

func (s *Server) serveScale(w http.ResponseWriter, c *call) {
	var out runtime.Object
	var err error
	switch c.verb {
	case "get":
		out, err = s.Scale(c.ctx, c.q)
	case "update":
		scale := &autoscalingv1.Scale{}
		if err = c.decode(scale); err == nil {
			out, err = s.RunSubresource(c.ctx, c.q, scale)
		}
	case "patch":
		out, err = s.patchScale(c)
	default:
		err = apierrors.NewMethodNotSupported(c.q.Resource.GroupResource(), c.verb)
	}
	if err != nil {
		s.fail(w, c.view, err)
		return
	}
	s.respondObject(w, view{format: c.view.format}, http.StatusOK, out)
}

func (s *Server) patchScale(c *call) (runtime.Object, error) {
	p, err := c.readPatch()
	if err != nil {
		return nil, err
	}
	return s.setScale(c.ctx, c.q, func(have *autoscalingv1.Scale) (*autoscalingv1.Scale, error) {
		original, err := encode(jsonView, have)
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		patched, err := runPatch(&p, original, &autoscalingv1.Scale{})
		if err != nil {
			return nil, err
		}
		out := &autoscalingv1.Scale{}
		gvk := autoscalingv1.SchemeGroupVersion.WithKind("Scale")
		if err := decodeJSON(patched, out, target{gvk: gvk}, p.Validation, c.q.Warn); err != nil {
			return nil, err
		}
		if out.ResourceVersion == have.ResourceVersion {
			out.ResourceVersion = ""
		}
		return out, nil
	})
}
