package core

import (
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/gantryio/gantry/core/api"
)

// eventTTL is how long an event is kept after its last write.
const eventTTL = time.Hour

// Events is all that the server, the printer and the docs know of Event.
var Events = api.Kind[corev1.Event]{
	Version: "v1", Name: "Event", Plural: "events", Short: []string{"ev"}, Namespaced: true,
	TTLSeconds: int64(eventTTL / time.Second), CreateOnUpdate: true,
	Validate: validateEvent,
	Columns: []api.Column[corev1.Event]{
		{Name: "Last Seen", Description: "When this was last observed.", Cell: func(e *corev1.Event) any { return lastSeen(e) }},
		{Name: "Type", Description: "Normal or Warning.", Cell: func(e *corev1.Event) any { return e.Type }},
		{Name: "Reason", Description: "A short, machine understandable reason.", Cell: func(e *corev1.Event) any { return e.Reason }},
		{Name: "Object", Description: "What the event is about.", Cell: func(e *corev1.Event) any { return eventObject(e) }},
		{Name: "Subobject", Priority: 1, Description: "The part of the object.", Cell: func(e *corev1.Event) any { return e.InvolvedObject.FieldPath }},
		{Name: "Source", Priority: 1, Description: "Who reports this.", Cell: func(e *corev1.Event) any { return eventSource(e) }},
		{Name: "Message", Description: "What happened, for people.", Cell: func(e *corev1.Event) any { return strings.TrimSpace(e.Message) }},
		{Name: "First Seen", Priority: 1, Description: "When this was first observed.", Cell: func(e *corev1.Event) any { return firstSeen(e) }},
		{Name: "Count", Priority: 1, Description: "How often this was observed.", Cell: func(e *corev1.Event) any { return eventCount(e) }},
		{Name: "Name", Priority: 1, Description: "The name of the event.", Cell: func(e *corev1.Event) any { return e.Name }},
	},
	Fields: map[string]func(*corev1.Event) string{
		"involvedObject.kind":            func(e *corev1.Event) string { return e.InvolvedObject.Kind },
		"involvedObject.namespace":       func(e *corev1.Event) string { return e.InvolvedObject.Namespace },
		"involvedObject.name":            func(e *corev1.Event) string { return e.InvolvedObject.Name },
		"involvedObject.uid":             func(e *corev1.Event) string { return string(e.InvolvedObject.UID) },
		"involvedObject.apiVersion":      func(e *corev1.Event) string { return e.InvolvedObject.APIVersion },
		"involvedObject.resourceVersion": func(e *corev1.Event) string { return e.InvolvedObject.ResourceVersion },
		"involvedObject.fieldPath":       func(e *corev1.Event) string { return e.InvolvedObject.FieldPath },
		"reason":                         func(e *corev1.Event) string { return e.Reason },
		"reportingComponent":             func(e *corev1.Event) string { return e.ReportingController },
		"source":                         eventComponent,
		"type":                           func(e *corev1.Event) string { return e.Type },
	},
}

func eventComponent(e *corev1.Event) string {
	if e.Source.Component == "" {
		return e.ReportingController
	}
	return e.Source.Component
}

func firstSeen(e *corev1.Event) string {
	if e.FirstTimestamp.IsZero() {
		return microAge(e.EventTime)
	}
	return api.Age(e.FirstTimestamp)
}

func lastSeen(e *corev1.Event) string {
	switch {
	case e.Series != nil:
		return microAge(e.Series.LastObservedTime)
	case !e.LastTimestamp.IsZero():
		return api.Age(e.LastTimestamp)
	}
	return firstSeen(e)
}

func microAge(t metav1.MicroTime) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(time.Since(t.Time))
}

func eventCount(e *corev1.Event) string {
	count := max(e.Count, 1)
	if e.Series != nil {
		count = e.Series.Count
	}
	return strconv.Itoa(int(count))
}

func eventObject(e *corev1.Event) string {
	kind := strings.ToLower(e.InvolvedObject.Kind)
	if e.InvolvedObject.Name == "" {
		return kind
	}
	return kind + "/" + e.InvolvedObject.Name
}

func eventSource(e *corev1.Event) string {
	component, host := e.Source.Component, e.Source.Host
	if component == "" {
		component = e.ReportingController
	}
	if host == "" {
		host = e.ReportingInstance
	}
	if host == "" {
		return component
	}
	return component + ", " + host
}
