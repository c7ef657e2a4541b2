// Package flowcontrol declares the kinds of flowcontrol.apiserver.k8s.io/v1, by which the API server shares its
// capacity out among those who send requests.
package flowcontrol

import (
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
)

// Objects that a cluster starts with. The mandatory ones cannot be changed; the suggested ones are kept up to date unless
// somebody has set their annotation apf.kubernetes.io/autoupdate-spec to false. They are shared and must not be changed.
var (
	MandatorySchemas = bootstrap.MandatoryFlowSchemas
	SuggestedSchemas = bootstrap.SuggestedFlowSchemas
	MandatoryLevels  = bootstrap.MandatoryPriorityLevelConfigurations
	SuggestedLevels  = bootstrap.SuggestedPriorityLevelConfigurations
)

func mandatorySchema(name string) *flowcontrolv1.FlowSchema {
	for _, s := range MandatorySchemas {
		if s.Name == name {
			return s
		}
	}
	return nil
}

func mandatoryLevel(name string) *flowcontrolv1.PriorityLevelConfiguration {
	for _, l := range MandatoryLevels {
		if l.Name == name {
			return l
		}
	}
	return nil
}
