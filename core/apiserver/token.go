package apiserver

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/auth"
)

const (
	tokenSeconds    = 3600
	minTokenSeconds = 600
	maxTokenSeconds = 1 << 32
)

// requestToken issues a token for a service account.
func (s *Server) requestToken(ctx context.Context, q *api.Request, obj runtime.Object) (runtime.Object, error) {
	req := obj.(*authenticationv1.TokenRequest)
	if s.Tokens == nil {
		return nil, apierrors.NewMethodNotSupported(schema.GroupResource{Resource: "serviceaccounts/token"}, "create")
	}
	entry, err := s.current(ctx, q)
	if err != nil {
		return nil, err
	}
	if entry == nil {
		return nil, apierrors.NewNotFound(q.Resource.GroupResource(), q.Name)
	}
	account := entry.Object.(*corev1.ServiceAccount)
	if errs := s.validateTokenRequest(req); len(errs) > 0 {
		return nil, apierrors.NewInvalid(authenticationv1.SchemeGroupVersion.WithKind("TokenRequest").GroupKind(), "", errs)
	}
	binding := auth.Binding{Namespace: account.Namespace, ServiceAccount: auth.Bound{Name: account.Name, UID: account.UID}}
	if err := s.bindToken(q, account, req.Spec.BoundObjectRef, &binding); err != nil {
		return nil, err
	}
	expires := time.Now().Add(time.Duration(*req.Spec.ExpirationSeconds) * time.Second)
	token, err := s.Tokens.Issue(binding, req.Spec.Audiences, expires)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	out := &authenticationv1.TokenRequest{
		TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenRequest"},
		ObjectMeta: metav1.ObjectMeta{
			Name: account.Name, Namespace: account.Namespace, CreationTimestamp: metav1.Now().Rfc3339Copy(),
		},
		Spec:   req.Spec,
		Status: authenticationv1.TokenRequestStatus{Token: token, ExpirationTimestamp: metav1.NewTime(expires).Rfc3339Copy()},
	}
	return out, nil
}

// validateTokenRequest fills what was left out first.
func (s *Server) validateTokenRequest(req *authenticationv1.TokenRequest) field.ErrorList {
	if req.Spec.ExpirationSeconds == nil {
		req.Spec.ExpirationSeconds = new(int64(tokenSeconds))
	}
	if len(req.Spec.Audiences) == 0 {
		req.Spec.Audiences = []string{s.Tokens.Issuer()}
	}
	at := field.NewPath("spec", "expirationSeconds")
	switch seconds := *req.Spec.ExpirationSeconds; {
	case seconds < minTokenSeconds:
		return field.ErrorList{field.Invalid(at, seconds, "may not specify a duration less than 10 minutes")}
	case seconds > maxTokenSeconds:
		return field.ErrorList{field.Invalid(at, seconds, "may not specify a duration larger than 2^32 seconds")}
	}
	return nil
}

// bindToken binds a token to what the request names, which must be there. An agent gets tokens for the pods of its
// own node alone.
func (s *Server) bindToken(q *api.Request, account *corev1.ServiceAccount, ref *authenticationv1.BoundObjectReference, b *auth.Binding) error {
	node, agent := auth.NodeName(q.User)
	if ref == nil {
		if agent {
			return apierrors.NewForbidden(q.Resource.GroupResource(), q.Name, fmt.Errorf("node requested token not bound to a pod"))
		}
		return nil
	}
	if agent && ref.Kind != "Pod" {
		return apierrors.NewForbidden(q.Resource.GroupResource(), q.Name, fmt.Errorf("node requested token bound to a %s", ref.Kind))
	}
	objects := s.TokenObjects()
	var found metav1.Object
	var bound **auth.Bound
	var resource string
	switch gvk := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind); gvk {
	case corev1.SchemeGroupVersion.WithKind("Pod"):
		resource, bound = "pods", &b.Pod
		if pod := objects.Pod(q.Namespace, ref.Name); pod != nil {
			if name := pod.Spec.ServiceAccountName; name != account.Name && (name != "" || account.Name != "default") {
				return apierrors.NewBadRequest(fmt.Sprintf("cannot bind token for serviceaccount %q to pod running with different serviceaccount name.", account.Name))
			}
			if agent && pod.Spec.NodeName != node {
				return apierrors.NewForbidden(q.Resource.GroupResource(), q.Name, fmt.Errorf("node requested token bound to a pod scheduled on a different node"))
			}
			found = pod
			if n := objects.Node(pod.Spec.NodeName); n != nil {
				b.Node = &auth.Bound{Name: n.Name, UID: n.UID}
			}
		}
	case corev1.SchemeGroupVersion.WithKind("Secret"):
		resource, bound = "secrets", &b.Secret
		if secret := objects.Secret(q.Namespace, ref.Name); secret != nil {
			found = secret
		}
	case corev1.SchemeGroupVersion.WithKind("Node"):
		resource, bound = "nodes", &b.Node
		if n := objects.Node(ref.Name); n != nil {
			found = n
		}
	default:
		return apierrors.NewBadRequest(fmt.Sprintf("cannot bind token to object of type %s", gvk))
	}
	if found == nil {
		return apierrors.NewNotFound(schema.GroupResource{Resource: resource}, ref.Name)
	}
	if ref.UID != "" && ref.UID != found.GetUID() {
		return apierrors.NewConflict(schema.GroupResource{Resource: resource}, ref.Name, fmt.Errorf(
			"the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID))
	}
	*bound = &auth.Bound{Name: ref.Name, UID: found.GetUID()}
	return nil
}

// TokenObjects shows the cache to tokens.
func (s *Server) TokenObjects() auth.TokenObjects { return tokenObjects{s} }

type tokenObjects struct{ s *Server }

var _ auth.TokenObjects = tokenObjects{}

func cached[T any](s *Server, plural, namespace, name string) *T {
	r := s.Registry.Resource(corev1.SchemeGroupVersion.WithResource(plural))
	if r == nil {
		return nil
	}
	e := s.Cache.Of(r).Get(r.Key(namespace, name))
	if e == nil {
		return nil
	}
	out, _ := any(e.Object).(*T)
	return out
}

func (o tokenObjects) ServiceAccount(namespace, name string) *corev1.ServiceAccount {
	return cached[corev1.ServiceAccount](o.s, "serviceaccounts", namespace, name)
}

func (o tokenObjects) Pod(namespace, name string) *corev1.Pod {
	return cached[corev1.Pod](o.s, "pods", namespace, name)
}

func (o tokenObjects) Node(name string) *corev1.Node {
	return cached[corev1.Node](o.s, "nodes", "", name)
}

func (o tokenObjects) Secret(namespace, name string) *corev1.Secret {
	return cached[corev1.Secret](o.s, "secrets", namespace, name)
}
