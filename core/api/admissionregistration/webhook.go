package admissionregistration

import (
	"reflect"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/util/webhook"

	"github.com/gantryio/gantry/core/api"
)

const maxTimeoutSeconds = 30

var (
	reviewVersions = []string{"v1", "v1beta1"}
	noSideEffects  = []admissionv1.SideEffectClass{admissionv1.SideEffectClassNone, admissionv1.SideEffectClassNoneOnDryRun}
	sideEffects    = []admissionv1.SideEffectClass{
		admissionv1.SideEffectClassNone, admissionv1.SideEffectClassNoneOnDryRun, admissionv1.SideEffectClassSome, admissionv1.SideEffectClassUnknown,
	}
)

// asMutating shows a validating webhook as a mutating one, which has all of its fields.
func asMutating(w *admissionv1.ValidatingWebhook) admissionv1.MutatingWebhook {
	return admissionv1.MutatingWebhook{
		Name: w.Name, ClientConfig: w.ClientConfig, Rules: w.Rules, FailurePolicy: w.FailurePolicy, MatchPolicy: w.MatchPolicy,
		NamespaceSelector: w.NamespaceSelector, ObjectSelector: w.ObjectSelector, SideEffects: w.SideEffects,
		TimeoutSeconds: w.TimeoutSeconds, AdmissionReviewVersions: w.AdmissionReviewVersions, MatchConditions: w.MatchConditions,
	}
}

func allAsMutating(c *admissionv1.ValidatingWebhookConfiguration) []admissionv1.MutatingWebhook {
	if c == nil {
		return nil
	}
	out := make([]admissionv1.MutatingWebhook, len(c.Webhooks))
	for i := range c.Webhooks {
		out[i] = asMutating(&c.Webhooks[i])
	}
	return out
}

// defaultWebhook fills what both kinds of webhooks have.
func defaultWebhook(
	failure **admissionv1.FailurePolicyType, match **admissionv1.MatchPolicyType, namespaces, objects **metav1.LabelSelector,
	timeout **int32, client *admissionv1.WebhookClientConfig, rules []admissionv1.RuleWithOperations,
) {
	setDefault(failure, admissionv1.Fail)
	setDefault(match, admissionv1.Equivalent)
	setDefault(namespaces, metav1.LabelSelector{})
	setDefault(objects, metav1.LabelSelector{})
	setDefault(timeout, 10)
	if client.Service != nil {
		setDefault(&client.Service.Port, 443)
	}
	defaultRules(rules)
}

// leniency is what a stored configuration has wrong already, and may keep.
type leniency struct {
	sideEffects, versions, names, labels, conditions bool
	known                                            map[string]bool // expressions
}

func leniencyOf(now, old []admissionv1.MutatingWebhook) leniency {
	l := leniency{known: map[string]bool{}}
	l.conditions = len(now) == len(old)
	names := map[string]bool{}
	for i := range old {
		w := &old[i]
		l.sideEffects = l.sideEffects || w.SideEffects == nil || !slices.Contains(noSideEffects, *w.SideEffects)
		l.versions = l.versions || len(w.AdmissionReviewVersions) > 0 && !slices.ContainsFunc(w.AdmissionReviewVersions, reviewVersion)
		l.names = l.names || names[w.Name]
		l.labels = l.labels || len(validateSelector(w.NamespaceSelector, false, nil)) > 0 || len(validateSelector(w.ObjectSelector, false, nil)) > 0
		l.conditions = l.conditions && reflect.DeepEqual(now[i].MatchConditions, w.MatchConditions)
		names[w.Name] = true
		for _, c := range w.MatchConditions {
			l.known[c.Expression] = true
		}
	}
	return l
}

func reviewVersion(v string) bool { return slices.Contains(reviewVersions, v) }

