package apiserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsv1beta1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	webhookutil "k8s.io/apiserver/pkg/util/webhook"

	"github.com/gantryio/gantry/core/admission/webhook"
	"github.com/gantryio/gantry/core/api"
)

// conversionTime bounds a call of a conversion webhook, as upstream does.
const conversionTime = 30 * time.Second

// conversionChunk is how many objects a webhook converts at once, so that neither request nor answer grows without bound.
const conversionChunk = 500

// newConversionClients makes clients of conversion webhooks.
func newConversionClients(services webhookutil.ServiceResolver) (*webhookutil.ClientManager, error) {
	clients, err := webhookutil.NewClientManager(
		[]schema.GroupVersion{apiextensionsv1.SchemeGroupVersion, apiextensionsv1beta1.SchemeGroupVersion},
		apiextensionsv1beta1.AddToScheme, apiextensionsv1.AddToScheme,
	)
	if err != nil {
		return nil, fmt.Errorf("make clients of conversion webhooks: %w", err)
	}
	clients.SetAuthenticationInfoResolver(webhook.Bounded{})
	clients.SetServiceResolver(services)
	return &clients, nil
}

// conversionWebhook converts the objects of a definition.
type conversionWebhook struct {
	clients *webhookutil.ClientManager
	at      webhookutil.ClientConfig
	reviews []string
}

// conversionOf returns the webhook of a definition, nil when it has none.
func (s *Server) conversionOf(crd *apiextensionsv1.CustomResourceDefinition) (*conversionWebhook, error) {
	c := crd.Spec.Conversion
	if c == nil || c.Strategy != apiextensionsv1.WebhookConverter || c.Webhook == nil || c.Webhook.ClientConfig == nil {
		return nil, nil
	}
	clients, err := s.conversions()
	if err != nil {
		return nil, err
	}
	w := &conversionWebhook{clients: clients, reviews: c.Webhook.ConversionReviewVersions}
	config := c.Webhook.ClientConfig
	w.at = webhookutil.ClientConfig{Name: "conversion_webhook_for_" + crd.Name}
	if len(bytes.TrimSpace(config.CABundle)) > 0 {
		w.at.CABundle = config.CABundle
	}
	if config.URL != nil {
		w.at.URL = *config.URL
	}
	if svc := config.Service; svc != nil {
		w.at.Service = &webhookutil.ClientConfigService{Name: svc.Name, Namespace: svc.Namespace, Port: 443}
		if svc.Port != nil {
			w.at.Service.Port = *svc.Port
		}
		if svc.Path != nil {
			w.at.Service.Path = *svc.Path
		}
	}
	return w, nil
}

// convert implements [api.Resource]'s Convert.
func (w *conversionWebhook) convert(ctx context.Context, objs []api.Object, to schema.GroupVersion) ([]api.Object, error) {
	var out []api.Object
	for len(objs) > 0 {
		n := min(len(objs), conversionChunk)
		some, err := w.convertSome(ctx, objs[:n], to)
		if err != nil {
			return nil, apierrors.NewInternalError(fmt.Errorf("conversion webhook for %v failed: %w", objs[0].GetObjectKind().GroupVersionKind(), err))
		}
		out, objs = append(out, some...), objs[n:]
	}
	return out, nil
}

func (w *conversionWebhook) convertSome(ctx context.Context, objs []api.Object, to schema.GroupVersion) ([]api.Object, error) {
	uid := uuid.NewUUID()
	raw := make([]runtime.RawExtension, len(objs))
	for i, obj := range objs {
		raw[i].Object = obj
	}
	request, response, err := conversionReview(w.reviews, raw, to.String(), uid)
	if err != nil {
		return nil, err
	}
	client, err := w.clients.HookClient(w.at)
	if err != nil {
		return nil, err
	}
	if err := webhook.Post(ctx, client, request, response, conversionTime); err != nil {
		return nil, err
	}
	answers, err := convertedObjects(response, uid)
	if err != nil {
		return nil, err
	}
	if len(answers) != len(objs) {
		return nil, fmt.Errorf("returned %d objects, expected %d", len(answers), len(objs))
	}
	out := make([]api.Object, len(objs))
	for i := range answers {
		if out[i], err = converted(objs[i].(*unstructured.Unstructured), &answers[i], to); err != nil {
			return nil, fmt.Errorf("returned invalid converted object at index %d: %w", i, err)
		}
	}
	return out, nil
}

