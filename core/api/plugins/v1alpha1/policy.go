package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PluginPolicy says what nodes ask of the plugins that they run. Every policy that picks a node holds there, so that one can
// only ask for more than another.
//
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
type PluginPolicy struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec PluginPolicySpec `json:"spec"`
}

// PluginPolicySpec is what is asked of which plugins where.
type PluginPolicySpec struct {
	// NodeSelector picks the nodes by their labels; empty picks all.
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// Types are the types of plugins that this is about; empty is all.
	// +optional
	// +listType=set
	Types []Type `json:"types,omitempty"`
	// RequireVerified refuses plugins that Gantry does not ship and that `gantry plugin verify --report` has not passed. One
	// that runs already goes as soon as no pod depends on it.
	// +optional
	RequireVerified bool `json:"requireVerified,omitempty"`
}

// PluginPolicyList is a list of policies.
//
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
type PluginPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PluginPolicy `json:"items"`
}
