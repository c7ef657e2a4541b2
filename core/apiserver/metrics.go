package apiserver

import (
	"context"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

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
		admission.Metrics,
		contents{s},
	)
	reg.MustRegister(s.figures.collectors()...)
	reg.MustRegister(s.Metrics...)
	all := prometheus.Gatherers{reg, prometheus.GathererFunc(gatherLibraries)}
	if s.Figures != nil {
		all = append(all, s.Figures)
	}
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{})
}

// contents are what is known only when somebody asks: how much is stored, and what this is.
type contents struct{ *Server }

var (
	resourceObjects = prometheus.NewDesc("apiserver_resource_objects", "Objects that are stored.", []string{"group", "resource"}, nil)
	storageObjects  = prometheus.NewDesc("apiserver_storage_objects", "Objects that are stored, by resource and group in one.", []string{"resource"}, nil)
	storageSize     = prometheus.NewDesc("apiserver_storage_size_bytes", "Size of the store's database.", []string{"storage_cluster_id"}, nil)
	buildInfo       = prometheus.NewDesc("kubernetes_build_info", "What this is; always 1.",
		[]string{"major", "minor", "git_version", "git_commit", "git_tree_state", "build_date", "go_version", "compiler", "platform"}, nil)
)

// Describe implements prometheus.Collector.
func (contents) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{resourceObjects, storageObjects, storageSize, buildInfo} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (s contents) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, r := range s.Registry.Stored() {
		if r.Computed || r.Question {
			continue
		}
		n := float64(s.Cache.Of(r).Count("", math.MaxInt))
		gauge(resourceObjects, n, r.Group, r.Plural)
		gauge(storageObjects, n, r.GroupResource().String())
	}
	if s.StorageSize != nil {
		ctx, cancel := context.WithTimeout(context.Background(), sizeTime)
		defer cancel()
		if size, err := s.StorageSize(ctx); err == nil {
			gauge(storageSize, float64(size), "etcd-0")
		}
	}
	v := s.version()
	gauge(buildInfo, 1, v.Major, v.Minor, v.GitVersion, v.GitCommit, v.GitTreeState, v.BuildDate, v.GoVersion, v.Compiler, v.Platform)
}

// sizeTime is how long the store may take to tell its size.
const sizeTime = 2 * time.Second

// ofLibraries begin the names of what the libraries of k8s.io/apiserver, and that of pod security, count themselves.
var ofLibraries = []string{
	"apiserver_admission_match_condition_", "apiserver_admission_webhook_", "apiserver_audit_", "apiserver_authentication_jwt_authenticator_",
	"apiserver_cel_", "apiserver_mutating_admission_policy_", "apiserver_validating_admission_policy_", "apiserver_webhooks_", "pod_security_",
}

// gatherLibraries leaves out what else lies in the registry that all of Kubernetes' libraries share: this server's own figures of the
// process, and those of parts that are not used here.
func gatherLibraries() ([]*dto.MetricFamily, error) {
	all, err := legacyregistry.DefaultGatherer.Gather()
	return slices.DeleteFunc(all, func(f *dto.MetricFamily) bool {
		return !slices.ContainsFunc(ofLibraries, func(prefix string) bool { return strings.HasPrefix(f.GetName(), prefix) })
	}), err
}
