package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionreviewv1 "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	upstream "k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/webhook"
	webhookerrors "k8s.io/apiserver/pkg/admission/plugin/webhook/errors"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/generic"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/request"
	webhookutil "k8s.io/apiserver/pkg/util/webhook"
	kjson "sigs.k8s.io/json"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/admission/versioned"
	"github.com/gantryio/gantry/core/cache"
)

// Mutating asks the mutating webhooks that a write concerns, one after the other.
type Mutating struct {
	caller *Caller
	hooks  admission.Compiled[set]
}

var (
	_ admission.Mutator  = (*Mutating)(nil)
	_ admission.External = (*Mutating)(nil)
)

// NewMutating makes the plugin.
func NewMutating(c *Caller) *Mutating {
	return &Mutating{caller: c, hooks: admission.Compiled[set]{
		Objects: c.objects,
		Kinds:   []schema.GroupVersionResource{admissionv1.SchemeGroupVersion.WithResource("mutatingwebhookconfigurations")},
		Make: func(before *set, objects [][]*cache.Entry) *set {
			return makeSet(before, objects[0], mutatingHooks)
		},
	}}
}

func mutatingHooks(e *cache.Entry) []webhook.WebhookAccessor {
	config := e.Object.(*admissionv1.MutatingWebhookConfiguration)
	var out []webhook.WebhookAccessor
	for i := range config.Webhooks {
		h := &config.Webhooks[i]
		out = append(out, webhook.NewMutatingWebhookAccessor(fmt.Sprintf("%s/%s/%d", config.Name, h.Name, i), config.Name, h))
	}
	return out
}

// Name implements [admission.Plugin].
func (*Mutating) Name() string { return "MutatingAdmissionWebhook" }

// Idle implements [admission.External].
func (m *Mutating) Idle() bool { return m.hooks.Now() == nil }

// Admit implements [admission.Mutator].
func (m *Mutating) Admit(ctx context.Context, a *admission.Attributes) error {
	s := m.hooks.Now()
	if s == nil || !s.concerns(a) {
		return nil
	}
	return a.Exposed(func() error {
		r := &round{Caller: m.caller, write: a, record: a.Record(), objects: m.caller.objectsOf(a)}
		r.recall()
		err := r.run(ctx, s.hooks)
		r.memory.output = nil
		if obj := r.record.GetObject(); obj != nil {
			r.memory.output = obj.DeepCopyObject()
		}
		return err
	})
}

// memory is what lasts from the first round of a write to the second (KEP-1145's reinvocation).
type memory struct {
	output        runtime.Object // as the webhooks have left it
	asked, asking map[string]bool
}

// again makes those be asked once more that have been asked and wish so.
func (m *memory) again() {
	for uid := range m.asked {
		m.asking[uid] = true
	}
	clear(m.asked)
}

// round asks all webhooks once.
type round struct {
	*Caller
	write   *admission.Attributes
	record  upstream.Attributes
	objects versioned.Objects
	memory  *memory
	attr    *upstream.VersionedAttributes // nil until somebody has to be asked
}

const memoryKey = "MutatingAdmissionWebhook"

func (r *round) recall() {
	again := r.record.GetReinvocationContext()
	if have, ok := again.Value(memoryKey).(*memory); ok {
		r.memory = have
	} else {
		r.memory = &memory{asked: map[string]bool{}, asking: map[string]bool{}}
		again.SetValue(memoryKey, r.memory)
	}
	if again.IsReinvoke() && !equality.Semantic.DeepEqual(r.memory.output, r.record.GetObject()) {
		r.memory.again()
	}
}

// in returns the write in a version, with what has been changed so far.
func (r *round) in(kind schema.GroupVersionKind) (*upstream.VersionedAttributes, error) {
	var err error
	if r.attr == nil {
		r.attr, err = upstream.NewVersionedAttributes(r.record, kind, r.objects)
	} else {
		err = upstream.ConvertVersionedAttributes(r.attr, kind, r.objects)
	}
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	return r.attr, nil
}

