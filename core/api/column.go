package api

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

// Age is how kubectl prints the time since t: "5s", "3m20s", "<unknown>" for the zero time.
func Age(t metav1.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(time.Since(t.Time))
}

// NameColumn is the first column of nearly every kind.
func NameColumn[T any]() Column[T] {
	return Column[T]{
		Name: "Name", Format: "name",
		Description: "Name must be unique within a namespace.",
		Cell:        func(obj *T) any { return any(obj).(Object).GetName() },
	}
}

// AgeColumn prints the time since creation.
func AgeColumn[T any]() Column[T] {
	return Column[T]{
		Name:        "Age",
		Description: "Time since the creation of the object.",
		Cell:        func(obj *T) any { return Age(any(obj).(Object).GetCreationTimestamp()) },
	}
}
