// Package podsecurity holds pods to the Pod Security Standards that their namespace asks for by its labels. What the standards are, what
// is warned of and what is noted is k8s.io/pod-security-admission's; here it is fed from the cache of the process.
package podsecurity

import (
	"context"
	"fmt"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/component-base/metrics/legacyregistry"
	kube "k8s.io/component-base/version"
	psa "k8s.io/pod-security-admission/admission"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/metrics"
	"k8s.io/pod-security-admission/policy"

	"github.com/gantryio/gantry/core/admission"
	coreapi "github.com/gantryio/gantry/core/api"
)

// Plugin refuses pods that violate what their namespace enforces, warns of those and of templates of such that violate what it warns of,
// and refuses labels of namespaces that say nothing.
type Plugin struct{ standards psa.Admission }

var (
	_ admission.Plugin    = (*Plugin)(nil)
	_ admission.Validator = (*Plugin)(nil)
)

const name = "PodSecurity"

// New returns a plugin for a configuration of [Load].
func New(objects admission.Reader, c *Configuration) (*Plugin, error) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return nil, fmt.Errorf("prepare the Pod Security Standards: %w", err)
	}
	p := &Plugin{psa.Admission{
		Configuration: c, Evaluator: evaluator, Metrics: recorder(), PodSpecExtractor: psa.DefaultPodSpecExtractor{},
		NamespaceGetter: cached{objects}, PodLister: cached{objects},
	}}
	if err := p.standards.CompleteConfiguration(); err != nil {
		return nil, fmt.Errorf("%s configuration error: %w", name, err)
	}
	if err := p.standards.ValidateConfiguration(); err != nil {
		return nil, fmt.Errorf("%s invalid: %w", name, err)
	}
	return p, nil
}

// recorder counts in the registry that all of Kubernetes' libraries share, which takes its counters once.
var recorder = sync.OnceValue(func() metrics.Recorder {
	v := version.MustParse(kube.DefaultKubeBinaryVersion)
	r := metrics.NewPrometheusRecorder(api.MajorMinorVersion(int(v.Major()), int(v.Minor())))
	r.MustRegister(legacyregistry.MustRegister)
	return r
})

// Name implements [admission.Plugin].
func (*Plugin) Name() string { return name }

// About implements [admission.Selective].
func (*Plugin) About(r *coreapi.Resource) bool {
	switch r.Group {
	case "":
		return r.Kind == "Namespace" || r.Kind == "Pod" || r.Kind == "PodTemplate" || r.Kind == "ReplicationController"
	case appsv1.GroupName, batchv1.GroupName:
		return true
	}
	return false
}

// Validate implements [admission.Validator].
func (p *Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	if !concerns(a) {
		return nil
	}
	verdict := p.standards.Validate(ctx, write{a})
	if a.Warn != nil {
		for _, text := range verdict.Warnings {
			a.Warn(text)
		}
	}
	if admission.Recorded(ctx) {
		for key, value := range verdict.AuditAnnotations {
			audit.AddAuditAnnotation(ctx, api.AuditAnnotationPrefix+key, value)
		}
	}
	if verdict.Allowed {
		return nil
	}
	return &apierrors.StatusError{ErrStatus: *verdict.Result}
}

// concerns tells the writes of namespaces, of pods and of what has a template of pods.
func concerns(a *admission.Attributes) bool {
	if a.Operation != admission.Create && a.Operation != admission.Update {
		return false
	}
	switch a.Object.(type) {
	case *corev1.Namespace, *corev1.Pod, *corev1.PodTemplate, *corev1.ReplicationController,
		*appsv1.Deployment, *appsv1.ReplicaSet, *appsv1.StatefulSet, *appsv1.DaemonSet, *batchv1.Job, *batchv1.CronJob:
		return true
	}
	return false
}

// cached reads namespaces and pods as of every acknowledged write.
type cached struct{ objects admission.Reader }

var (
	_ psa.NamespaceGetter = cached{}
	_ psa.PodLister       = cached{}
)

// GetNamespace implements psa.NamespaceGetter.
func (c cached) GetNamespace(ctx context.Context, name string) (*corev1.Namespace, error) {
	if ns, err := c.objects.Namespace(ctx, name); ns != nil || err != nil {
		return ns, err
	}
	return nil, apierrors.NewNotFound(corev1.Resource("namespaces"), name)
}

// ListPods implements psa.PodLister.
func (c cached) ListPods(ctx context.Context, namespace string) ([]*corev1.Pod, error) {
	return c.objects.Pods(ctx, namespace)
}