func (r *round) run(ctx context.Context, hooks []*hook) error {
	again := r.record.GetReinvocationContext()
	for i, h := range hooks {
		current := r.record
		if r.attr != nil {
			current = r.attr
		}
		one, err := r.invocation(ctx, h, current, r.objects, r.in)
		if err != nil {
			return err
		}
		if one == nil || again.IsReinvoke() && !r.memory.asking[h.GetUID()] {
			continue
		}
		attr, err := r.in(one.Kind)
		if err != nil {
			return err
		}
		begin := time.Now()
		notes := newNotes(ctx, one, attr, again.IsReinvoke(), i)
		changed, err := r.ask(ctx, one, attr, notes)
		notes.mutation(changed)
		count(ctx, one, attr, typeMutating, begin, err)
		if changed {
			r.write.Mutated = true
			r.memory.again()
			again.SetShouldReinvoke()
		}
		if own, _ := h.GetMutatingWebhook(); own.ReinvocationPolicy != nil && *own.ReinvocationPolicy == admissionv1.IfNeededReinvocationPolicy {
			r.memory.asked[h.GetUID()] = true
		}
		if err != nil {
			if err = judge(ctx, one, notes, err); err != nil {
				return err
			}
		}
	}
	if r.attr == nil || !r.attr.Dirty || r.attr.VersionedObject.Object() == nil {
		return nil
	}
	return r.objects.Convert(r.attr.VersionedObject.Object(), r.record.GetObject(), nil)
}

// ask asks one webhook and applies its patch.
func (r *round) ask(ctx context.Context, one *generic.WebhookInvocation, attr *upstream.VersionedAttributes, notes *notes) (changed bool, err error) {
	result, err := r.call(ctx, one, attr, true)
	notes.of(result)
	if result != nil && r.write.Warn != nil {
		for _, text := range result.Warnings {
			r.write.Warn(text)
		}
	}
	if err != nil || len(result.Patch) == 0 {
		return false, err
	}
	name := one.Webhook.GetName()
	patch, err := jsonpatch.DecodePatch(result.Patch)
	if err != nil {
		return false, &webhookutil.ErrCallingWebhook{
			WebhookName: name, Reason: fmt.Errorf("received undecodable patch in webhook response: %w", err),
			Status: apierrors.NewServiceUnavailable("error decoding patch in webhook response"),
		}
	}
	if len(patch) == 0 {
		return false, nil
	}
	if attr.VersionedObject.Object() == nil {
		return false, apierrors.NewInternalError(fmt.Errorf("admission webhook %q attempted to modify the object, which is not supported for this operation", name))
	}
	if result.PatchType != admissionreviewv1.PatchTypeJSONPatch {
		return false, unsupported(name, result)
	}
	obj, err := r.patched(attr, patch)
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	changed = !equality.Semantic.DeepEqual(attr.VersionedObject.Object(), obj)
	notes.patch(patch)
	attr.UpdateObject(obj)
	r.objects.Default(obj)
	return changed, nil
}

func unsupported(name string, result *request.AdmissionResponse) error {
	return &webhookutil.ErrCallingWebhook{
		WebhookName: name, Reason: fmt.Errorf("unsupported patch type %q", result.PatchType),
		Status: webhookerrors.ToStatusErr(name, result.Result),
	}
}

// patched returns a new object; what the patch adds that the kind does not have is dropped.
func (r *round) patched(attr *upstream.VersionedAttributes, patch jsonpatch.Patch) (runtime.Object, error) {
	before, err := json.Marshal(attr.VersionedObject.Object())
	if err != nil {
		return nil, err
	}
	after, err := patch.Apply(before)
	if err != nil {
		return nil, err
	}
	if _, untyped := attr.VersionedObject.Object().(*unstructured.Unstructured); untyped {
		out := &unstructured.Unstructured{}
		return out, out.UnmarshalJSON(after)
	}
	out, err := r.objects.New(attr.VersionedKind)
	if err != nil {
		return nil, err
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(after, out); err != nil {
		return nil, err
	}
	out.GetObjectKind().SetGroupVersionKind(attr.VersionedKind)
	return out, nil
}
