package apiserver

import (
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/component-base/metrics/legacyregistry"

	"github.com/gantryio/gantry/core/admission"
)

// metricsHandler serves the process's own figures and those of the server.
func (s *Server) metricsHandler() http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		s.overload.limiter,
		s.requests,
		admission.Metrics,
	)
	reg.MustRegister(s.Metrics...)
	return promhttp.HandlerFor(prometheus.Gatherers{reg, prometheus.GathererFunc(gatherLibraries)}, promhttp.HandlerOpts{})
}

// ofLibraries begin the names of what the libraries of k8s.io/apiserver count themselves.
var ofLibraries = []string{
	"apiserver_admission_match_condition_", "apiserver_admission_webhook_", "apiserver_audit_", "apiserver_authentication_jwt_authenticator_",
	"apiserver_mutating_admission_policy_", "apiserver_validating_admission_policy_",
}

// gatherLibraries leaves out what else lies in the registry that all of Kubernetes' libraries share: this server's own figures of the
// process, and those of parts that are not used here.
func gatherLibraries() ([]*dto.MetricFamily, error) {
	all, err := legacyregistry.DefaultGatherer.Gather()
	return slices.DeleteFunc(all, func(f *dto.MetricFamily) bool {
		return !slices.ContainsFunc(ofLibraries, func(prefix string) bool { return strings.HasPrefix(f.GetName(), prefix) })
	}), err
}

func newRequestCounter() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "apiserver_request_total", Help: "Requests by verb and resource.",
	}, []string{"verb", "group", "version", "resource", "subresource"})
}
