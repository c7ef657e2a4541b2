package customresource

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var now = metav1.NewTime(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))

func names(plural, singular, kind string, short ...string) apiextensionsv1.CustomResourceDefinitionNames {
	return apiextensionsv1.CustomResourceDefinitionNames{Plural: plural, Singular: singular, Kind: kind, ListKind: kind + "List", ShortNames: short}
}

func define(wanted apiextensionsv1.CustomResourceDefinitionNames) *definition {
	d := &definition{Spec: apiextensionsv1.CustomResourceDefinitionSpec{Group: "example.com", Names: wanted}}
	d.Name = wanted.Plural + ".example.com"
	return d
}

// holding is a definition whose names have been accepted.
func holding(accepted apiextensionsv1.CustomResourceDefinitionNames) *definition {
	d := define(accepted)
	d.Status.AcceptedNames = accepted
	return d
}

func TestAccept(t *testing.T) {
	named := func(status apiextensionsv1.ConditionStatus, reason string) string {
		return "NamesAccepted=" + string(status) + " " + reason
	}
	const yes, no = "Established=True InitialNamesAccepted", "Established=False NotAccepted"
	established := holding(names("foos", "foo", "Foo"))
	established.Status.Conditions = []condition{{Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionTrue, Reason: "InitialNamesAccepted"}}
	established.Spec.Names = names("foos", "foo", "Foo", "b")
	for _, tc := range []struct {
		name     string
		d        *definition
		others   []*definition
		accepted apiextensionsv1.CustomResourceDefinitionNames
		want     []string
	}{
		{"nobody else", define(names("foos", "foo", "Foo", "f")), nil, names("foos", "foo", "Foo", "f"), []string{named("True", "NoConflicts"), yes}},
		{"itself", holding(names("foos", "foo", "Foo")), []*definition{holding(names("foos", "foo", "Foo"))}, names("foos", "foo", "Foo"), []string{named("True", "NoConflicts"), yes}},
		{
			"somebody's kind", define(names("foos", "foo", "Foo")),
			[]*definition{holding(names("bars", "bar", "Foo"))},
			apiextensionsv1.CustomResourceDefinitionNames{Plural: "foos", Singular: "foo"},
			[]string{named("False", "ListKindConflict"), no},
		},
		{
			"a short name that is somebody's singular", define(names("foos", "foo", "Foo", "b")),
			[]*definition{holding(names("bars", "b", "Bar"))},
			names("foos", "foo", "Foo"),
			[]string{named("False", "ShortNamesConflict"), no},
		},
		{
			"names that are only wished for are free", define(names("foos", "foo", "Foo")),
			[]*definition{define(names("foos2", "foo", "Foo"))},
			names("foos", "foo", "Foo"),
			[]string{named("True", "NoConflicts"), yes},
		},
		{
			"what is established stays so", established,
			[]*definition{holding(names("bars", "b", "Bar"))},
			names("foos", "foo", "Foo"),
			[]string{yes, named("False", "ShortNamesConflict")},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status := accept(tc.d, tc.others, now)
			if diff := cmp.Diff(tc.accepted, status.AcceptedNames); diff != "" {
				t.Errorf("accepted names (-want +got):\n%s", diff)
			}
			var got []string
			for _, c := range status.Conditions {
				got = append(got, string(c.Type)+"="+string(c.Status)+" "+c.Reason)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTransitionTimes(t *testing.T) {
	d := define(names("foos", "foo", "Foo"))
	d.Status = accept(d, nil, now)
	later := metav1.NewTime(now.Add(time.Hour))
	if diff := cmp.Diff(d.Status, accept(d, nil, later)); diff != "" {
		t.Errorf("nothing happened, and yet:\n%s", diff)
	}
	status := terminating(d, 3, later)
	if c := status.Conditions[2]; c.Status != "True" || c.Reason != "InstanceDeletionInProgress" || !c.LastTransitionTime.Equal(&later) {
		t.Errorf("terminating: %+v", c)
	}
	d.Status = status
	if c := terminating(d, 0, now).Conditions[2]; c.Status != "False" || c.Reason != "InstanceDeletionCompleted" {
		t.Errorf("terminated: %+v", c)
	}
}
