package apiserver_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func fillNamespace(t testing.TB, n int) string {
	t.Helper()
	ns := shared.namespace(t)
	maps := shared.typed(t).CoreV1().ConfigMaps(ns)
	for i := range n {
		in := configMap(fmt.Sprintf("m%02d", i), "i", strconv.Itoa(i))
		in.Labels = map[string]string{"half": strconv.Itoa(i % 2)}
		must(maps.Create(t.Context(), in, metav1.CreateOptions{}))(t)
	}
	return ns
}

func TestPagesAreOfOneSnapshot(t *testing.T) {
	ns := fillNamespace(t, 10)
	maps := shared.typed(t).CoreV1().ConfigMaps(ns)
	opts := metav1.ListOptions{Limit: 3}
	var names []string
	revision := ""
	for {
		page := must(maps.List(t.Context(), opts))(t)
		for _, cm := range page.Items {
			names = append(names, cm.Name+"="+cm.Data["i"])
		}
		if revision == "" {
			revision = page.ResourceVersion
			if page.RemainingItemCount == nil || *page.RemainingItemCount != 7 {
				t.Errorf("remaining %v, want 7", page.RemainingItemCount)
			}
			// What happens now must not be seen.
			must(struct{}{}, maps.Delete(t.Context(), "m05", metav1.DeleteOptions{}))(t)
			must(maps.Create(t.Context(), configMap("m055"), metav1.CreateOptions{}))(t)
			must(maps.Update(t.Context(), configMap("m06", "i", "changed"), metav1.UpdateOptions{}))(t)
		}
		if page.ResourceVersion != revision {
			t.Errorf("a page of revision %s, the first was of %s", page.ResourceVersion, revision)
		}
		if opts.Continue = page.Continue; opts.Continue == "" {
			break
		}
	}
	want := ""
	for i := range 10 {
		want += fmt.Sprintf("m%02d=%d ", i, i)
	}
	got := ""
	for _, n := range names {
		got += n + " "
	}
	if got != want {
		t.Errorf("pages hold %s, want %s", got, want)
	}
	exact := must(maps.List(t.Context(), metav1.ListOptions{ResourceVersion: revision, ResourceVersionMatch: metav1.ResourceVersionMatchExact}))(t)
	if len(exact.Items) != 10 || exact.Items[6].Data["i"] != "6" || exact.ResourceVersion != revision {
		t.Errorf("exactly %s: %d items at %s", revision, len(exact.Items), exact.ResourceVersion)
	}
	if now := must(maps.List(t.Context(), metav1.ListOptions{ResourceVersion: revision, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan}))(t); len(now.Items) != 10 || now.Items[5].Name != "m055" {
		t.Errorf("not older than %s: %d items", revision, len(now.Items))
	}
	if now := must(maps.List(t.Context(), metav1.ListOptions{ResourceVersion: "0"}))(t); len(now.Items) != 10 {
		t.Errorf("at 0: %d items", len(now.Items))
	}
}

func TestAnExpiredContinueHasATokenThatWorks(t *testing.T) {
	c := restarted(t)
	ns := c.namespace(t)
	maps := c.typed(t).CoreV1().ConfigMaps(ns)
	for i := range 5 {
		must(maps.Create(t.Context(), configMap(fmt.Sprintf("m%02d", i)), metav1.CreateOptions{}))(t)
	}
	revision := must(strconv.ParseInt(must(maps.List(t.Context(), metav1.ListOptions{}))(t).ResourceVersion, 10, 64))(t)
	soon, past := time.Now().Add(time.Minute), time.Now().Add(-time.Minute)
	must(maps.List(t.Context(), metav1.ListOptions{Limit: 2, Continue: continueToken(revision, ns+"/m01", soon)}))(t)
	_, err := maps.List(t.Context(), metav1.ListOptions{Limit: 2, Continue: continueToken(revision, ns+"/m01", past)})
	wantStatus(t, err, 410, metav1.StatusReasonExpired, "The provided continue parameter is too old to display a consistent list result")
	// Revision 1 was before this server was started.
	_, err = maps.List(t.Context(), metav1.ListOptions{Limit: 2, Continue: continueToken(1, ns+"/m01", soon)})
	wantStatus(t, err, 410, metav1.StatusReasonExpired, "The provided continue parameter is too old to display a consistent list result")
	status := err.(apierrors.APIStatus).Status()
	page := must(maps.List(t.Context(), metav1.ListOptions{Limit: 2, Continue: status.Continue}))(t)
	if len(page.Items) != 2 || page.Items[0].Name != "m02" || page.Continue == "" {
		t.Errorf("went on with %+v", page)
	}
	_, err = maps.List(t.Context(), metav1.ListOptions{Limit: 2, Continue: "bogus"})
	wantStatus(t, err, 400, metav1.StatusReasonBadRequest, "invalid continue token")
	_, err = maps.List(t.Context(), metav1.ListOptions{Limit: 2, Continue: page.Continue, ResourceVersion: "5"})
	wantStatus(t, err, 400, metav1.StatusReasonBadRequest, "specifying resource version is not allowed when using continue")
	_, err = maps.List(t.Context(), metav1.ListOptions{ResourceVersion: "1", ResourceVersionMatch: "Exact"})
	wantStatus(t, err, 410, metav1.StatusReasonExpired, "The resourceVersion for the provided list is too old.")
	_, err = maps.Watch(t.Context(), metav1.ListOptions{ResourceVersion: "1"})
	wantStatus(t, err, 410, metav1.StatusReasonExpired, "too old resource version: 1")
}

