package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Type is the contract that a plugin serves.
type Type string

// The types of plugins.
const (
	Runtime   Type = "Runtime"
	Network   Type = "Network"
	Service   Type = "Service"
	Scheduler Type = "Scheduler"
	Storage   Type = "Storage"
)

// Plugin says that a plugin runs on nodes. Its name is what pods, RuntimeClasses, swaps and other plugins call
// the instance; several plugins may have the same source with other configurations.
//
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
type Plugin struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec PluginSpec `json:"spec"`
	// +optional
	Status PluginStatus `json:"status,omitempty"`
}

// PluginSpec is what is wanted.
type PluginSpec struct {
	// Type is the contract that the plugin serves. It cannot be changed.
	Type Type `json:"type"`
	// Source is where the plugin comes from. Exactly one of its fields is set.
	Source Source `json:"source"`
	// Config is passed to the plugin as it is. The plugin checks it before anything is replaced.
	// +optional
	Config *runtime.RawExtension `json:"config,omitempty"`
	// NodeSelector picks the nodes by their labels; empty picks all.
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// Handlers are the RuntimeClass handlers that lead to a runtime, besides its name.
	// +optional
	// +listType=set
	Handlers []string `json:"handlers,omitempty"`
	// Priority decides which plugin of a type is a node's default: the highest, and of equals the oldest, so that a
	// further plugin changes nothing by being declared.
	// +optional
	Priority int32 `json:"priority,omitempty"`
	// Disabled takes the plugin from all nodes without forgetting it.
	// +optional
	Disabled bool `json:"disabled,omitempty"`
	// Limits are the most memory and CPU that each process of the plugin may use, what it supervises not counted; 256Mi
	// and 1 by default. "0" is no limit.
	// +optional
	Limits corev1.ResourceList `json:"limits,omitempty"`
	// Rollout says how a change reaches the nodes.
	// +optional
	Rollout Rollout `json:"rollout,omitempty"`
}

// The limits of a plugin that names none.
const (
	DefaultMemory = "256Mi"
	DefaultCPU    = "1"
)

// Source is where a plugin comes from.
type Source struct {
	// Builtin names a plugin that Gantry ships: plugin-<type>-<name> in its folder of plugins.
	// +optional
	Builtin string `json:"builtin,omitempty"`
	// Executable is a file on the nodes.
	// +optional
	Executable *Executable `json:"executable,omitempty"`
	// Image is an OCI artifact with the executable, as it is, as its only layer.
	// +optional
	Image *Image `json:"image,omitempty"`
	// Endpoint is the path of a unix socket that somebody else serves: CRI v1 for runtimes, the plugin contract
	// otherwise.
	// +optional
	Endpoint string `json:"endpoint,omitempty"`
}

// String says where a plugin comes from.
func (s *Source) String() string {
	switch {
	case s.Builtin != "":
		return "builtin " + s.Builtin
	case s.Executable != nil:
		return s.Executable.Path
	case s.Image != nil:
		return s.Image.Reference
	}
	return "unix://" + s.Endpoint
}

// Executable is a file that must have the given content.
type Executable struct {
	// Path is absolute.
	Path string `json:"path"`
	// SHA256 is the digest of the file in hexadecimal.
	SHA256 string `json:"sha256"`
}

// Image is an OCI artifact that is pinned by its digest.
type Image struct {
	// Reference ends in @sha256:DIGEST.
	Reference string `json:"reference"`
	// PublicKey, a PEM block of an ECDSA or Ed25519 key, must verify a signature over the digest, as
	// `cosign sign --key` stores it beside the artifact under the tag sha256-DIGEST.sig.
	// +optional
	PublicKey string `json:"publicKey,omitempty"`
}

// Rollout says how a change reaches the nodes.
type Rollout struct {
	// MaxUnavailable is how many nodes change at once, as a number or a percentage of those wanted; 1 by default.
	// +optional
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`
	// HealthTimeoutSeconds is how long the new process may take to be healthy beside the old one; 60 by default.
	// +optional
	HealthTimeoutSeconds *int32 `json:"healthTimeoutSeconds,omitempty"`
	// AutomaticRollback lets the old process serve on when the new one is not healthy in time; true by default.
	// +optional
	AutomaticRollback *bool `json:"automaticRollback,omitempty"`
}

// Conditions of a Plugin.
const (
	// Available: the plugin answers on all nodes that want it.
	Available = "Available"
	// Progressing: some node does not run what is wanted yet.
	Progressing = "Progressing"
	// Degraded: the plugin fails somewhere.
	Degraded = "Degraded"
	// Verified: what runs is what was declared, by its digest or signature, and no conformance suite that was run
	// against it has failed.
	Verified = "Verified"
)

// Verification is the result of `gantry plugin verify` for one executable or socket.
type Verification struct {
	// Digest of the executable, sha256:HEX; empty for a socket.
	// +optional
	Digest string `json:"digest,omitempty"`
	// Passed, Failed and Skipped are numbers of checks.
	Passed int32 `json:"passed"`
	Failed int32 `json:"failed"`
	// +optional
	Skipped int32 `json:"skipped,omitempty"`
	// Time is when it was verified.
	Time metav1.Time `json:"time"`
	// Message names the first check that failed.
	// +optional
	Message string `json:"message,omitempty"`
}

// OK tells that the plugin does what its contract asks for.
func (v *Verification) OK() bool { return v != nil && v.Failed == 0 && v.Passed > 0 }

// PluginStatus is what is seen on the nodes.
type PluginStatus struct {
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// NodesWanted is how many nodes the selector picks.
	// +optional
	NodesWanted int32 `json:"nodesWanted"`
	// NodesReady is how many of them have the plugin answering.
	// +optional
	NodesReady int32 `json:"nodesReady"`
	// NodesUpdated is how many of them run this generation.
	// +optional
	NodesUpdated int32 `json:"nodesUpdated"`
	// NodesFailed is how many of them say that it does not work.
	// +optional
	NodesFailed int32 `json:"nodesFailed"`
	// Pods is how many pods depend on it.
	// +optional
	Pods int32 `json:"pods"`
	// Verification is what was last reported with `gantry plugin verify --report`.
	// +optional
	Verification *Verification `json:"verification,omitempty"`
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PluginList is a list of plugins.
//
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
type PluginList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Plugin `json:"items"`
}
