package core

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// A pod whose spec stays is not asked again whether it is valid, for it must be possible to let go of one that earlier rules let in.
func TestASpecThatStaysIsNotValidatedAnew(t *testing.T) {
	stored := func() *corev1.Pod {
		return &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: " untrimmed "}}, RestartPolicy: "Perhaps"}}
	}
	labelled := stored()
	labelled.Labels = map[string]string{"a": "b"}
	if errs := validatePod(labelled, stored()); len(errs) > 0 {
		t.Errorf("a label: %v", errs)
	}
	changed := stored()
	changed.Spec.Containers[0].Image = " other "
	if errs := validatePod(changed, stored()); len(errs) == 0 {
		t.Error("an invalid image was taken")
	}
}
