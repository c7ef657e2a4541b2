// Package serviceaccount gives every namespace what each of its pods relies on: the ServiceAccount
// "default" and a ConfigMap with the certificates that the API server is checked by.
package serviceaccount

import (
	"cmp"
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/source"
	"github.com/gantryio/gantry/core/client/workers"
)

const (
	account   = "default"
	configMap = "kube-root-ca.crt"
	caKey     = "ca.crt"
)

// Controller reconciles Namespaces.
type Controller struct {
	Client client.Client
	// CA are the PEM certificates; without any no ConfigMaps are written.
	CA []byte
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	return ctrl.ControllerManagedBy(mgr).Named("serviceaccount").
		For(&corev1.Namespace{}).
		WatchesRawSource(source.Of(mgr.GetCache(), &corev1.ServiceAccount{}, namespaceOf(account))).
		WatchesRawSource(source.Of(mgr.GetCache(), &corev1.ConfigMap{}, namespaceOf(configMap))).
		WithOptions(workers.Options(4)).
		Complete(c)
}

// namespaceOf queues the namespace of objects of one name.
func namespaceOf(name string) source.Func[reconcile.Request] {
	return func(_ context.Context, old, now client.Object, q source.Queue[reconcile.Request]) {
		if o := cmp.Or(now, old); o.GetName() == name {
			q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: o.GetNamespace()}})
		}
	}
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	ns := &corev1.Namespace{}
	if err := c.Client.Get(ctx, req.NamespacedName, ns); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if ns.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	err := c.ensureAccount(ctx, ns.Name)
	if err == nil && len(c.CA) > 0 {
		err = c.ensureCA(ctx, ns.Name)
	}
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) || apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
		return reconcile.Result{}, nil // an event of the other writer's follows
	}
	return reconcile.Result{}, err
}

func (c *Controller) ensureAccount(ctx context.Context, namespace string) error {
	sa := &corev1.ServiceAccount{}
	err := c.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: account}, sa)
	if !apierrors.IsNotFound(err) {
		return err
	}
	sa = &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account}}
	if err := c.Client.Create(ctx, sa); err != nil {
		return fmt.Errorf("create service account %s/%s: %w", namespace, account, err)
	}
	return nil
}

func (c *Controller) ensureCA(ctx context.Context, namespace string) error {
	have := &corev1.ConfigMap{}
	err := c.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: configMap}, have)
	if apierrors.IsNotFound(err) {
		cm := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: configMap,
				Annotations: map[string]string{"kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."},
			},
			Data: map[string]string{caKey: string(c.CA)},
		}
		if err := c.Client.Create(ctx, cm); err != nil {
			return fmt.Errorf("create config map %s/%s: %w", namespace, configMap, err)
		}
		return nil
	}
	if err != nil || len(have.Data) == 1 && have.Data[caKey] == string(c.CA) && len(have.BinaryData) == 0 {
		return err
	}
	update := have.DeepCopy()
	update.Data, update.BinaryData = map[string]string{caKey: string(c.CA)}, nil
	if err := c.Client.Update(ctx, update); err != nil {
		return fmt.Errorf("update config map %s/%s: %w", namespace, configMap, err)
	}
	return nil
}
