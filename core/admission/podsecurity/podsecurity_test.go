package podsecurity

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-base/metrics/legacyregistry"
	config "k8s.io/pod-security-admission/admission/api"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/all"
	"github.com/gantryio/gantry/core/cache"
	"github.com/gantryio/gantry/core/store"
)

const header = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\n"

const own = "apiVersion: pod-security.admission.config.k8s.io/v1\nkind: PodSecurityConfiguration\n"

func written(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// indented puts a configuration below a plugin of the list.
func indented(text string) string {
	return "plugins:\n- name: PodSecurity\n  configuration:\n    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ") + "\n"
}

func TestLoad(t *testing.T) {
	privileged := config.PodSecurityDefaults{
		Enforce: "privileged", EnforceVersion: "latest", Audit: "privileged", AuditVersion: "latest", Warn: "privileged", WarnVersion: "latest",
	}
	stricter := privileged
	stricter.Enforce, stricter.WarnVersion = "baseline", "v1.30"
	exempt := config.PodSecurityExemptions{Usernames: []string{"u"}, RuntimeClasses: []string{"r"}, Namespaces: []string{"open"}}
	full := own + "defaults: {enforce: baseline, warn-version: v1.30}\nexemptions: {usernames: [u], runtimeClasses: [r], namespaces: [open]}\n"
	dir := t.TempDir()
	written(t, dir, "own.yaml", full)
	for _, tc := range []struct {
		name, text string
		want       *Configuration
		fails      string
	}{
		{name: "nothing", text: header, want: &Configuration{Defaults: privileged}},
		{name: "the plugin without anything", text: header + "plugins: [{name: PodSecurity}]\n", want: &Configuration{Defaults: privileged}},
		{name: "all", text: header + indented(full), want: &Configuration{Defaults: stricter, Exemptions: exempt}},
		{name: "another file", text: header + "plugins: [{name: PodSecurity, path: own.yaml}]\n", want: &Configuration{Defaults: stricter, Exemptions: exempt}},
		{name: "no other file", text: header + "plugins: [{name: PodSecurity, path: none.yaml}]\n", fails: "none.yaml: no such file"},
		{name: "an unknown field", text: header + "plugin: []\n", fails: `unknown field "plugin"`},
		{name: "an unknown field of the plugin", text: header + indented(own+"default: {}\n"), fails: `unknown field "default"`},
		{name: "a field twice", text: header + "plugins: []\nplugins: []\n", fails: `key "plugins" already set in map`},
		{name: "another kind", text: "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n", fails: "not an AdmissionConfiguration"},
		{name: "another version", text: "apiVersion: apiserver.config.k8s.io/v9\nkind: AdmissionConfiguration\n", fails: `no kind "AdmissionConfiguration" is registered for version "apiserver.config.k8s.io/v9"`},
		{name: "another kind of the plugin", text: header + indented("apiVersion: v1\nkind: Pod\n"), fails: `no kind "Pod" is registered for version "v1"`},
		{name: "another plugin", text: header + "plugins: [{name: ImagePolicyWebhook}]\n", fails: `plugins[0].name: Unsupported value: "ImagePolicyWebhook": supported values: "PodSecurity"`},
		{name: "the plugin twice", text: header + "plugins: [{name: PodSecurity}, {name: PodSecurity}]\n", fails: `plugins[1].name: Duplicate value: "PodSecurity"`},
		{name: "no level", text: header + indented(own+"defaults: {audit: strict}\n"), fails: `defaults.audit: Invalid value: "strict": must be one of privileged, baseline, restricted`},
		{name: "no version", text: header + indented(own+"defaults: {warn-version: '1.30'}\n"), fails: `defaults.warn-version: Invalid value: "1.30": must be "latest" or "v1.x"`},
		{name: "no namespace", text: header + indented(own+"exemptions: {namespaces: [A]}\n"), fails: `exemptions.namespaces[0]: Invalid value: "A"`},
		{name: "a user twice", text: header + indented(own+"exemptions: {usernames: [a, a]}\n"), fails: `exemptions.usernames[1]: Duplicate value: "a"`},
	} {
		got, err := Load(written(t, dir, "admission.yaml", tc.text))
		switch {
		case tc.fails == "" && err != nil:
			t.Errorf("%s: %v", tc.name, err)
		case tc.fails == "":
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.name, diff)
			}
		case err == nil || !strings.Contains(err.Error(), tc.fails):
			t.Errorf("%s: got %v, want %s", tc.name, err, tc.fails)
		}
	}
	if _, err := Load(filepath.Join(dir, "missing")); err == nil {
		t.Error("a file that is not there was read")
	}
}

