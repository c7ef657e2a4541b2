package apiserver

import (
	"context"
	"fmt"
	"reflect"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/scheduling"
	"github.com/gantryio/gantry/core/auth"
)

// Bootstrap creates what every client expects of a cluster, where it is missing, and makes the service
// "kubernetes" lead to address and port. It is idempotent.
func (s *Server) Bootstrap(ctx context.Context, address string, port int32) error {
	for _, name := range []string{"default", "kube-system", "kube-public", "kube-node-lease"} {
		if err := s.ensure(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			return err
		}
	}
	for _, class := range scheduling.SystemClasses() {
		if err := s.ensure(ctx, &class); err != nil {
			return err
		}
	}
	if err := s.bootstrapRoles(ctx); err != nil {
		return err
	}
	if err := s.repairFlowControl(ctx); err != nil {
		return err
	}
	if s.FrontProxy != nil {
		if err := s.ensure(ctx, s.delegatedAuthentication()); err != nil {
			return err
		}
	}
	if err := s.bootstrapAddresses(ctx); err != nil {
		return err
	}
	for _, obj := range s.kubernetesService(address, port) {
		if err := s.ensure(ctx, obj); err != nil {
			return err
		}
	}
	return nil
}

// kubernetesService is how pods find the API: the first address of the service range.
func (s *Server) kubernetesService(address string, port int32) []api.Object {
	if !s.ServiceRange.IsValid() {
		return nil
	}
	meta := metav1.ObjectMeta{
		Name: "kubernetes", Namespace: "default",
		Labels: map[string]string{"component": "apiserver", "provider": "kubernetes"},
	}
	slice := meta
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: "kubernetes"}
	ip := s.ServiceRange.Masked().Addr().Next().String()
	single, tcp, https, ready := corev1.IPFamilyPolicySingleStack, corev1.ProtocolTCP, "https", true
	return []api.Object{
		&corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: ip, ClusterIPs: []string{ip},
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, IPFamilyPolicy: &single,
			Ports: []corev1.ServicePort{{Name: https, Port: 443, Protocol: tcp, TargetPort: intstr.FromInt32(port)}},
		}},
		&corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{
			Name: meta.Name, Namespace: meta.Namespace,
			Labels: map[string]string{discoveryv1.LabelSkipMirror: "true"},
		}, Subsets: []corev1.EndpointSubset{{
			Addresses: []corev1.EndpointAddress{{IP: address}},
			Ports:     []corev1.EndpointPort{{Name: https, Port: port, Protocol: tcp}},
		}}},
		&discoveryv1.EndpointSlice{
			ObjectMeta: slice, AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
			Ports:     []discoveryv1.EndpointPort{{Name: &https, Port: &port, Protocol: &tcp}},
		},
	}
}

// delegatedAuthentication is where aggregated API servers learn whom to believe, in the words of Kubernetes.
func (s *Server) delegatedAuthentication() *corev1.ConfigMap {
	list := func(words ...string) string { return string(mustJSON(words)) }
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "extension-apiserver-authentication"},
		Data: map[string]string{
			"client-ca-file":                     string(s.ClientCA),
			"requestheader-allowed-names":        list(s.FrontProxy.Names...),
			"requestheader-client-ca-file":       string(s.FrontProxy.CA),
			"requestheader-extra-headers-prefix": list("X-Remote-Extra-"),
			"requestheader-group-headers":        list("X-Remote-Group"),
			"requestheader-uid-headers":          list("X-Remote-Uid"),
			"requestheader-username-headers":     list("X-Remote-User"),
		},
	}
}

// ensure creates obj or, when its content is another, replaces it; namespaces and classes that are there
// are left as they are.
func (s *Server) ensure(ctx context.Context, obj api.Object) error {
	r := s.Registry.ForType(reflect.TypeOf(obj))
	if r == nil {
		return nil // a server of other kinds
	}
	q := bootstrapRequest(r, obj)
	current, err := s.current(ctx, q)
	if err != nil {
		return err
	}
	if current == nil {
		_, err = s.Create(ctx, q, obj)
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return wrapBootstrap(q, err)
	}
	if !r.Namespaced {
		return nil
	}
	want := current.Object.DeepCopyObject().(api.Object)
	r.CopyBody(want, obj)
	if r.Default != nil {
		r.Default(want)
	}
	if equality.Semantic.DeepEqual(runtime.Object(want), runtime.Object(current.Object)) {
		return nil
	}
	_, _, err = s.Update(ctx, q, want.DeepCopyObject().(api.Object))
	return wrapBootstrap(q, err)
}

func wrapBootstrap(q *api.Request, err error) error {
	if err != nil {
		return fmt.Errorf("bootstrap %s %s: %w", q.Resource.Kind, q.Name, err)
	}
	return nil
}

// bootstrapRoles makes the roles and bindings that are missing; those that somebody has changed stay as they are.
func (s *Server) bootstrapRoles(ctx context.Context) error {
	var g errgroup.Group // one transaction after the other would show in the time of a start
	for _, role := range auth.BootstrapRoles() {
		g.Go(func() error { return s.ensureAny(ctx, role) })
	}
	for _, binding := range auth.BootstrapBindings() {
		g.Go(func() error { return s.ensureAny(ctx, binding) })
	}
	for _, obj := range auth.BootstrapLocal() {
		g.Go(func() error { return s.ensureAny(ctx, obj) })
	}
	return g.Wait()
}

// ensureAny creates obj unless there is one of its name.
func (s *Server) ensureAny(ctx context.Context, obj api.Object) error {
	r := s.Registry.ForType(reflect.TypeOf(obj))
	if r == nil {
		return nil // a server of other kinds
	}
	q := bootstrapRequest(r, obj)
	if current, err := s.current(ctx, q); err != nil || current != nil {
		return err
	}
	_, err := s.Create(ctx, q, obj)
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return wrapBootstrap(q, err)
}

func bootstrapRequest(r *api.Resource, obj api.Object) *api.Request {
	return &api.Request{
		User:     &user.DefaultInfo{Name: user.APIServerUser, Groups: []string{user.SystemPrivilegedGroup}},
		Resource: r, Namespace: obj.GetNamespace(), Name: obj.GetName(), Manager: "apiserver",
	}
}
