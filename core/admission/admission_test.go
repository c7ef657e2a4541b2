package admission

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/all"
	"github.com/gantryio/gantry/core/cache"
	"github.com/gantryio/gantry/core/store"
)

var kinds = all.Kinds()

// reader reads a store that holds objects.
func reader(t *testing.T, objects ...api.Object) Reader {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	st, err := store.Open(ctx, store.Config{Dir: t.TempDir(), Tick: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for _, obj := range objects {
		r := kinds.ForType(reflect.TypeOf(obj))
		value, err := r.EncodeStored(obj)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Create(ctx, r.Key(obj.GetNamespace(), obj.GetName()), value, 0); err != nil {
			t.Fatal(err)
		}
	}
	c := cache.New(st, kinds)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		st.Close()
	})
	<-c.Synced()
	return Reader{Cache: c, Registry: kinds}
}

func attributes(op Operation, who user.Info, obj, old api.Object) *Attributes {
	named := obj
	if named == nil {
		named = old
	}
	return &Attributes{Operation: op, Object: obj, Old: old, Request: &api.Request{
		User: who, Resource: kinds.ForType(reflect.TypeOf(named)), Namespace: named.GetNamespace(), Name: named.GetName(),
	}}
}

func refused(t *testing.T, name string, err error, code int32, part string) {
	t.Helper()
	if code == 0 {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return
	}
	status, ok := err.(apierrors.APIStatus) //nolint:errorlint // plugins return statuses themselves
	if !ok || status.Status().Code != code || !strings.Contains(status.Status().Message, part) {
		t.Errorf("%s: got %v, want %d %s", name, err, code, part)
	}
}

func TestNamespaceLifecycle(t *testing.T) {
	now := metav1.Now()
	p := NamespaceLifecycle{reader(t,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "lives"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ends", DeletionTimestamp: &now}},
	)}
	in := func(ns string) api.Object {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "a"}}
	}
	refused(t, "alive", p.Admit(t.Context(), attributes(Create, nil, in("lives"), nil)), 0, "")
	refused(t, "absent", p.Admit(t.Context(), attributes(Create, nil, in("none"), nil)), 404, `namespaces "none" not found`)
	refused(t, "ending", p.Admit(t.Context(), attributes(Create, nil, in("ends"), nil)), 403, "unable to create new content in namespace ends because it is being terminated")
	refused(t, "an update in one that ends", p.Admit(t.Context(), attributes(Update, nil, in("ends"), in("ends"))), 0, "")
	refused(t, "a cluster's object", p.Admit(t.Context(), attributes(Create, nil, &corev1.Node{}, nil)), 0, "")
	for name, code := range map[string]int32{"default": 403, "kube-system": 403, "kube-public": 403, "lives": 0} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		refused(t, "delete "+name, p.Validate(t.Context(), attributes(Delete, nil, nil, ns)), code, "this namespace may not be deleted")
	}
}

func TestPriority(t *testing.T) {
	never := corev1.PreemptNever
	p := Priority{reader(t,
		&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "high"}, Value: 1000, PreemptionPolicy: &never},
		&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "usual"}, Value: 5, GlobalDefault: true},
	)}
	for _, c := range []struct {
		name, class string
		priority    *int32
		want        int32
		policy      corev1.PreemptionPolicy
		code        int32
		part        string
	}{
		{name: "of a class", class: "high", want: 1000, policy: never},
		{name: "of no class", want: 5, policy: corev1.PreemptLowerPriority},
		{name: "the right number", class: "high", priority: new(int32(1000)), want: 1000, policy: never},
		{name: "a wrong number", class: "high", priority: new(int32(7)), code: 403, part: "the integer value of priority (7) must not be provided in pod spec"},
		{name: "an unknown class", class: "none", code: 403, part: "no PriorityClass with name none was found"},
	} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{PriorityClassName: c.class, Priority: c.priority}}
		refused(t, c.name, p.Admit(t.Context(), attributes(Create, nil, pod, nil)), c.code, c.part)
		if c.code == 0 && (*pod.Spec.Priority != c.want || *pod.Spec.PreemptionPolicy != c.policy) {
			t.Errorf("%s: %d %s", c.name, *pod.Spec.Priority, *pod.Spec.PreemptionPolicy)
		}
	}
}

func TestRuntimeClass(t *testing.T) {
	overhead := corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}
	p := RuntimeClass{reader(t, &nodev1.RuntimeClass{
		ObjectMeta: metav1.ObjectMeta{Name: "vm"}, Handler: "vm", Overhead: &nodev1.Overhead{PodFixed: overhead},
		Scheduling: &nodev1.Scheduling{NodeSelector: map[string]string{"vm": "yes"}, Tolerations: []corev1.Toleration{{Key: "vm"}}},
	})}
	pod := &corev1.Pod{Spec: corev1.PodSpec{RuntimeClassName: new("vm")}}
	refused(t, "known", p.Admit(t.Context(), attributes(Create, nil, pod, nil)), 0, "")
	want := corev1.PodSpec{
		RuntimeClassName: new("vm"), Overhead: overhead, NodeSelector: map[string]string{"vm": "yes"}, Tolerations: []corev1.Toleration{{Key: "vm"}},
	}
	if d := cmp.Diff(want, pod.Spec); d != "" {
		t.Error(d)
	}
	for part, spec := range map[string]corev1.PodSpec{
		`RuntimeClass "none" not found`:                            {RuntimeClassName: new("none")},
		"doesn't match RuntimeClass's defined Overhead":            {RuntimeClassName: new("vm"), Overhead: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Mi")}},
		"conflict: runtimeClass.scheduling.nodeSelector[vm] = yes": {RuntimeClassName: new("vm"), NodeSelector: map[string]string{"vm": "no"}},
	} {
		refused(t, part, p.Admit(t.Context(), attributes(Create, nil, &corev1.Pod{Spec: spec}, nil)), 403, part)
	}
	refused(t, "none asked for", p.Admit(t.Context(), attributes(Create, nil, &corev1.Pod{}, nil)), 0, "")
}

