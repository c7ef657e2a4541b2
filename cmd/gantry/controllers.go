package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	crcache "sigs.k8s.io/controller-runtime/pkg/cache"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/gantryio/gantry/controllers/apiservice"
	"github.com/gantryio/gantry/controllers/certificatesigning"
	"github.com/gantryio/gantry/controllers/clusterrole"
	"github.com/gantryio/gantry/controllers/customresource"
	"github.com/gantryio/gantry/controllers/disruption"
	"github.com/gantryio/gantry/controllers/endpointslice"
	"github.com/gantryio/gantry/controllers/endpointslicemirroring"
	"github.com/gantryio/gantry/controllers/ephemeralvolume"
	"github.com/gantryio/gantry/controllers/garbage"
	"github.com/gantryio/gantry/controllers/horizontalpodautoscaler"
	"github.com/gantryio/gantry/controllers/namespace"
	nodecontroller "github.com/gantryio/gantry/controllers/node"
	"github.com/gantryio/gantry/controllers/plugin"
	"github.com/gantryio/gantry/controllers/pluginswap"
	"github.com/gantryio/gantry/controllers/resourcequota"
	"github.com/gantryio/gantry/controllers/serviceaccount"
	"github.com/gantryio/gantry/controllers/servicecidr"
	"github.com/gantryio/gantry/controllers/storageprotection"
	"github.com/gantryio/gantry/controllers/storageversionmigration"
	"github.com/gantryio/gantry/controllers/taint"
	"github.com/gantryio/gantry/controllers/ttlafterfinished"
	"github.com/gantryio/gantry/controllers/validatingadmissionpolicy"
	"github.com/gantryio/gantry/controllers/volumebinding"
	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/apiserver"
	"github.com/gantryio/gantry/core/client"
	"github.com/gantryio/gantry/workloads/cronjob"
	"github.com/gantryio/gantry/workloads/daemonset"
	"github.com/gantryio/gantry/workloads/deployment"
	"github.com/gantryio/gantry/workloads/job"
	"github.com/gantryio/gantry/workloads/replicaset"
	"github.com/gantryio/gantry/workloads/statefulset"
)

// controller is what every controller is to the one who starts it.
type controller interface {
	SetupWithManager(mgr manager.Manager) error
}