// conversionReview is in the first version that the server knows.
func conversionReview(versions []string, objs []runtime.RawExtension, to string, uid types.UID) (request, response runtime.Object, err error) {
	for _, version := range versions {
		switch version {
		case "v1":
			return &apiextensionsv1.ConversionReview{Request: &apiextensionsv1.ConversionRequest{UID: uid, DesiredAPIVersion: to, Objects: objs}},
				&apiextensionsv1.ConversionReview{}, nil
		case "v1beta1":
			return &apiextensionsv1beta1.ConversionReview{Request: &apiextensionsv1beta1.ConversionRequest{UID: uid, DesiredAPIVersion: to, Objects: objs}},
				&apiextensionsv1beta1.ConversionReview{}, nil
		}
	}
	return nil, nil, errors.New("no supported conversion review versions")
}

func convertedObjects(review runtime.Object, uid types.UID) ([]runtime.RawExtension, error) {
	var result metav1.Status
	var objs []runtime.RawExtension
	switch r := review.(type) {
	case *apiextensionsv1.ConversionReview:
		if want := apiextensionsv1.SchemeGroupVersion.WithKind("ConversionReview"); r.GroupVersionKind() != want {
			return nil, fmt.Errorf("expected webhook response of %v, got %v", want, r.GroupVersionKind())
		}
		if r.Response == nil {
			return nil, errors.New("no response provided")
		}
		if r.Response.UID != uid {
			return nil, fmt.Errorf("expected response.uid=%q, got %q", uid, r.Response.UID)
		}
		result, objs = r.Response.Result, r.Response.ConvertedObjects
	case *apiextensionsv1beta1.ConversionReview:
		if r.Response == nil {
			return nil, errors.New("no response provided")
		}
		result, objs = r.Response.Result, r.Response.ConvertedObjects
	}
	if result.Status == metav1.StatusSuccess {
		return objs, nil
	}
	if result.Message != "" {
		return nil, errors.New(result.Message)
	}
	return nil, fmt.Errorf("response.result.status was '%s', not 'Success'", result.Status)
}

// converted reads what the webhook has made of an object. Of metadata it may change labels and annotations alone.
func converted(from *unstructured.Unstructured, raw *runtime.RawExtension, to schema.GroupVersion) (*unstructured.Unstructured, error) {
	out, ok := raw.Object.(*unstructured.Unstructured)
	if !ok {
		out = &unstructured.Unstructured{}
		if err := out.UnmarshalJSON(raw.Raw); err != nil {
			return nil, err
		}
	}
	if got := out.GroupVersionKind().GroupVersion(); got != to {
		return nil, fmt.Errorf("invalid groupVersion (expected %v, received %v)", to, got)
	}
	for _, same := range []struct{ what, want, got string }{
		{"kind", from.GetKind(), out.GetKind()},
		{"name", from.GetName(), out.GetName()},
		{"namespace", from.GetNamespace(), out.GetNamespace()},
		{"UID", string(from.GetUID()), string(out.GetUID())},
	} {
		if same.want != same.got {
			return nil, fmt.Errorf("must have the same %s: %v != %v", same.what, same.want, same.got)
		}
	}
	given, ok := out.Object["metadata"].(map[string]any)
	if !ok {
		return nil, errors.New("missing metadata in converted object")
	}
	meta := map[string]any{}
	if was, ok := from.Object["metadata"].(map[string]any); ok {
		meta = maps.Clone(was)
	}
	for _, name := range []string{"labels", "annotations"} {
		delete(meta, name)
		if v, ok := given[name]; ok {
			meta[name] = v
		}
	}
	out.Object["metadata"] = meta
	if _, err := api.MetadataOf(out); err != nil {
		return nil, fmt.Errorf("invalid metadata: %w", err)
	}
	return out, nil
}