func TestSelectors(t *testing.T) {
	ns := fillNamespace(t, 6)
	maps := shared.typed(t).CoreV1().ConfigMaps(ns)
	for selector, want := range map[metav1.ListOptions]int{
		{LabelSelector: "half=1"}:                                     3,
		{LabelSelector: "half in (0,1),half!=1"}:                      3,
		{LabelSelector: "!half"}:                                      0,
		{FieldSelector: "metadata.name=m03"}:                          1,
		{FieldSelector: "metadata.name!=m03"}:                         5,
		{FieldSelector: "metadata.namespace=" + ns}:                   6,
		{FieldSelector: "metadata.name=m03,metadata.name=m04"}:        0,
		{FieldSelector: "metadata.name=m03", LabelSelector: "half=0"}: 0,
	} {
		if got := must(maps.List(t.Context(), selector))(t); len(got.Items) != want {
			t.Errorf("%s %s: %d items, want %d", selector.LabelSelector, selector.FieldSelector, len(got.Items), want)
		}
	}
	all := must(shared.typed(t).CoreV1().ConfigMaps("").List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=m03,metadata.namespace=" + ns}))(t)
	if len(all.Items) != 1 {
		t.Errorf("in all namespaces: %d", len(all.Items))
	}
}

func TestRefusedLists(t *testing.T) {
	ns := shared.namespace(t)
	maps := shared.typed(t).CoreV1().ConfigMaps(ns)
	for _, c := range []struct {
		opts   metav1.ListOptions
		code   int32
		reason metav1.StatusReason
		part   string
	}{
		{metav1.ListOptions{LabelSelector: "a in (b"}, 400, metav1.StatusReasonBadRequest, "unable to parse requirement"},
		{metav1.ListOptions{FieldSelector: "a"}, 400, metav1.StatusReasonBadRequest, "invalid selector"},
		{metav1.ListOptions{FieldSelector: "data.k=v"}, 400, metav1.StatusReasonBadRequest, "field label not supported: data.k"},
		{metav1.ListOptions{ResourceVersion: "x"}, 400, metav1.StatusReasonBadRequest, "invalid resource version"},
		{metav1.ListOptions{ResourceVersionMatch: "Exact"}, 422, metav1.StatusReasonInvalid, "resourceVersionMatch is forbidden unless resourceVersion is provided"},
		{metav1.ListOptions{ResourceVersion: "0", ResourceVersionMatch: "Exact"}, 422, metav1.StatusReasonInvalid, "is forbidden for resourceVersion"},
		{metav1.ListOptions{ResourceVersion: "1", ResourceVersionMatch: "Some"}, 422, metav1.StatusReasonInvalid, "resourceVersionMatch: Unsupported value"},
		{metav1.ListOptions{SendInitialEvents: new(true)}, 422, metav1.StatusReasonInvalid, "sendInitialEvents is forbidden for list"},
	} {
		_, err := maps.List(t.Context(), c.opts)
		wantStatus(t, err, c.code, c.reason, c.part)
	}
}

// The client library would retry for long, so these requests are raw.
func TestTheFutureIsNotAwaitedForLong(t *testing.T) {
	path := "/api/v1/namespaces/default/configmaps"
	future := strconv.FormatInt(shared.cache.Revision()+1_000_000, 10)
	var wg sync.WaitGroup
	for _, one := range []string{path + "?resourceVersion=" + future, path + "/a?resourceVersion=" + future} {
		wg.Go(func() {
			got := shared.request(t, "GET", one, "")
			s := got.status(t)
			if s.Code != 504 || s.Reason != metav1.StatusReasonTimeout || got.Header.Get("Retry-After") != "1" ||
				!strings.HasPrefix(s.Message, "Timeout: Too large resource version: "+future+", current: ") ||
				len(s.Details.Causes) != 1 || s.Details.Causes[0].Type != metav1.CauseTypeResourceVersionTooLarge {
				t.Errorf("%s: %+v", one, s)
			}
		})
	}
	wg.Wait()
}

// Lists must not lack a write that was acknowledged before them, however many write.
func TestReadsSeeAcknowledgedWrites(t *testing.T) {
	ns := shared.namespace(t)
	maps := shared.typed(t).CoreV1().ConfigMaps(ns)
	stop := time.Now().Add(500 * time.Millisecond)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; time.Now().Before(stop); i++ {
				name := fmt.Sprintf("w%d-%d", w, i)
				made, err := maps.Create(t.Context(), configMap(name), metav1.CreateOptions{})
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := maps.Get(t.Context(), name, metav1.GetOptions{}); err != nil || got.ResourceVersion != made.ResourceVersion {
					t.Errorf("get after create: %v", err)
				}
				list, err := maps.List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
				if err != nil || len(list.Items) != 1 {
					t.Errorf("list after create: %v", err)
				}
			}
		})
	}
	wg.Wait()
}
