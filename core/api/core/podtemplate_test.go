package core

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPodTemplate(t *testing.T) {
	pod := simplePod()
	obj := &corev1.PodTemplate{ObjectMeta: metav1.ObjectMeta{Name: "t"}, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}}, Spec: pod.Spec}}
	r := PodTemplates.Resource()
	r.Default(obj)
	checkRefusals(t, r.Validate(obj, nil))
	if obj.Template.Spec.RestartPolicy != corev1.RestartPolicyAlways || obj.Template.Spec.Containers[0].ImagePullPolicy == "" {
		t.Errorf("the template has no defaults: %+v", obj.Template.Spec)
	}
	if diff := cmp.Diff([]any{"t", "c", "demo:1", "a=b"}, row(PodTemplates, obj)); diff != "" {
		t.Error(diff)
	}
	obj.Template.Spec.Containers = nil
	checkRefusals(t, r.Validate(obj, nil), "template.spec.containers: Required value")
}
