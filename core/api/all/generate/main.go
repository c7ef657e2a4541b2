// Command generate writes the list of the served kinds for people.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/all"
)

func main() {
	out := flag.String("out", "kinds.md", "file to write")
	flag.Parse()
	if err := os.WriteFile(*out, []byte(document(all.Kinds())), 0o644); err != nil {
		log.Fatal(err)
	}
}

// document is the list of the kinds, and of those that Kubernetes has in a stable version and Gantry does not serve.
func document(g *api.Registry) string {
	var b strings.Builder
	b.WriteString("# Kinds\n\nMade by `go generate ./core/api/all`. What users define and what other API servers serve comes on top.\n\n")
	b.WriteString("| group and version | kind | resource | short names | scope | parts written on their own |\n|---|---|---|---|---|---|\n")
	kinds := slices.SortedFunc(slices.Values(g.All()), func(x, y *api.Resource) int {
		return cmp.Or(strings.Compare(x.Group, y.Group), strings.Compare(x.Version, y.Version), strings.Compare(x.Plural, y.Plural))
	})
	for _, r := range kinds {
		scope := "cluster"
		if r.Namespaced {
			scope = "namespace"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.APIVersion(), r.Kind, r.Plural, strings.Join(r.Short, ", "), scope, strings.Join(parts(r), ", "))
	}
	if lacking := missing(g); len(lacking) > 0 {
		b.WriteString("\nStable kinds of Kubernetes that are not served:\n\n")
		for _, gvk := range lacking {
			fmt.Fprintf(&b, "- %s %s\n", gvk.GroupVersion(), gvk.Kind)
		}
	}
	return b.String()
}

func parts(r *api.Resource) []string {
	out := slices.Sorted(maps.Keys(r.Parts))
	if r.HasStatus && !slices.Contains(out, "status") {
		out = append(out, "status")
	}
	if r.HasScale {
		out = append(out, "scale")
	}
	slices.Sort(out)
	return out
}

var stable = regexp.MustCompile(`^v\d+$`)

// missing finds kinds by their lists, for only what is stored has one.
func missing(g *api.Registry) []schema.GroupVersionKind {
	var out []schema.GroupVersionKind
	known := scheme.Scheme.AllKnownTypes()
	for list := range known {
		name, ok := strings.CutSuffix(list.Kind, "List")
		kind := list.GroupVersion().WithKind(name)
		if !ok || !stable.MatchString(kind.Version) || known[kind] == nil || g.Kind(kind) != nil {
			continue
		}
		if _, object := known[kind].FieldByName("ObjectMeta"); !object {
			continue // such as discovery's own documents
		}
		out = append(out, kind)
	}
	slices.SortFunc(out, func(a, b schema.GroupVersionKind) int { return strings.Compare(a.String(), b.String()) })
	return out
}
