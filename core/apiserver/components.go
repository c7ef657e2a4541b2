package apiserver

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/cache"
)

// componentStatuses asks those parts of the control plane that are selected how they are.
func (s *Server) componentStatuses(ctx context.Context, f *cache.Selector) []api.Object {
	var out []api.Object
	for _, c := range s.Components {
		status := &corev1.ComponentStatus{ObjectMeta: metav1.ObjectMeta{Name: c.Name}}
		if !f.Matches(status) {
			continue
		}
		condition := corev1.ComponentCondition{Type: corev1.ComponentHealthy, Status: corev1.ConditionTrue, Message: "ok"}
		if err := c.Probe(ctx); err != nil {
			condition.Status, condition.Message, condition.Error = corev1.ConditionFalse, "", err.Error()
		}
		status.Conditions = []corev1.ComponentCondition{condition}
		out = append(out, status)
	}
	return out
}
