package apiserver_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/gantryio/gantry/core/api/flowcontrol"
)

// awaitSchema watches a FlowSchema until ok.
func awaitSchema(t *testing.T, c *cluster, name string, ok func(watch.Event, *flowcontrolv1.FlowSchema) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	w, err := c.typed(t).FlowcontrolV1().FlowSchemas().Watch(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		if s, is := e.Object.(*flowcontrolv1.FlowSchema); is && ok(e, s) {
			return
		}
	}
	t.Fatalf("FlowSchema %s never was as it should be", name)
}

func dangling(s *flowcontrolv1.FlowSchema) (flowcontrolv1.ConditionStatus, string) {
	for _, c := range s.Status.Conditions {
		if c.Type == flowcontrolv1.FlowSchemaConditionDangling {
			return c.Status, c.Reason
		}
	}
	return "", ""
}

func TestFlowControlObjects(t *testing.T) {
	c := shared
	for _, s := range append(append([]*flowcontrolv1.FlowSchema{}, flowcontrol.MandatorySchemas...), flowcontrol.SuggestedSchemas...) {
		awaitSchema(t, c, s.Name, func(_ watch.Event, have *flowcontrolv1.FlowSchema) bool {
			status, reason := dangling(have)
			return cmp.Equal(s.Spec, have.Spec) && status == flowcontrolv1.ConditionFalse && reason == "Found"
		})
	}
	client := c.typed(t).FlowcontrolV1()
	lost := flowcontrol.SuggestedSchemas[0].DeepCopy()
	lost.ObjectMeta = metav1.ObjectMeta{Name: "lost"}
	lost.Spec.PriorityLevelConfiguration.Name = "nowhere"
	if _, err := client.FlowSchemas().Create(t.Context(), lost, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitSchema(t, c, "lost", func(_ watch.Event, s *flowcontrolv1.FlowSchema) bool {
		status, reason := dangling(s)
		return status == flowcontrolv1.ConditionTrue && reason == "NotFound"
	})
	level := flowcontrol.SuggestedLevels[0].DeepCopy()
	level.ObjectMeta = metav1.ObjectMeta{Name: "nowhere"}
	if _, err := client.PriorityLevelConfigurations().Create(t.Context(), level, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitSchema(t, c, "lost", func(_ watch.Event, s *flowcontrolv1.FlowSchema) bool {
		status, _ := dangling(s)
		return status == flowcontrolv1.ConditionFalse
	})
	if err := client.FlowSchemas().Delete(t.Context(), "lost", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	if err := client.PriorityLevelConfigurations().Delete(t.Context(), "nowhere", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	// What every cluster has comes back.
	before, err := client.FlowSchemas().Get(t.Context(), "catch-all", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.FlowSchemas().Delete(t.Context(), "catch-all", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitSchema(t, c, "catch-all", func(e watch.Event, s *flowcontrolv1.FlowSchema) bool {
		return e.Type != watch.Deleted && s.UID != before.UID
	})
}

// TestFlowSchemaTable: kubectl prints schemas in the order in which they are asked.
func TestFlowSchemaTable(t *testing.T) {
	got := shared.request(t, "GET", "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas", "", "Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	text, last := string(got.Body), -1
	for _, name := range []string{"exempt", "probes", "system-leader-election", "system-node-high", "system-nodes", "service-accounts", "global-default", "catch-all"} {
		at := strings.Index(text, `"cells":["`+name+`"`)
		if at <= last {
			t.Errorf("%s is at %d, the one before it at %d", name, at, last)
		}
		last = at
	}
}
