package horizontalpodautoscaler

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	custommetrics "k8s.io/metrics/pkg/client/custom_metrics"
	externalmetrics "k8s.io/metrics/pkg/client/external_metrics"
)

// forgetVersions is how often the custom metrics API is looked for again.
const forgetVersions = 15 * time.Second

// Connect makes m read custom and external metrics from the API servers that are registered for them by then, until ctx ends.
func (m *Metrics) Connect(ctx context.Context, config *rest.Config, mapper meta.RESTMapper) error {
	known, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("connect to the metrics APIs: %w", err)
	}
	versions := custommetrics.NewAvailableAPIsGetter(known)
	go custommetrics.PeriodicallyInvalidate(versions, forgetVersions, ctx.Done())
	m.Custom = custommetrics.NewForConfig(config, mapper, versions)
	if m.External, err = externalmetrics.NewForConfig(config); err != nil {
		return fmt.Errorf("connect to the metrics APIs: %w", err)
	}
	return nil
}
