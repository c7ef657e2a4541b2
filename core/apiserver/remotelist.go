package apiserver

import (
	"context"
	"fmt"
	"slices"

	discoveryv2 "k8s.io/api/apidiscovery/v2"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientdiscovery "k8s.io/client-go/discovery"
)

// RemoteKind is a kind that an aggregated API server serves.
type RemoteKind struct {
	schema.GroupVersionKind
	Plural, Singular string
	Namespaced       bool
	Verbs            []string
}

// Can tells that the kind has all of the verbs.
func (k *RemoteKind) Can(verbs ...string) bool {
	return !slices.ContainsFunc(verbs, func(verb string) bool { return !slices.Contains(k.Verbs, verb) })
}

// RemoteKinds are the kinds that aggregated API servers serve. The error, a *[discovery.ErrGroupDiscoveryFailed], tells the group
// versions of which that is not known, because their servers cannot be asked: of these there is nothing among the kinds.
func (s *Server) RemoteKinds(ctx context.Context) ([]RemoteKind, error) {
	s.awaitKinds(ctx)
	var out []RemoteKind
	failed := map[schema.GroupVersion]error{}
	for gv, r := range *s.aggregation.remotes.Load() {
		version := r.announced()
		if version.Freshness != discoveryv2.DiscoveryFreshnessCurrent {
			failed[gv] = fmt.Errorf("stale GroupVersion discovery: %v", gv) // in the words of client-go
			continue
		}
		for i := range version.Resources {
			out = append(out, remoteKind(gv, &version.Resources[i]))
		}
	}
	if len(failed) > 0 {
		return out, &clientdiscovery.ErrGroupDiscoveryFailed{Groups: failed}
	}
	return out, nil
}

func remoteKind(gv schema.GroupVersion, r *discoveryv2.APIResourceDiscovery) RemoteKind {
	gvk := gv.WithKind("")
	if k := r.ResponseKind; k != nil {
		gvk = schema.GroupVersionKind{Group: k.Group, Version: k.Version, Kind: k.Kind}
		if gvk.Version == "" {
			gvk.Group, gvk.Version = gv.Group, gv.Version
		}
	}
	return RemoteKind{
		GroupVersionKind: gvk, Plural: r.Resource, Singular: r.SingularResource, Namespaced: r.Scope == discoveryv2.ScopeNamespace, Verbs: r.Verbs,
	}
}

// RemoteKindsChanged is closed when [Server.RemoteKinds] may give something else than before it was asked for.
func (s *Server) RemoteKindsChanged() <-chan struct{} {
	s.aggregation.announcing.Lock()
	defer s.aggregation.announcing.Unlock()
	if s.aggregation.changed == nil {
		s.aggregation.changed = make(chan struct{})
	}
	return s.aggregation.changed
}

// RemoteMapping maps the kinds of aggregated API servers, as far as they are known now.
func (s *Server) RemoteMapping() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	s.syncAPIServices()
	for gv, r := range *s.aggregation.remotes.Load() {
		version := r.announced()
		if version.Freshness != discoveryv2.DiscoveryFreshnessCurrent {
			continue
		}
		for i := range version.Resources {
			k, scope := remoteKind(gv, &version.Resources[i]), meta.RESTScope(meta.RESTScopeRoot)
			if k.Namespaced {
				scope = meta.RESTScopeNamespace
			}
			m.AddSpecific(k.GroupVersionKind, gv.WithResource(k.Plural), gv.WithResource(k.Singular), scope)
		}
	}
	return m
}
