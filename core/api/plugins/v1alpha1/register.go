package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is plugins.gantry.dev/v1alpha1.
var GroupVersion = schema.GroupVersion{Group: "plugins.gantry.dev", Version: "v1alpha1"}

// AddToScheme makes the types known to a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&Plugin{}, &PluginList{}, &NodePlugins{}, &NodePluginsList{}, &PluginSwap{}, &PluginSwapList{},
		&PluginPolicy{}, &PluginPolicyList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
