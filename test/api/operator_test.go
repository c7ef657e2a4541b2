//go:build e2e

package api_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/gantryio/gantry/core/pki"
)

const (
	hooksPort       = 9444
	mirrorFinalizer = "ops.example.com/mirror"
)

// operator is one as people have them: a reconciler, and webhooks that default, validate and convert.
type operator struct{ client.Client }

// Default implements admission.Defaulter.
func (operator) Default(_ context.Context, m *Mirror) error {
	if m.Spec.Copies == 0 {
		m.Spec.Copies = 2
	}
	controllerutil.AddFinalizer(m, mirrorFinalizer)
	return nil
}

// ValidateCreate implements admission.Validator.
func (operator) ValidateCreate(_ context.Context, m *Mirror) (admission.Warnings, error) {
	if m.Spec.Copies > 3 {
		return nil, errors.New("too many copies")
	}
	return nil, nil
}

// ValidateUpdate implements admission.Validator.
func (o operator) ValidateUpdate(ctx context.Context, old, now *Mirror) (admission.Warnings, error) {
	if old.Spec.Value != now.Spec.Value {
		return nil, errors.New("the value stays")
	}
	return o.ValidateCreate(ctx, now)
}

// ValidateDelete implements admission.Validator.
func (operator) ValidateDelete(_ context.Context, m *Mirror) (admission.Warnings, error) {
	if m.Labels["keep"] != "" {
		return nil, errors.New("it is to be kept")
	}
	return nil, nil
}

// Reconcile keeps as many ConfigMaps as a Mirror asks for.
func (o operator) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	m := &Mirror{}
	if err := o.Get(ctx, req.NamespacedName, m); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if m.DeletionTimestamp != nil {
		controllerutil.RemoveFinalizer(m, mirrorFinalizer)
		return ctrl.Result{}, o.Update(ctx, m)
	}
	for i := range m.Spec.Copies {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: m.Namespace, Name: fmt.Sprintf("%s-%d", m.Name, i)}}
		_, err := controllerutil.CreateOrUpdate(ctx, o, cm, func() error {
			cm.Data = map[string]string{"value": m.Spec.Value}
			return controllerutil.SetControllerReference(m, cm, o.Scheme())
		})
		if err != nil {
			return ctrl.Result{}, err
		}
	}
	m.Status.Copies = m.Spec.Copies
	return ctrl.Result{}, o.Status().Update(ctx, m)
}

func hookURL(path string) *string { return new(fmt.Sprintf("https://127.0.0.1:%d%s", hooksPort, path)) }

func mirrorDefinition(ca []byte) *apiextensionsv1.CustomResourceDefinition {
	version := func(name string, stored bool, value string) apiextensionsv1.CustomResourceDefinitionVersion {
		text, number := apiextensionsv1.JSONSchemaProps{Type: "string"}, apiextensionsv1.JSONSchemaProps{Type: "integer"}
		return apiextensionsv1.CustomResourceDefinitionVersion{
			Name: name, Served: true, Storage: stored, Subresources: &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}},
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{
				"spec":   {Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{value: text, "copies": number}},
				"status": {Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"copies": number}},
			}}},
		}
	}
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "mirrors.ops.example.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "ops.example.com", Scope: apiextensionsv1.NamespaceScoped, Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "mirrors", Kind: "Mirror"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{version("v1", true, "value"), version("v1beta1", false, "text")},
			Conversion: &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.WebhookConverter, Webhook: &apiextensionsv1.WebhookConversion{
				ConversionReviewVersions: []string{"v1"}, ClientConfig: &apiextensionsv1.WebhookClientConfig{URL: hookURL("/convert"), CABundle: ca},
			}},
		},
	}
}

func mirrorHooks(ca []byte) []client.Object {
	rules := func(ops ...admissionv1.OperationType) []admissionv1.RuleWithOperations {
		return []admissionv1.RuleWithOperations{{Operations: ops, Rule: admissionv1.Rule{
			APIGroups: []string{"ops.example.com"}, APIVersions: []string{"v1"}, Resources: []string{"mirrors"},
		}}}
	}
	at := func(path string) admissionv1.WebhookClientConfig {
		return admissionv1.WebhookClientConfig{URL: hookURL(path), CABundle: ca}
	}
	none := new(admissionv1.SideEffectClassNone)
	return []client.Object{
		&admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "mirrors"}, Webhooks: []admissionv1.MutatingWebhook{{
			Name: "default.ops.example.com", ClientConfig: at("/mutate-ops-example-com-v1-mirror"), Rules: rules(admissionv1.Create),
			SideEffects: none, AdmissionReviewVersions: []string{"v1"},
		}}},
		&admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "mirrors"}, Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "validate.ops.example.com", ClientConfig: at("/validate-ops-example-com-v1-mirror"), Rules: rules(admissionv1.OperationAll),
			SideEffects: none, AdmissionReviewVersions: []string{"v1"},
		}}},
	}
}

