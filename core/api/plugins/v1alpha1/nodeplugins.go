package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NodePlugins says what plugins run on the node of its name. The agent writes its status.
//
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
type NodePlugins struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec NodePluginsSpec `json:"spec,omitempty"`
	// +optional
	Status NodePluginsStatus `json:"status,omitempty"`
}

// NodePluginsSpec is what is special on this node.
type NodePluginsSpec struct {
	// Defaults names the default plugin by type, whatever the plugins' priorities are. Swaps write it.
	// +optional
	Defaults map[Type]string `json:"defaults,omitempty"`
	// Generations are, by the name of a Plugin, the generation that may take the place of what runs here. Rollouts write
	// it, so that no more nodes change at once than Plugins allow. What does not run yet needs none.
	// +optional
	Generations map[string]int64 `json:"generations,omitempty"`
}

// NodePluginsStatus is what the agent sees.
type NodePluginsStatus struct {
	// ObservedGeneration is the generation of this object whose defaults are in force.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +optional
	// +listType=map
	// +listMapKey=type
	// +listMapKey=name
	Plugins []NodePlugin `json:"plugins,omitempty"`
}

// NodePlugin is an instance of a plugin on a node.
type NodePlugin struct {
	Type Type   `json:"type"`
	Name string `json:"name"`
	// Default: what names no plugin gets this one.
	// +optional
	Default bool `json:"default,omitempty"`
	// Generation of the Plugin that runs here.
	// +optional
	Generation int64 `json:"generation,omitempty"`
	// +optional
	Version string `json:"version,omitempty"`
	// Digest of the executable: sha256:HEX.
	// +optional
	Digest string `json:"digest,omitempty"`
	// +optional
	PID int32 `json:"pid,omitempty"`
	// Ready: the plugin answers.
	Ready bool `json:"ready"`
	// Since is when Ready last changed.
	// +optional
	Since metav1.Time `json:"since,omitempty"`
	// +optional
	Capabilities []string `json:"capabilities,omitempty"`
	// +optional
	Handlers []string `json:"handlers,omitempty"`
	// Restarts is how often the agent that runs now had to start the plugin again.
	// +optional
	Restarts int32 `json:"restarts,omitempty"`
	// LastError is why it does not answer, or did not the last time.
	// +optional
	LastError string `json:"lastError,omitempty"`
	// Update is how far the replacement of the process by the declared one is; the old one serves meanwhile.
	// +optional
	Update *PluginUpdate `json:"update,omitempty"`
	// Unlimited is why the limits of the process are not enforced.
	// +optional
	Unlimited string `json:"unlimited,omitempty"`
	// Pods that depend on the instance, as NAMESPACE/NAME.
	// +optional
	// +listType=atomic
	Pods []string `json:"pods,omitempty"`
}

// PluginUpdate is a replacement of a plugin's process.
type PluginUpdate struct {
	// Generation of the Plugin that is wanted.
	// +optional
	Generation int64 `json:"generation,omitempty"`
	// Error is why it does not serve yet.
	// +optional
	Error string `json:"error,omitempty"`
	// RolledBack: it was not healthy in time, and what ran before serves on.
	// +optional
	RolledBack bool `json:"rolledBack,omitempty"`
}

// NodePluginsList is a list of nodes' plugins.
//
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
type NodePluginsList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []NodePlugins `json:"items"`
}