// TestManyPods: no more than 3000 pods are looked at when a namespace is tightened, and its owner is told so.
func TestManyPods(t *testing.T) {
	objects := []api.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "n"}}}
	for i := range 3001 {
		objects = append(objects, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: fmt.Sprintf("p-%04d", i)}, Spec: corev1.PodSpec{HostNetwork: true},
		})
	}
	p, a := unconfigured(t, reader(t, objects...)), &admission.Attributes{Operation: admission.Update, Old: objects[0]}
	a.Object = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "baseline"}}}
	var told []string
	a.Request = &api.Request{Resource: kinds.ForType(reflect.TypeOf(objects[0])), Name: "n", Warn: func(text string) { told = append(told, text) }}
	if err := p.Validate(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	// A slow machine looks at less within the second that it has.
	var seen, others int
	if len(told) != 3 {
		t.Fatalf("warnings: %q", told)
	}
	if _, err := fmt.Sscanf(told[0], "new PodSecurity enforce level only checked against the first %d of 3001 existing pods", &seen); err != nil || seen > 3000 {
		t.Errorf("%q (%v)", told[0], err)
	}
	if _, err := fmt.Sscanf(told[2], "p-0000 (and %d other pods): host namespaces", &others); err != nil || others != seen-1 {
		t.Errorf("%q (%v), of %d pods", told[2], err, seen)
	}
}

// TestUnreadableLabel: a label that was stored before anybody looked at it asks for the most, and is counted as an error.
func TestUnreadableLabel(t *testing.T) {
	p := unconfigured(t, reader(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "strict"}}}))
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}
	before := failures(t)
	err := p.Validate(t.Context(), &admission.Attributes{Operation: admission.Create, Object: pod, Request: &api.Request{
		Resource: kinds.ForType(reflect.TypeOf(pod)), Namespace: "n", Name: "p",
	}})
	if !apierrors.IsForbidden(err) || !strings.HasPrefix(err.Error(), `pods "p" is forbidden: violates PodSecurity "restricted:latest": `) {
		t.Errorf("got %v", err)
	}
	if got := failures(t) - before; got != 1 {
		t.Errorf("%v errors were counted", got)
	}
}

// failures is pod_security_errors_total of new pods whose namespace could not be read in part.
func failures(t *testing.T) float64 {
	t.Helper()
	all, err := legacyregistry.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() != "pod_security_errors_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if cmp.Equal(labels, map[string]string{"fatal": "false", "request_operation": "create", "resource": "pod", "subresource": ""}) {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func unconfigured(tb testing.TB, objects admission.Reader) *Plugin {
	tb.Helper()
	c, err := Load("")
	if err != nil {
		tb.Fatal(err)
	}
	p, err := New(objects, c)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// BenchmarkUnlabelled is what a new pod costs that nothing is asked of.
func BenchmarkUnlabelled(b *testing.B) {
	objects := reader(b, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{corev1.LabelMetadataName: "n"}}})
	p := unconfigured(b, objects)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p"}}
	a := &admission.Attributes{Operation: admission.Create, Object: pod, Request: &api.Request{
		Resource: kinds.ForType(reflect.TypeOf(pod)), Namespace: "n", Name: "p",
	}}
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Validate(b.Context(), a); err != nil {
			b.Fatal(err)
		}
	}
}

var kinds = all.Kinds()

// reader reads a store that holds objects.
func reader(tb testing.TB, objects ...api.Object) admission.Reader {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	st, err := store.Open(ctx, store.Config{Dir: tb.TempDir(), Tick: 10 * time.Millisecond})
	if err != nil {
		tb.Fatal(err)
	}
	var g errgroup.Group
	g.SetLimit(64)
	for _, obj := range objects {
		r := kinds.ForType(reflect.TypeOf(obj))
		g.Go(func() error {
			value, err := r.EncodeStored(obj)
			if err == nil {
				_, err = st.Create(ctx, r.Key(obj.GetNamespace(), obj.GetName()), value, 0)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		tb.Fatal(err)
	}
	c := cache.New(st, kinds)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx)
	}()
	tb.Cleanup(func() {
		cancel()
		<-done
		st.Close()
	})
	<-c.Synced()
	return admission.Reader{Cache: c, Registry: kinds}
}
