package plugins

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
)

var sum = strings.Repeat("a", 64)

func valid() *v1alpha1.Plugin {
	p := &v1alpha1.Plugin{
		ObjectMeta: metav1.ObjectMeta{Name: "crio"},
		Spec:       v1alpha1.PluginSpec{Type: v1alpha1.Runtime, Source: v1alpha1.Source{Endpoint: "/run/crio/crio.sock"}},
	}
	Plugins.Default(p)
	return p
}

func texts(errs field.ErrorList) []string {
	var out []string
	for _, e := range errs {
		out = append(out, string(e.Type)+" "+e.Field)
	}
	return out
}

func TestValidatePlugin(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(p *v1alpha1.Plugin)
		old    *v1alpha1.Plugin
		want   []string
	}{
		{name: "a socket", change: func(*v1alpha1.Plugin) {}},
		{name: "an executable", change: func(p *v1alpha1.Plugin) {
			p.Spec.Source = v1alpha1.Source{Executable: &v1alpha1.Executable{Path: "/opt/x", SHA256: sum}}
		}},
		{name: "an artifact", change: func(p *v1alpha1.Plugin) {
			p.Spec.Source = v1alpha1.Source{Image: &v1alpha1.Image{Reference: "example.org/x@sha256:" + sum}}
		}},
		{name: "an unknown type", change: func(p *v1alpha1.Plugin) { p.Spec.Type = "Engine" }, want: []string{"FieldValueNotSupported spec.type"}},
		{name: "no type", change: func(p *v1alpha1.Plugin) { p.Spec.Type = "" }, want: []string{"FieldValueRequired spec.type"}},
		{name: "no source", change: func(p *v1alpha1.Plugin) { p.Spec.Source = v1alpha1.Source{} }, want: []string{"FieldValueRequired spec.source"}},
		{name: "two sources", change: func(p *v1alpha1.Plugin) { p.Spec.Source.Builtin = "cri" }, want: []string{"FieldValueForbidden spec.source.endpoint"}},
		{name: "a wrong digest", change: func(p *v1alpha1.Plugin) {
			p.Spec.Source = v1alpha1.Source{Executable: &v1alpha1.Executable{Path: "opt/../x", SHA256: "abc"}}
		}, want: []string{"FieldValueInvalid spec.source.executable.path", "FieldValueInvalid spec.source.executable.sha256"}},
		{name: "a tag", change: func(p *v1alpha1.Plugin) {
			p.Spec.Source = v1alpha1.Source{Image: &v1alpha1.Image{Reference: "example.org/x:latest", PublicKey: "x"}}
		}, want: []string{"FieldValueInvalid spec.source.image.reference", "FieldValueInvalid spec.source.image.publicKey"}},
		{name: "handlers", change: func(p *v1alpha1.Plugin) { p.Spec.Handlers = []string{"a", "A", "a"} }, want: []string{"FieldValueInvalid spec.handlers[1]", "FieldValueDuplicate spec.handlers[2]"}},
		{name: "handlers of a network", change: func(p *v1alpha1.Plugin) { p.Spec.Type, p.Spec.Handlers = v1alpha1.Network, []string{"a"} }, want: []string{"FieldValueForbidden spec.handlers"}},
		{name: "rollout", change: func(p *v1alpha1.Plugin) {
			p.Spec.Rollout.MaxUnavailable, p.Spec.Rollout.HealthTimeoutSeconds = new(intstr.FromString("0%")), new(int32)
		}, want: []string{"FieldValueInvalid spec.rollout.maxUnavailable", "FieldValueInvalid spec.rollout.healthTimeoutSeconds"}},
		{name: "another type", change: func(p *v1alpha1.Plugin) { p.Spec.Type = v1alpha1.Network }, old: valid(), want: []string{"FieldValueInvalid spec.type"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := valid()
			test.change(p)
			if d := cmp.Diff(test.want, texts(validatePlugin(p, test.old))); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestValidatePolicy(t *testing.T) {
	for _, test := range []struct {
		name string
		spec v1alpha1.PluginPolicySpec
		want []string
	}{
		{name: "empty"},
		{name: "full", spec: v1alpha1.PluginPolicySpec{NodeSelector: map[string]string{"a": "b"}, Types: []v1alpha1.Type{v1alpha1.Network}, RequireVerified: true}},
		{name: "unknown type", spec: v1alpha1.PluginPolicySpec{Types: []v1alpha1.Type{"Engine"}}, want: []string{"FieldValueNotSupported spec.types[0]"}},
		{name: "twice", spec: v1alpha1.PluginPolicySpec{Types: []v1alpha1.Type{v1alpha1.Network, v1alpha1.Network}}, want: []string{"FieldValueDuplicate spec.types[1]"}},
		{name: "no label", spec: v1alpha1.PluginPolicySpec{NodeSelector: map[string]string{"a b": ""}}, want: []string{"FieldValueInvalid spec.nodeSelector"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if d := cmp.Diff(test.want, texts(validatePolicy(&v1alpha1.PluginPolicy{Spec: test.spec}, nil))); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestValidateSwap(t *testing.T) {
	swap := func(change func(s *v1alpha1.PluginSwapSpec)) *v1alpha1.PluginSwap {
		s := &v1alpha1.PluginSwap{Spec: v1alpha1.PluginSwapSpec{Type: v1alpha1.Runtime, From: "containerd", To: "crio"}}
		PluginSwaps.Default(s)
		if change != nil {
			change(&s.Spec)
		}
		return s
	}
	cancelled := swap(func(s *v1alpha1.PluginSwapSpec) { s.Cancelled = true })
	for _, test := range []struct {
		name      string
		swap, old *v1alpha1.PluginSwap
		want      []string
	}{
		{name: "good", swap: swap(nil)},
		{name: "cancelled", swap: cancelled, old: swap(nil)},
		{name: "no more cancelled", swap: swap(nil), old: cancelled, want: []string{"FieldValueInvalid spec.cancelled"}},
		{name: "to itself", swap: swap(func(s *v1alpha1.PluginSwapSpec) { s.To = s.From }), want: []string{"FieldValueInvalid spec.to"}},
		{name: "from nothing", swap: swap(func(s *v1alpha1.PluginSwapSpec) { s.From = "" }), want: []string{"FieldValueRequired spec.from"}},
		{name: "a scheduler", swap: swap(func(s *v1alpha1.PluginSwapSpec) { s.Type = v1alpha1.Scheduler }), want: []string{"FieldValueNotSupported spec.type"}},
		{name: "bare pods", swap: swap(func(s *v1alpha1.PluginSwapSpec) { s.BarePods = "Kill" }), want: []string{"FieldValueNotSupported spec.barePods"}},
		{name: "changed", swap: swap(func(s *v1alpha1.PluginSwapSpec) { s.To = "other" }), old: swap(nil), want: []string{"FieldValueInvalid spec"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if d := cmp.Diff(test.want, texts(validateSwap(test.swap, test.old))); d != "" {
				t.Error(d)
			}
		})
	}
}
