// Package v1alpha1 has the types of the group plugins.gantry.dev: which plugins run on which nodes, what runs
// there, and the swaps from one to another. They are the only API types of Gantry's own.
//
// +k8s:openapi-gen=true
// +k8s:deepcopy-gen=package
// +groupName=plugins.gantry.dev
package v1alpha1

//go:generate go tool deepcopy-gen --go-header-file /dev/null --output-file zz_generated.deepcopy.go .
