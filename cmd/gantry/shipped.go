package main

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
)

// shipped are the plugins that every node runs unless somebody says otherwise.
var shipped = []struct {
	name string
	kind v1alpha1.Type
}{
	{"containerd", v1alpha1.Runtime},
	{"cni", v1alpha1.Network},
	{"nftables", v1alpha1.Service},
}

// declareShipped makes a Plugin of each that is missing. They come back when they are deleted; spec.disabled and
// spec.nodeSelector take them from nodes.
func (s *server) declareShipped(ctx context.Context) error {
	for _, p := range shipped {
		// One that is there is not written: a server whose disk is full has to start, so that something can be deleted.
		if err := s.client.Get(ctx, ctrlclient.ObjectKey{Name: p.name}, &v1alpha1.Plugin{}); err == nil {
			continue
		}
		err := s.client.Create(ctx, &v1alpha1.Plugin{
			ObjectMeta: metav1.ObjectMeta{Name: p.name},
			Spec:       v1alpha1.PluginSpec{Type: p.kind, Source: v1alpha1.Source{Builtin: p.name}},
		})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("declare plugin %s: %w", p.name, err)
		}
	}
	return nil
}
