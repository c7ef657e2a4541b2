package core

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/api"
)

const (
	rolePrefix = "node-role.kubernetes.io/"
	roleLabel  = "kubernetes.io/role"
)

// Nodes is all that the server, the printer and the docs know of Node.
var Nodes = api.Kind[corev1.Node]{
	Version: "v1", Name: "Node", Plural: "nodes", Short: []string{"no"},
	StoragePrefix: "minions", Subresources: api.Status, StatusMetadata: true, StatusOnCreate: true,
	Default:        defaultNode,
	Prepare:        prepareNode,
	Validate:       validateNode,
	ValidateStatus: validateNodeStatus,
	Columns: []api.Column[corev1.Node]{
		api.NameColumn[corev1.Node](),
		{Name: "Status", Description: "The status of the node", Cell: func(n *corev1.Node) any { return nodeStatus(n) }},
		{Name: "Roles", Description: "The roles of the node", Cell: func(n *corev1.Node) any { return nodeRoles(n) }},
		api.AgeColumn[corev1.Node](),
		{Name: "Version", Description: "Version that the node's agent reports.", Cell: func(n *corev1.Node) any { return n.Status.NodeInfo.KubeletVersion }},
		{Name: "Internal-IP", Priority: 1, Description: "First internal address.", Cell: func(n *corev1.Node) any { return nodeAddress(n, corev1.NodeInternalIP) }},
		{Name: "External-IP", Priority: 1, Description: "First external address.", Cell: func(n *corev1.Node) any { return nodeAddress(n, corev1.NodeExternalIP) }},
		{Name: "OS-Image", Priority: 1, Description: "Operating system that the node reports.", Cell: func(n *corev1.Node) any { return orUnknown(n.Status.NodeInfo.OSImage) }},
		{Name: "Kernel-Version", Priority: 1, Description: "Kernel that the node reports.", Cell: func(n *corev1.Node) any { return orUnknown(n.Status.NodeInfo.KernelVersion) }},
		{Name: "Container-Runtime", Priority: 1, Description: "Runtime and version that the node reports.", Cell: func(n *corev1.Node) any { return orUnknown(n.Status.NodeInfo.ContainerRuntimeVersion) }},
	},
	Fields: map[string]func(*corev1.Node) string{
		"spec.unschedulable": func(n *corev1.Node) string { return strconv.FormatBool(n.Spec.Unschedulable) },
	},
}

// defaultNode makes all of the capacity allocatable where the node says nothing else.
func defaultNode(n *corev1.Node) {
	roundUp(n.Status.Capacity)
	roundUp(n.Status.Allocatable)
	if n.Status.Allocatable == nil && n.Status.Capacity != nil {
		n.Status.Allocatable = n.Status.Capacity.DeepCopy()
	}
}

// prepareNode keeps the two spellings of the pod range together and drops the configuration of the node,
// which agents no longer take from the API.
func prepareNode(n, old *corev1.Node) {
	if n.Spec.PodCIDR != "" && len(n.Spec.PodCIDRs) == 0 {
		n.Spec.PodCIDRs = []string{n.Spec.PodCIDR}
	}
	if n.Spec.PodCIDR == "" && len(n.Spec.PodCIDRs) > 0 {
		n.Spec.PodCIDR = n.Spec.PodCIDRs[0]
	}
	if old == nil {
		n.Spec.ConfigSource = nil
	}
}

func nodeStatus(n *corev1.Node) string {
	status := "Unknown"
	for _, c := range n.Status.Conditions {
		if c.Type != corev1.NodeReady {
			continue
		}
		if status = "NotReady"; c.Status == corev1.ConditionTrue {
			status = "Ready"
		}
	}
	if n.Spec.Unschedulable {
		status += ",SchedulingDisabled"
	}
	return status
}

func nodeRoles(n *corev1.Node) string {
	roles := map[string]bool{}
	for label, value := range n.Labels {
		if role, ok := strings.CutPrefix(label, rolePrefix); ok && role != "" {
			roles[role] = true
		}
		if label == roleLabel && value != "" {
			roles[value] = true
		}
	}
	return orNone(strings.Join(slices.Sorted(maps.Keys(roles)), ","))
}

func nodeAddress(n *corev1.Node, kind corev1.NodeAddressType) string {
	for _, a := range n.Status.Addresses {
		if a.Type == kind {
			return a.Address
		}
	}
	return none
}

func orUnknown(s string) string {
	if s == "" {
		return "<unknown>"
	}
	return s
}
