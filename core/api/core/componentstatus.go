package core

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/api"
)

// ComponentStatuses is all that the server, the printer and the docs know of ComponentStatus: whether the parts of the control
// plane are well. It is computed when somebody asks.
var ComponentStatuses = api.Kind[corev1.ComponentStatus]{
	Version: "v1", Name: "ComponentStatus", Plural: "componentstatuses", Short: []string{"cs"}, Computed: true,
	Deprecated: "v1 ComponentStatus is deprecated in v1.19+",
	Columns: []api.Column[corev1.ComponentStatus]{
		api.NameColumn[corev1.ComponentStatus](),
		{Name: "Status", Description: "Whether the part is well.", Cell: func(c *corev1.ComponentStatus) any { return healthOf(c).status }},
		{Name: "Message", Description: "What it says.", Cell: func(c *corev1.ComponentStatus) any { return healthOf(c).message }},
		{Name: "Error", Description: "Why it is not well.", Cell: func(c *corev1.ComponentStatus) any { return healthOf(c).err }},
	},
}

type health struct{ status, message, err string }

func healthOf(c *corev1.ComponentStatus) health {
	for _, cond := range c.Conditions {
		if cond.Type != corev1.ComponentHealthy {
			continue
		}
		if cond.Status == corev1.ConditionTrue {
			return health{"Healthy", cond.Message, cond.Error}
		}
		return health{"Unhealthy", cond.Message, cond.Error}
	}
	return health{status: "Unknown"}
}
