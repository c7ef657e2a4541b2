package main

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	crcache "sigs.k8s.io/controller-runtime/pkg/cache"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/controllers/garbage"
	"github.com/gantryio/gantry/core/client"
)

// openElsewhere lets the clients of this process reach the kinds that aggregated API servers serve, as this server itself, and returns
// what the garbage collector watches of them.
func (s *server) openElsewhere() (*garbage.Elsewhere, error) {
	config, mapping := s.loopback(s.client.User), client.Mapping(s.api.RemoteMapping)
	var err error
	if s.client.Elsewhere, err = ctrlclient.New(config, ctrlclient.Options{Scheme: scheme.Scheme, Mapper: mapping}); err != nil {
		return nil, fmt.Errorf("make a client for aggregated APIs: %w", err)
	}
	watched, err := crcache.New(config, crcache.Options{Scheme: scheme.Scheme, Mapper: mapping, ReaderFailOnMissingInformer: true})
	if err != nil {
		return nil, fmt.Errorf("make a cache for aggregated APIs: %w", err)
	}
	return &garbage.Elsewhere{
		Cache: watched, Changed: s.api.RemoteKindsChanged,
		Kinds: func(ctx context.Context) []schema.GroupVersionKind {
			kinds, _ := s.remoteKinds(ctx, false, "list", "watch", "delete") // those that are not known come when they are
			return kinds
		},
	}, nil
}

// remoteKinds are the kinds of aggregated API servers that have all of the verbs, and why of some servers nothing is known.
func (s *server) remoteKinds(ctx context.Context, namespaced bool, verbs ...string) ([]schema.GroupVersionKind, error) {
	all, err := s.api.RemoteKinds(ctx)
	var out []schema.GroupVersionKind
	for i := range all {
		if k := &all[i]; k.Can(verbs...) && (k.Namespaced || !namespaced) {
			out = append(out, k.GroupVersionKind)
		}
	}
	return out, err
}
