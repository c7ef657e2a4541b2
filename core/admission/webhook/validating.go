package webhook

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	upstream "k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/webhook"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/generic"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/cache"
)

// Validating asks all validating webhooks that a write concerns at once.
type Validating struct {
	caller *Caller
	hooks  admission.Compiled[set]
}

var (
	_ admission.Validator = (*Validating)(nil)
	_ admission.External  = (*Validating)(nil)
)

// NewValidating makes the plugin.
func NewValidating(c *Caller) *Validating {
	return &Validating{caller: c, hooks: admission.Compiled[set]{
		Objects: c.objects,
		Kinds:   []schema.GroupVersionResource{admissionv1.SchemeGroupVersion.WithResource("validatingwebhookconfigurations")},
		Make: func(before *set, objects [][]*cache.Entry) *set {
			return makeSet(before, objects[0], validatingHooks)
		},
	}}
}

func validatingHooks(e *cache.Entry) []webhook.WebhookAccessor {
	config := e.Object.(*admissionv1.ValidatingWebhookConfiguration)
	var out []webhook.WebhookAccessor
	for i := range config.Webhooks {
		h := &config.Webhooks[i]
		out = append(out, webhook.NewValidatingWebhookAccessor(fmt.Sprintf("%s/%s/%d", config.Name, h.Name, i), config.Name, h))
	}
	return out
}

// Name implements [admission.Plugin].
func (*Validating) Name() string { return "ValidatingAdmissionWebhook" }

// Idle implements [admission.External].
func (v *Validating) Idle() bool { return v.hooks.Now() == nil }

// Validate implements [admission.Validator].
func (v *Validating) Validate(ctx context.Context, a *admission.Attributes) error {
	s := v.hooks.Now()
	if s == nil || !s.concerns(a) {
		return nil
	}
	record, objects := a.Record(), v.caller.objectsOf(a)
	made := map[schema.GroupVersionKind]*upstream.VersionedAttributes{}
	in := func(kind schema.GroupVersionKind) (*upstream.VersionedAttributes, error) {
		if have := made[kind]; have != nil {
			return have, nil
		}
		out, err := upstream.NewVersionedAttributes(record, kind, objects)
		if err == nil {
			made[kind] = out
		}
		return out, err
	}
	var asked []*generic.WebhookInvocation
	for _, h := range s.hooks {
		one, err := v.caller.invocation(ctx, h, record, objects, in)
		if err != nil {
			return err
		}
		if one == nil {
			continue
		}
		if _, err := in(one.Kind); err != nil {
			return apierrors.NewInternalError(err)
		}
		asked = append(asked, one)
	}
	if len(asked) == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return errLate
	}
	return v.askAll(ctx, a, asked, made)
}

// answer is what came of asking one webhook.
type answer struct {
	warnings []string
	err      error
}

// askAll asks at once and returns the first refusal in the order of the webhooks.
func (v *Validating) askAll(ctx context.Context, a *admission.Attributes, asked []*generic.WebhookInvocation, in map[schema.GroupVersionKind]*upstream.VersionedAttributes) error {
	answers := make([]answer, len(asked))
	var wg sync.WaitGroup
	for i, one := range asked[1:] {
		wg.Go(func() { answers[i+1] = v.ask(ctx, one, in[one.Kind], i+1) })
	}
	answers[0] = v.ask(ctx, asked[0], in[asked[0].Kind], 0)
	wg.Wait()
	var first error
	for _, got := range answers {
		for _, text := range got.warnings {
			if a.Warn != nil {
				a.Warn(text)
			}
		}
		if first == nil {
			first = got.err
		}
	}
	return first
}

func (v *Validating) ask(ctx context.Context, one *generic.WebhookInvocation, attr *upstream.VersionedAttributes, index int) (out answer) {
	defer func() {
		if cause := recover(); cause != nil {
			slog.Error("asking a webhook panicked", "webhook", one.Webhook.GetName(), "cause", cause, "stack", string(debug.Stack()))
			out.err = apierrors.NewInternalError(fmt.Errorf("ValidatingAdmissionWebhook/%v has panicked: %v", one.Webhook.GetName(), cause))
		}
	}()
	begin := time.Now()
	result, err := v.caller.call(ctx, one, attr, false)
	count(ctx, one, attr, typeValidating, begin, err)
	notes := newNotes(ctx, one, attr, false, index)
	notes.of(result)
	if result != nil {
		out.warnings = result.Warnings
	}
	if err != nil {
		out.err = judge(ctx, one, notes, err)
	}
	return out
}