// serveOperator runs the operator as its own main would, and returns a client and the authority of its webhooks' certificate.
func serveOperator(t *testing.T, s *server) (client.Client, func()) {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	certs := t.TempDir()
	authority, err := pki.Open(filepath.Join(certs, "pki"))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue("hooks", pki.Identity{CommonName: "hooks", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"tls.crt": pair.CertPEM, "tls.key": pair.KeyPEM} {
		if err := os.WriteFile(filepath.Join(certs, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(s.data, "admin.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	config.Host = "https://127.0.0.1:" + strconv.Itoa(s.port)
	scheme := runtime.NewScheme()
	_ = clientscheme.AddToScheme(scheme)
	_ = apiextensionsv1.AddToScheme(scheme)
	addMirrors(scheme)
	direct, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	if err := direct.Create(t.Context(), mirrorDefinition(authority.CertPEM)); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func() error { return direct.List(t.Context(), &MirrorList{}) })
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"},
		WebhookServer: webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: hooksPort, CertDir: certs}),
	})
	if err != nil {
		t.Fatal(err)
	}
	o := operator{mgr.GetClient()}
	if err := ctrl.NewControllerManagedBy(mgr).For(&Mirror{}).Owns(&corev1.ConfigMap{}).Complete(o); err != nil {
		t.Fatal(err)
	}
	if err := ctrl.NewWebhookManagedBy(mgr, &Mirror{}).WithDefaulter(o).WithValidator(o).Complete(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	stop := func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	eventually(t, 20*time.Second, func() error { return mgr.GetWebhookServer().StartedChecker()(nil) })
	for _, obj := range mirrorHooks(authority.CertPEM) {
		if err := direct.Create(t.Context(), obj); err != nil {
			stop()
			t.Fatal(err)
		}
	}
	return direct, stop
}

func TestAnOperator(t *testing.T) {
	s := &server{data: t.TempDir(), port: 6449}
	s.start(t)
	api, stop := serveOperator(t, s)
	defer stop()
	ctx := t.Context()
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "default", Name: name} }

	m := &Mirror{ObjectMeta: meta("a"), Spec: MirrorSpec{Value: "x"}}
	if err := api.Create(ctx, m); err != nil {
		t.Fatal(err)
	}
	if m.Spec.Copies != 2 || len(m.Finalizers) != 1 {
		t.Errorf("the webhook has not defaulted: %+v %v", m.Spec, m.Finalizers)
	}
	err := api.Create(ctx, &Mirror{ObjectMeta: meta("b"), Spec: MirrorSpec{Copies: 4}})
	if !apierrors.IsForbidden(err) || err.Error() != `admission webhook "validate.ops.example.com" denied the request: too many copies` {
		t.Errorf("too many copies: %v", err)
	}
	copied := func(n int) error {
		if err := api.Get(ctx, client.ObjectKeyFromObject(m), m); err != nil {
			return err
		}
		cm := &corev1.ConfigMap{}
		if err := api.Get(ctx, client.ObjectKey{Namespace: "default", Name: fmt.Sprintf("a-%d", n-1)}, cm); err != nil {
			return err
		}
		if m.Status.Copies != n || cm.Data["value"] != "x" {
			return fmt.Errorf("status %d, data %v: %w", m.Status.Copies, cm.Data, errNotYet)
		}
		return nil
	}
	eventually(t, 20*time.Second, func() error { return copied(2) })
	if err := api.Delete(ctx, &corev1.ConfigMap{ObjectMeta: meta("a-1")}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func() error { return copied(2) })

	old := &OldMirror{}
	if err := api.Get(ctx, client.ObjectKeyFromObject(m), old); err != nil || old.Spec.Text != "x" {
		t.Fatalf("in the version before: %+v %v", old.Spec, err)
	}
	old.Spec.Copies = 3
	if err := api.Update(ctx, old); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func() error { return copied(3) })
	old.Spec.Text, old.ResourceVersion = "y", m.ResourceVersion
	if err := api.Update(ctx, old); !apierrors.IsForbidden(err) {
		t.Errorf("the value was changed in the version before: %v", err)
	}
	m.Labels = map[string]string{"keep": "yes"}
	if err := api.Update(ctx, m); err != nil {
		t.Fatal(err)
	}
	if err := api.Delete(ctx, m); !apierrors.IsForbidden(err) {
		t.Errorf("it was to be kept: %v", err)
	}
	m.Labels = nil
	if err := api.Update(ctx, m); err != nil {
		t.Fatal(err)
	}
	if err := api.Delete(ctx, m); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func() error {
		if err := api.Get(ctx, client.ObjectKeyFromObject(m), m); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the Mirror is there: %v: %w", err, errNotYet)
		}
		if err := api.Get(ctx, client.ObjectKey{Namespace: "default", Name: "a-0"}, &corev1.ConfigMap{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("its copies are there: %v: %w", err, errNotYet)
		}
		return nil
	})
}