// controllers is the list of all of them. Each acts as its own service account of kube-system.
func (s *server) controllers(ctx context.Context, mapper meta.RESTMapper) ([]controller, error) {
	elsewhere, err := s.openElsewhere()
	if err != nil {
		return nil, err
	}
	as := func(name string) (ctrlclient.Client, record.EventRecorder) {
		c := s.client.As(name)
		return c, client.NewRecorder(ctx, c, name, "")
	}
	autoscaler := s.client.As("horizontal-pod-autoscaler")
	figures := horizontalpodautoscaler.Metrics{Usage: autoscaler}
	if err := figures.Connect(ctx, s.loopback(autoscaler.User), mapper); err != nil {
		return nil, err
	}
	var out []controller
	add := func(name string, make func(ctrlclient.Client, record.EventRecorder) controller) {
		api, recorder := as(name)
		out = append(out, make(api, recorder))
	}
	add("node-controller", func(c ctrlclient.Client, r record.EventRecorder) controller {
		return &nodecontroller.Controller{Client: c, Recorder: r, ClusterCIDR: netip.MustParsePrefix(s.podRange)}
	})
	add("replicaset-controller", func(c ctrlclient.Client, r record.EventRecorder) controller {
		return &replicaset.Controller{Client: c, Recorder: r}
	})
	add("replication-controller", func(c ctrlclient.Client, r record.EventRecorder) controller {
		return &replicaset.Controller{Kind: replicaset.ReplicationControllers, Client: c, Recorder: r}
	})
	add("statefulset-controller", func(c ctrlclient.Client, r record.EventRecorder) controller {
		return &statefulset.Controller{Client: c, Recorder: r}
	})
	add("daemon-set-controller", func(c ctrlclient.Client, r record.EventRecorder) controller {
		return &daemonset.Controller{Client: c, Recorder: r}
	})
	add("disruption-controller", func(c ctrlclient.Client, r record.EventRecorder) controller {
		return &disruption.Controller{Client: c, Recorder: r}
	})
	add("deployment-controller", func(c ctrlclient.Client, r record.EventRecorder) controller {
		return &deployment.Controller{Client: c, Recorder: r}
	})
	add("job-controller", func(c ctrlclient.Client, r record.EventRecorder) controller {
		return &job.Controller{Client: c, Recorder: r}
	})
	add("cronjob-controller", func(c ctrlclient.Client, r record.EventRecorder) controller {
		return &cronjob.Controller{Client: c, Recorder: r}
	})
	add("ttl-after-finished-controller", func(c ctrlclient.Client, _ record.EventRecorder) controller {
		return &ttlafterfinished.Controller{Client: c}
	})
	add("horizontal-pod-autoscaler", func(c ctrlclient.Client, r record.EventRecorder) controller {
		return &horizontalpodautoscaler.Controller{
			Client: c, Recorder: r, Metrics: figures,
		}
	})
	add("namespace-controller", func(c ctrlclient.Client, _ record.EventRecorder) controller {
		return &namespace.Controller{
			Client: c, Kinds: s.kinds(func(r *api.Resource) bool { return r.Namespaced && !r.Custom() }),
			Defined: func() []schema.GroupVersionKind {
				return s.kinds(func(r *api.Resource) bool { return r.Namespaced && r.Custom() })
			},
			Elsewhere: func(ctx context.Context) ([]schema.GroupVersionKind, error) {
				return s.remoteKinds(ctx, true, "list", "delete")
			},
		}
	})
	add("serviceaccount-controller", func(c ctrlclient.Client, _ record.EventRecorder) controller {
		return &serviceaccount.Controller{Client: c, CA: s.authority.CertPEM}
	})
	add("endpointslice-controller", func(c ctrlclient.Client, r record.EventRecorder) controller {
		return &endpointslice.Controller{Client: c, Recorder: r}
	})
	add("endpointslicemirroring-controller", func(c ctrlclient.Client, r record.EventRecorder) controller {
		return &endpointslicemirroring.Controller{Client: c, Recorder: r}
	})
	add("taint-controller", func(c ctrlclient.Client, r record.EventRecorder) controller {
		return &taint.Controller{Client: c, Recorder: r}
	})
	add("certificate-controller", func(ctrlclient.Client, record.EventRecorder) controller {
		return &certificatesigning.Controller{Client: s.client, Sign: s.authority.SignRequest} // the server's own, which may sign
	})
	add("clusterrole-aggregation-controller", func(ctrlclient.Client, record.EventRecorder) controller {
		return &clusterrole.Controller{Client: s.client} // the server's own, which may give away anything
	})
	add("customresource-controller", func(ctrlclient.Client, record.EventRecorder) controller {
		return &customresource.Controller{Client: s.client} // the server's own, which may delete anything
	})
	add("apiservice-controller", func(ctrlclient.Client, record.EventRecorder) controller {
		return &apiservice.Controller{
			Client:  s.client, // the server's own, which may register anything
			Builtin: s.versions(false), Computed: s.versions(true), Check: s.api.CheckAPIService,
		}
	})
	add("service-cidrs-controller", func(c ctrlclient.Client, _ record.EventRecorder) controller {
		return &servicecidr.Ranges{Client: c}
	})
	add("ipaddress-controller", func(c ctrlclient.Client, r record.EventRecorder) controller {
		return &servicecidr.Addresses{Client: c, Recorder: r}
	})
	add("storage-version-migrator-controller", func(ctrlclient.Client, record.EventRecorder) controller {
		return &storageversionmigration.Controller{Client: s.client, Stored: s.registry.StoredKind} // the server's own, which may write anything
	})
	add("storage-protection-controller", func(c ctrlclient.Client, _ record.EventRecorder) controller {
		return &storageprotection.Controller{Client: c}
	})
	add("ephemeral-volume-controller", func(c ctrlclient.Client, r record.EventRecorder) controller {
		return &ephemeralvolume.Controller{Client: c, Recorder: r}
	})
	add("persistent-volume-binder", func(c ctrlclient.Client, r record.EventRecorder) controller {
		return &volumebinding.Controller{Client: c, Recorder: r}
	})
	add("resourcequota-controller", func(c ctrlclient.Client, _ record.EventRecorder) controller {
		return &resourcequota.Controller{Client: c, Kinds: s.counted(), UnderWay: s.quotas.UnderWay}
	})
	add("validatingadmissionpolicy-status-controller", func(c ctrlclient.Client, _ record.EventRecorder) controller {
		return &validatingadmissionpolicy.Controller{Client: c}
	})
	add("plugin-controller", func(c ctrlclient.Client, _ record.EventRecorder) controller {
		return &plugin.Controller{Client: c}
	})
	add("pluginswap-controller", func(c ctrlclient.Client, r record.EventRecorder) controller {
		return &pluginswap.Controller{Client: c, Recorder: r}
	})
	add("garbage-controller", func(c ctrlclient.Client, r record.EventRecorder) controller {
		return &garbage.Controller{Client: c, Recorder: r, Kinds: s.kinds(func(r *api.Resource) bool { return !r.Custom() }), Elsewhere: elsewhere}
	})
	return out, nil
}