func TestNewPodsAndNodesAreFilledIn(t *testing.T) {
	pod := &corev1.Pod{}
	node := &corev1.Node{}
	for _, p := range []Mutator{ServiceAccount{reader(t)}, DefaultTolerations{}, DefaultTolerations{}, TaintNewNodes{}, TaintNewNodes{}} {
		for _, obj := range []api.Object{pod, node} {
			refused(t, "admit", p.Admit(t.Context(), attributes(Create, nil, obj, nil)), 0, "")
		}
	}
	if pod.Spec.ServiceAccountName != "default" || len(pod.Spec.Tolerations) != 2 || *pod.Spec.Tolerations[1].TolerationSeconds != 300 {
		t.Errorf("pod: %+v", pod.Spec)
	}
	if want := []corev1.Taint{{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule}}; !reflect.DeepEqual(node.Spec.Taints, want) {
		t.Errorf("node: %+v", node.Spec.Taints)
	}
	own := &corev1.Pod{Spec: corev1.PodSpec{Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}}}}
	refused(t, "tolerates all", DefaultTolerations{}.Admit(t.Context(), attributes(Create, nil, own, nil)), 0, "")
	if len(own.Spec.Tolerations) != 1 {
		t.Errorf("tolerations: %+v", own.Spec.Tolerations)
	}
	less := &corev1.Pod{}
	refused(t, "update", DefaultTolerations{}.Admit(t.Context(), attributes(Update, nil, less, pod)), 0, "")
	if !reflect.DeepEqual(less.Spec.Tolerations, pod.Spec.Tolerations) {
		t.Errorf("tolerations after an update without them: %+v", less.Spec.Tolerations)
	}
	changed := &corev1.Pod{}
	refused(t, "update", ServiceAccount{}.Admit(t.Context(), attributes(Update, nil, changed, changed)), 0, "")
	if changed.Spec.ServiceAccountName != "" {
		t.Error("an update was filled in")
	}
}

func TestNodeRestriction(t *testing.T) {
	agent := &user.DefaultInfo{Name: "system:node:a", Groups: []string{user.NodesGroup}}
	pod := func(node string, mirror bool) api.Object {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{NodeName: node}}
		if mirror {
			p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
		}
		return p
	}
	slice := func(node *string) api.Object {
		return &resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: resourcev1.ResourceSliceSpec{NodeName: node}}
	}
	node := func(name string) api.Object { return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}} }
	for _, c := range []struct {
		name     string
		op       Operation
		who      user.Info
		obj, old api.Object
		code     int32
		part     string
	}{
		{"its node", Update, agent, node("a"), node("a"), 0, ""},
		{"another node", Create, agent, node("b"), nil, 403, `node "a" is not allowed to modify node "b"`},
		{"its pod", Update, agent, pod("a", false), pod("a", false), 0, ""},
		{"another's pod", Update, agent, pod("b", false), pod("b", false), 403, "with spec.nodeName set to itself"},
		{"deletes its pod", Delete, agent, nil, pod("a", false), 0, ""},
		{"deletes another's pod", Delete, agent, nil, pod("b", false), 403, "with spec.nodeName set to itself"},
		{"a mirror", Create, agent, pod("a", true), nil, 0, ""},
		{"no mirror", Create, agent, pod("a", false), nil, 403, "can only create mirror pods"},
		{"its slice", Create, agent, slice(new("a")), nil, 0, ""},
		{"another's slice", Create, agent, slice(new("b")), nil, 403, "can only create ResourceSlice with the same NodeName as the requesting node"},
		{"a slice of no node", Create, agent, slice(nil), nil, 403, "can only create ResourceSlice"},
		{"deletes its slice", Delete, agent, nil, slice(new("a")), 0, ""},
		{"deletes another's slice", Delete, agent, nil, slice(new("b")), 403, "can only delete ResourceSlice with the same NodeName as the requesting node"},
		{"no agent", Create, &user.DefaultInfo{Name: "x"}, pod("b", false), nil, 0, ""},
	} {
		refused(t, c.name, NodeRestriction{}.Validate(t.Context(), attributes(c.op, c.who, c.obj, c.old)), c.code, c.part)
	}
}

func TestEveryPluginHasAPowerAndAName(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range Default(Reader{}) {
		_, mutates := p.(Mutator)
		_, validates := p.(Validator)
		if !mutates && !validates || p.Name() == "" || seen[p.Name()] {
			t.Errorf("%T called %q", p, p.Name())
		}
		seen[p.Name()] = true
	}
}
