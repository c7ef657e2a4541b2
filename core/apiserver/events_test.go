package apiserver_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
)

// TestEventsOfBothGroups writes an event in one group and reads it in the other.
func TestEventsOfBothGroups(t *testing.T) {
	c := shared
	ns := c.namespace(t)
	older, newer := c.typed(t).CoreV1().Events(ns), c.typed(t).EventsV1().Events(ns)
	event := func() *eventsv1.Event {
		return &eventsv1.Event{
			ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: ns}, EventTime: metav1.NewMicroTime(time.Now()), Type: "Normal",
			ReportingController: "example.com/c", ReportingInstance: "c-1", Action: "Doing", Reason: "Done", Note: "note",
			Regarding: corev1.ObjectReference{Kind: "Pod", Namespace: ns, Name: "p"},
		}
	}
	for name, edit := range map[string]func(*eventsv1.Event){
		"eventTime: Required": func(e *eventsv1.Event) { e.EventTime = metav1.MicroTime{} },
		"type: Invalid":       func(e *eventsv1.Event) { e.Type = "Strange" },
		"count: Invalid":      func(e *eventsv1.Event) { e.DeprecatedCount = 1 },
		"series.count: Invalid": func(e *eventsv1.Event) {
			e.Series = &eventsv1.EventSeries{Count: 1, LastObservedTime: metav1.NowMicro()}
		},
		"firstTimestamp: Invalid": func(e *eventsv1.Event) { e.DeprecatedFirstTimestamp = metav1.Now() },
	} {
		e := event()
		edit(e)
		_, err := newer.Create(t.Context(), e, metav1.CreateOptions{})
		wantStatus(t, err, 422, metav1.StatusReasonInvalid, name)
	}
	must(newer.Create(t.Context(), event(), metav1.CreateOptions{}))(t)
	got := must(older.Get(t.Context(), "a", metav1.GetOptions{}))(t)
	if got.Message != "note" || got.InvolvedObject.Name != "p" {
		t.Errorf("got %v", got)
	}
	got.Source.Component, got.Message = "x", "another"
	must(older.Update(t.Context(), got, metav1.UpdateOptions{}))(t)
	list := must(newer.List(t.Context(), metav1.ListOptions{FieldSelector: "regarding.kind=Pod,reportingController=example.com/c"}))(t)
	if len(list.Items) != 1 || list.Items[0].Note != "another" || list.Items[0].DeprecatedSource.Component != "x" {
		t.Errorf("listed %v", list.Items)
	}
	if none := must(newer.List(t.Context(), metav1.ListOptions{FieldSelector: "regarding.name=q"}))(t); len(none.Items) != 0 {
		t.Errorf("selected %v", none.Items)
	}
	_, err := newer.List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=Pod"})
	wantStatus(t, err, 400, metav1.StatusReasonBadRequest, "field label not supported: involvedObject.kind")
	list.Items[0].Note = "third"
	_, err = newer.Update(t.Context(), &list.Items[0], metav1.UpdateOptions{})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, "message")
	must(newer.Patch(t.Context(), "a", "application/merge-patch+json", []byte(`{"series":{"count":2,"lastObservedTime":"2026-01-01T00:00:00.000000Z"}}`), metav1.PatchOptions{FieldManager: "newer"}))(t)
	must(older.Apply(t.Context(), applycore.Event("a", ns).WithLabels(map[string]string{"a": "b"}), metav1.ApplyOptions{FieldManager: "older"}))(t)
	final := must(newer.Get(t.Context(), "a", metav1.GetOptions{}))(t)
	if final.Series == nil || final.Series.Count != 2 || final.Labels["a"] != "b" {
		t.Errorf("finally %v", final)
	}
	versions := map[string]string{}
	for _, m := range final.ManagedFields {
		versions[m.Manager] = m.APIVersion
	}
	if versions["newer"] != "events.k8s.io/v1" || versions["older"] != "v1" {
		t.Errorf("owners %v", versions)
	}
	_, err = newer.Get(t.Context(), "b", metav1.GetOptions{})
	wantStatus(t, err, 404, metav1.StatusReasonNotFound, `events.events.k8s.io "b" not found`)
}
