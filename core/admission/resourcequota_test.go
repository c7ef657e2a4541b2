package admission

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gantryio/gantry/core/api/quota"
	"github.com/gantryio/gantry/core/cache"
	"github.com/gantryio/gantry/core/store"
)

// quotas is a real store and cache with the quotas, which several admissions write to as several servers would.
func quotas(t *testing.T, list ...*corev1.ResourceQuota) (Reader, func(ctx context.Context, q *corev1.ResourceQuota) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	st, err := store.Open(ctx, store.Config{Dir: t.TempDir(), Tick: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	r := kinds.ForType(reflect.TypeFor[corev1.ResourceQuota]())
	for _, q := range list {
		value, err := r.EncodeStored(q)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Create(ctx, r.Key(q.Namespace, q.Name), value, 0); err != nil {
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
	return Reader{Cache: c, Registry: kinds}, func(ctx context.Context, q *corev1.ResourceQuota) error {
		version, err := strconv.ParseInt(q.ResourceVersion, 10, 64)
		if err != nil {
			return err
		}
		value, err := r.EncodeStored(q)
		if err != nil {
			return err
		}
		now, err := st.Update(ctx, r.Key(q.Namespace, q.Name), value, version, 0)
		if errors.Is(err, store.ErrConflict) {
			return apierrors.NewConflict(r.GroupResource(), q.Name, err)
		}
		if err != nil {
			return err
		}
		return c.WaitFor(ctx, now)
	}
}

func amounts(pairs ...string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		out[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return out
}

func quotaOf(name string, hard, used corev1.ResourceList) *corev1.ResourceQuota {
	return &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: name, UID: types.UID(name)},
		Spec:       corev1.ResourceQuotaSpec{Hard: hard}, Status: corev1.ResourceQuotaStatus{Hard: hard, Used: used},
	}
}

func podAsking(cpu string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}
	if cpu != "" {
		p.Spec.Containers[0].Resources.Requests = amounts("cpu", cpu)
	}
	return p
}

func TestResourceQuota(t *testing.T) {
	objects, write := quotas(t,
		quotaOf("a", amounts("pods", "2", "requests.cpu", "2"), amounts("pods", "0", "requests.cpu", "0")),
		quotaOf("b", amounts("count/pods", "5", "services.nodeports", "1"), amounts("count/pods", "0", "services.nodeports", "0")),
		quotaOf("c", amounts("count/secrets", "5"), nil),
	)
	p := &ResourceQuota{Objects: objects, Write: write}
	used := func() string {
		out := ""
		for _, q := range quotasOf(t, objects) {
			out += q.Name + ":" + quota.Text(q.Status.Used) + " "
		}
		return out
	}
	try := func(name string, a *Attributes, code int32, part string) {
		t.Helper()
		err := p.Validate(t.Context(), a)
		refused(t, name, err, code, part)
		if err == nil {
			p.Finish(t.Context(), a, nil)
		}
	}
	try("fits", attributes(Create, nil, podAsking("1500m"), nil), 0, "")
	try("says nothing", attributes(Create, nil, podAsking(""), nil), 403, "failed quota: a: must specify requests.cpu for: c")
	try("too much", attributes(Create, nil, podAsking("600m"), nil), 403, "exceeded quota: a, requested: requests.cpu=600m, used: requests.cpu=1500m, limited: requests.cpu=2")
	try("not counted yet", attributes(Create, nil, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "x"}}, nil), 403, "status unknown for quota: c, resources: count/secrets")
	dry := attributes(Create, nil, podAsking("100m"), nil)
	dry.DryRun = true
	try("dry", dry, 0, "")
	service := func(kind corev1.ServiceType, ports int) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "s"}, Spec: corev1.ServiceSpec{Type: kind, Ports: make([]corev1.ServicePort, ports)}}
	}
	try("an update that takes one", attributes(Update, nil, service(corev1.ServiceTypeNodePort, 1), service(corev1.ServiceTypeClusterIP, 1)), 0, "")
	try("an update that takes too many", attributes(Update, nil, service(corev1.ServiceTypeNodePort, 2), service(corev1.ServiceTypeNodePort, 1)), 403,
		"exceeded quota: b, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1")
	status := attributes(Update, nil, podAsking("9"), podAsking("1"))
	status.Subresource = "status"
	try("a status", status, 0, "")
	if diff := cmp.Diff("a:pods=1,requests.cpu=1500m b:count/pods=1,services.nodeports=1 c: ", used()); diff != "" {
		t.Error(diff)
	}
	failed := attributes(Create, nil, podAsking("500m"), nil)
	refused(t, "will fail", p.Validate(t.Context(), failed), 0, "")
	under := p.UnderWay(types.NamespacedName{Namespace: "x", Name: "a"})
	if len(under) != 1 || quota.Text(under[0].Use) != "pods=1,requests.cpu=500m" {
		t.Errorf("under way: %v", under)
	}
	p.Finish(t.Context(), failed, errors.New("it exists"))
	if diff := cmp.Diff("a:pods=1,requests.cpu=1500m b:count/pods=1,services.nodeports=1 c: ", used()); diff != "" {
		t.Errorf("after a write that failed: %s", diff)
	}
	if len(p.charges)+len(p.waiting) > 0 {
		t.Errorf("left over: %v %v", p.charges, p.waiting)
	}
}

// However many ask at once, of however many servers, no more get in than fit, and all that fit.
func TestResourceQuotaIsExact(t *testing.T) {
	objects, write := quotas(t, quotaOf("a", amounts("pods", "20"), amounts("pods", "0")), quotaOf("b", amounts("count/pods", "1k"), amounts("count/pods", "0")))
	servers := []*ResourceQuota{{Objects: objects, Write: write}, {Objects: objects, Write: write}, {Objects: objects, Write: write}}
	var in, full atomic.Int64
	var wg sync.WaitGroup
	for i := range 90 {
		wg.Go(func() {
			p, a := servers[i%3], attributes(Create, nil, podAsking(""), nil)
			a.Name = fmt.Sprint("p", i)
			err := p.Validate(t.Context(), a)
			switch {
			case err == nil && i%5 == 0:
				p.Finish(t.Context(), a, errors.New("the write failed"))
			case err == nil:
				in.Add(1)
				p.Finish(t.Context(), a, nil)
			case apierrors.IsForbidden(err):
				full.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, q := range quotasOf(t, objects) {
		for name, used := range q.Status.Used {
			if used.Value() != in.Load() {
				t.Errorf("%s: %s is %d, %d have got in", q.Name, name, used.Value(), in.Load())
			}
		}
	}
	if in.Load() > 20 || in.Load()+full.Load() > 90 || in.Load() < 20 && full.Load() == 0 {
		t.Errorf("%d got in, %d were refused", in.Load(), full.Load())
	}
}

// quotasOf are the quotas of namespace x.
func quotasOf(t *testing.T, objects Reader) []*corev1.ResourceQuota {
	t.Helper()
	list, err := objects.quotas(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	return list
}