// validateWebhooks checks all webhooks of a configuration; old are those that it had, nil on create.
func validateWebhooks(now, old []admissionv1.MutatingWebhook, create bool) field.ErrorList {
	var l leniency
	if !create {
		l = leniencyOf(now, old)
	}
	var errs field.ErrorList
	names := map[string]bool{}
	for i := range now {
		p := field.NewPath("webhooks").Index(i)
		errs = append(errs, validateWebhook(&now[i], &l, p)...)
		errs = append(errs, validateVersions(now[i].AdmissionReviewVersions, l.versions, p.Child("admissionReviewVersions"))...)
		if name := now[i].Name; name != "" && !l.names {
			if names[name] {
				errs = append(errs, field.Duplicate(p.Child("name"), name))
			}
			names[name] = true
		}
	}
	return errs
}

func validateWebhook(w *admissionv1.MutatingWebhook, l *leniency, p *field.Path) field.ErrorList {
	errs := utilvalidation.IsFullyQualifiedName(p.Child("name"), w.Name)
	errs = append(errs, validateRules(w.Rules, p.Child("rules"))...)
	errs = append(errs, oneOf(p.Child("failurePolicy"), w.FailurePolicy, admissionv1.Fail, admissionv1.Ignore)...)
	errs = append(errs, oneOf(p.Child("matchPolicy"), w.MatchPolicy, admissionv1.Equivalent, admissionv1.Exact)...)
	errs = append(errs, validateSideEffects(w.SideEffects, l.sideEffects, p.Child("sideEffects"))...)
	if t := w.TimeoutSeconds; t != nil && (*t < 1 || *t > maxTimeoutSeconds) {
		errs = append(errs, field.Invalid(p.Child("timeoutSeconds"), *t, "the timeout value must be between 1 and 30 seconds"))
	}
	errs = append(errs, validateSelector(w.NamespaceSelector, l.labels, p.Child("namespaceSelector"))...)
	errs = append(errs, validateSelector(w.ObjectSelector, l.labels, p.Child("objectSelector"))...)
	errs = append(errs, oneOf(p.Child("reinvocationPolicy"), w.ReinvocationPolicy,
		admissionv1.IfNeededReinvocationPolicy, admissionv1.NeverReinvocationPolicy)...)
	errs = append(errs, validateClient(&w.ClientConfig, p.Child("clientConfig"))...)
	if !l.conditions {
		errs = append(errs, validateConditions(w.MatchConditions, false, l.known, p.Child("matchConditions"))...)
	}
	return errs
}

func validateSideEffects(class *admissionv1.SideEffectClass, loose bool, p *field.Path) field.ErrorList {
	supported := noSideEffects
	if loose {
		supported = sideEffects
	}
	if class == nil {
		var words []string
		for _, s := range supported {
			words = append(words, string(s))
		}
		return field.ErrorList{field.Required(p, "must specify one of "+strings.Join(words, ", "))}
	}
	return oneOf(p, class, supported...)
}

func validateClient(c *admissionv1.WebhookClientConfig, p *field.Path) field.ErrorList {
	switch {
	case (c.URL == nil) == (c.Service == nil):
		return field.ErrorList{field.Required(p, "exactly one of url or service is required")}
	case c.URL != nil:
		return webhook.ValidateWebhookURL(p.Child("url"), *c.URL, true)
	}
	port := int32(443)
	if c.Service.Port != nil {
		port = *c.Service.Port
	}
	return webhook.ValidateWebhookService(p.Child("service"), c.Service.Namespace, c.Service.Name, c.Service.Path, port)
}

func validateVersions(versions []string, loose bool, p *field.Path) field.ErrorList {
	known := strings.Join(reviewVersions, ", ")
	if len(versions) == 0 {
		return field.ErrorList{field.Required(p, "must specify one of "+known)}
	}
	var errs field.ErrorList
	for i, v := range versions {
		if slices.Contains(versions[:i], v) {
			errs = append(errs, field.Invalid(p.Index(i), v, "duplicate version"))
			continue
		}
		errs = append(errs, api.Invalid(p.Index(i), v, utilvalidation.IsDNS1035Label(v))...)
	}
	if !loose && !slices.ContainsFunc(versions, reviewVersion) {
		errs = append(errs, field.Invalid(p, versions, "must include at least one of "+known))
	}
	return errs
}
