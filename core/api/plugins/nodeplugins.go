package plugins

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
)

// NodePlugins is all that the server, the printer and the docs know of NodePlugins.
var NodePlugins = api.Kind[v1alpha1.NodePlugins]{
	Group: "plugins.gantry.dev", Version: "v1alpha1", Name: "NodePlugins", Plural: "nodeplugins", StoragePrefix: "plugins.gantry.dev/nodeplugins", Categories: []string{"gantry"},
	Subresources: api.Status, Generation: true,
	Validate: func(n, _ *v1alpha1.NodePlugins) field.ErrorList {
		var errs field.ErrorList
		path := field.NewPath("spec", "defaults")
		for _, t := range slices.Sorted(maps.Keys(n.Spec.Defaults)) {
			errs = append(errs, validateType(t, path)...)
			for _, text := range utilvalidation.IsDNS1123Label(n.Spec.Defaults[t]) {
				errs = append(errs, field.Invalid(path.Key(string(t)), n.Spec.Defaults[t], text))
			}
		}
		return errs
	},
	Columns: []api.Column[v1alpha1.NodePlugins]{
		api.NameColumn[v1alpha1.NodePlugins](),
		{Name: "Ready", Description: "Plugins that answer, of all.", Cell: func(n *v1alpha1.NodePlugins) any {
			ready := 0
			for i := range n.Status.Plugins {
				if n.Status.Plugins[i].Ready {
					ready++
				}
			}
			return fmt.Sprintf("%d/%d", ready, len(n.Status.Plugins))
		}},
		{Name: "Runtime", Description: "The default runtime.", Cell: defaultOf(v1alpha1.Runtime)},
		{Name: "Network", Description: "The default network.", Cell: defaultOf(v1alpha1.Network)},
		{Name: "Service", Description: "The service proxy.", Cell: defaultOf(v1alpha1.Service)},
		api.AgeColumn[v1alpha1.NodePlugins](),
		{Name: "Not Ready", Priority: 1, Description: "Plugins that do not answer.", Cell: func(n *v1alpha1.NodePlugins) any {
			var names []string
			for i := range n.Status.Plugins {
				if p := &n.Status.Plugins[i]; !p.Ready {
					names = append(names, strings.ToLower(string(p.Type))+"/"+p.Name)
				}
			}
			return strings.Join(names, ",")
		}},
	},
}

func defaultOf(t v1alpha1.Type) func(n *v1alpha1.NodePlugins) any {
	return func(n *v1alpha1.NodePlugins) any {
		for i := range n.Status.Plugins {
			if p := &n.Status.Plugins[i]; p.Type == t && p.Default {
				return p.Name
			}
		}
		return "<none>"
	}
}