// loopback is for clients that speak HTTP to the server of their own process.
func (s *server) loopback(as user.Info) *rest.Config {
	return &rest.Config{Host: "https://in-process.invalid", Transport: apiserver.Loopback{Server: s.api, User: as}, QPS: -1}
}

// kinds lists the stored kinds that keep wants.
func (s *server) kinds(keep func(*api.Resource) bool) []schema.GroupVersionKind {
	var out []schema.GroupVersionKind
	for _, r := range s.registry.Stored() {
		if keep(r) {
			out = append(out, r.GroupVersionKind())
		}
	}
	return out
}

// versions lists the group versions that are built in and computed or not.
func (s *server) versions(computed bool) []schema.GroupVersion {
	var out []schema.GroupVersion
	for _, r := range s.registry.Builtin() {
		if gv := r.GroupVersionKind().GroupVersion(); r.Computed == computed && !slices.Contains(out, gv) {
			out = append(out, gv)
		}
	}
	return out
}

// counted lists the kinds whose objects a quota can count.
func (s *server) counted() []resourcequota.Kind {
	var out []resourcequota.Kind
	for _, r := range s.registry.Stored() {
		if r.Namespaced && !r.Custom() {
			out = append(out, resourcequota.Kind{GroupVersionKind: r.GroupVersionKind(), Plural: r.Plural})
		}
	}
	return out
}

// newManager returns a manager whose cache and client are those of this process. It never dials: the
// configuration is there because controller-runtime wants one.
func (s *server) newManager(ctx context.Context) (manager.Manager, error) {
	mgr, err := manager.New(&rest.Config{Host: "https://in-process.invalid"}, manager.Options{
		Scheme: scheme.Scheme,
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) {
			return client.NewMapper(s.registry), nil
		},
		NewCache:  func(*rest.Config, crcache.Options) (crcache.Cache, error) { return s.clientCache, nil },
		NewClient: func(*rest.Config, ctrlclient.Options) (ctrlclient.Client, error) { return s.client, nil },
		Metrics:   metricsserver.Options{BindAddress: "0"},
		// A server that leads again makes its controllers again.
		Controller: ctrlconfig.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		return nil, fmt.Errorf("make the controllers' manager: %w", err)
	}
	list, err := s.controllers(ctx, mgr.GetRESTMapper())
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		if err := c.SetupWithManager(mgr); err != nil {
			return nil, fmt.Errorf("set up %T: %w", c, err)
		}
	}
	return mgr, nil
}
