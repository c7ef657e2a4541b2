package main

import (
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
)

// ofControllers begin the names of what controller-runtime counts of reconciling and of requests to other servers.
var ofControllers = []string{"controller_runtime_", "rest_client_"}

// gatherControllers leaves out what the API server tells of the process itself.
func gatherControllers() ([]*dto.MetricFamily, error) {
	all, err := ctrlmetrics.Registry.Gather()
	return slices.DeleteFunc(all, func(f *dto.MetricFamily) bool {
		return !slices.ContainsFunc(ofControllers, func(prefix string) bool { return strings.HasPrefix(f.GetName(), prefix) })
	}), err
}
