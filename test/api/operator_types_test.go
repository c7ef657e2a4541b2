//go:build e2e

package api_test

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/conversion"
)

// Mirror is what the operator of the test cares for, in the version that is stored.
type Mirror struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              MirrorSpec   `json:"spec,omitempty"`
	Status            MirrorStatus `json:"status,omitempty"`
}

// MirrorSpec says what is mirrored.
type MirrorSpec struct {
	Value  string `json:"value,omitempty"`
	Copies int    `json:"copies,omitempty"`
}

// MirrorStatus says what is there.
type MirrorStatus struct {
	Copies int `json:"copies,omitempty"`
}

// OldMirror is the version before, in which the value has another name.
type OldMirror struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              OldMirrorSpec `json:"spec,omitempty"`
	Status            MirrorStatus  `json:"status,omitempty"`
}

// OldMirrorSpec says what is mirrored.
type OldMirrorSpec struct {
	Text   string `json:"text,omitempty"`
	Copies int    `json:"copies,omitempty"`
}

// MirrorList is a list of them.
type MirrorList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Mirror `json:"items"`
}

var (
	_ conversion.Hub         = (*Mirror)(nil)
	_ conversion.Convertible = (*OldMirror)(nil)
	_ runtime.Object         = (*MirrorList)(nil)
)

// Hub implements conversion.Hub.
func (*Mirror) Hub() {}

// DeepCopyObject implements runtime.Object.
func (m *Mirror) DeepCopyObject() runtime.Object {
	out := *m
	m.DeepCopyInto(&out.ObjectMeta)
	return &out
}

// DeepCopyObject implements runtime.Object.
func (m *OldMirror) DeepCopyObject() runtime.Object {
	out := *m
	m.DeepCopyInto(&out.ObjectMeta)
	return &out
}

// DeepCopyObject implements runtime.Object.
func (l *MirrorList) DeepCopyObject() runtime.Object {
	out := *l
	out.Items = make([]Mirror, len(l.Items))
	for i := range l.Items {
		out.Items[i] = *l.Items[i].DeepCopyObject().(*Mirror)
	}
	return &out
}

// ConvertTo implements conversion.Convertible.
func (m *OldMirror) ConvertTo(hub conversion.Hub) error {
	out, ok := hub.(*Mirror)
	if !ok {
		return fmt.Errorf("convert to a %T", hub)
	}
	out.ObjectMeta, out.Status = m.ObjectMeta, m.Status
	out.Spec = MirrorSpec{Value: m.Spec.Text, Copies: m.Spec.Copies}
	return nil
}

// ConvertFrom implements conversion.Convertible.
func (m *OldMirror) ConvertFrom(hub conversion.Hub) error {
	in, ok := hub.(*Mirror)
	if !ok {
		return fmt.Errorf("convert from a %T", hub)
	}
	m.ObjectMeta, m.Status = in.ObjectMeta, in.Status
	m.Spec = OldMirrorSpec{Text: in.Spec.Value, Copies: in.Spec.Copies}
	return nil
}

func addMirrors(s *runtime.Scheme) {
	v1 := schema.GroupVersion{Group: "ops.example.com", Version: "v1"}
	old := schema.GroupVersion{Group: "ops.example.com", Version: "v1beta1"}
	s.AddKnownTypes(v1, &Mirror{}, &MirrorList{})
	s.AddKnownTypeWithName(old.WithKind("Mirror"), &OldMirror{})
	metav1.AddToGroupVersion(s, v1)
	metav1.AddToGroupVersion(s, old)
}
