package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// PluginSwap moves nodes from one plugin to another of the same type: the new one becomes the default, then the pods
// that depend on the old one are replaced. It goes on where it was after any interruption, and goes back when the new
// plugin does not work.
//
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
type PluginSwap struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec PluginSwapSpec `json:"spec"`
	// +optional
	Status PluginSwapStatus `json:"status,omitempty"`
}

// BarePods says what happens to pods that no controller would replace.
type BarePods string

// What happens to bare pods.
const (
	// Leave lists them in the status; the old plugin goes on serving them.
	Leave BarePods = "Leave"
	// Evict removes them.
	Evict BarePods = "Evict"
)

// PluginSwapSpec is what is wanted. It cannot be changed, but for Cancelled.
type PluginSwapSpec struct {
	Type Type `json:"type"`
	// From and To are names of plugins.
	From string `json:"from"`
	To   string `json:"to"`
	// Nodes are the names of the nodes to move; empty means all that run both plugins.
	// +optional
	// +listType=set
	Nodes []string `json:"nodes,omitempty"`
	// MaxUnavailable is how many nodes move at once, as a number or a percentage; 1 by default.
	// +optional
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`
	// BarePods is Leave by default.
	// +optional
	BarePods BarePods `json:"barePods,omitempty"`
	// HealthTimeoutSeconds is how long the new plugin may not answer before the swap fails; 60 by default.
	// +optional
	HealthTimeoutSeconds *int32 `json:"healthTimeoutSeconds,omitempty"`
	// AutomaticRollback makes a failed swap move back; true by default.
	// +optional
	AutomaticRollback *bool `json:"automaticRollback,omitempty"`
	// Cancelled makes a running swap move back.
	// +optional
	Cancelled bool `json:"cancelled,omitempty"`
}

// SwapPhase is how far a swap is, on a node and altogether.
type SwapPhase string

// The phases of a swap.
const (
	SwapPending     SwapPhase = "Pending"
	SwapMoving      SwapPhase = "Moving"
	SwapRollingBack SwapPhase = "RollingBack"
	SwapSucceeded   SwapPhase = "Succeeded"
	SwapRolledBack  SwapPhase = "RolledBack"
	SwapFailed      SwapPhase = "Failed"
)

// PluginSwapStatus is how far it is.
type PluginSwapStatus struct {
	// +optional
	Phase SwapPhase `json:"phase,omitempty"`
	// Message says what it waits for, or why it failed.
	// +optional
	Message string `json:"message,omitempty"`
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// +optional
	// +listType=map
	// +listMapKey=name
	Nodes []SwapNode `json:"nodes,omitempty"`
}

// SwapNode is how far a node is.
type SwapNode struct {
	Name  string    `json:"name"`
	Phase SwapPhase `json:"phase"`
	// Previous is the default that the node's NodePlugins named before, to go back to; empty for none.
	// +optional
	Previous string `json:"previous,omitempty"`
	// Remaining is how many pods still depend on the old plugin.
	// +optional
	Remaining int32 `json:"remaining"`
	// Left are the pods that stay on the old plugin, as NAMESPACE/NAME: bare ones, and those that ask for it.
	// +optional
	// +listType=atomic
	Left []string `json:"left,omitempty"`
	// ProgressTime is when something moved on the node the last time, or was last known to wait for nothing but a
	// disruption budget.
	// +optional
	ProgressTime *metav1.Time `json:"progressTime,omitempty"`
	// +optional
	Message string `json:"message,omitempty"`
}

// PluginSwapList is a list of swaps.
//
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
type PluginSwapList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PluginSwap `json:"items"`
}
