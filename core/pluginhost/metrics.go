package pluginhost

import (
	"path"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/status"
)

// Calls measures every unary call to a plugin, waiting included: seconds by plugin, method and gRPC code.
// Whoever serves metrics registers it.
var Calls = prometheus.NewHistogramVec(prometheus.HistogramOpts{
	Name:    "gantry_plugin_call_seconds",
	Help:    "Duration of calls to plugins, waiting for a plugin that restarts included.",
	Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
}, []string{"plugin", "method", "code"})

func observe(plugin, method string, began time.Time, err error) {
	Calls.WithLabelValues(plugin, path.Base(method), status.Code(err).String()).Observe(time.Since(began).Seconds())
}
