package apiserver

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	discoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/apiregistration"
)

// discovery is what clients learn the API from: documents by path, made once.
type discovery struct {
	plain      map[string][]byte // by path without slashes at its ends
	aggregated map[string]document
}

type document struct {
	data []byte
	etag string
}

var allVerbs = metav1.Verbs{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}

func newDiscovery(g *api.Registry, others remotes) discovery {
	d := discovery{plain: map[string][]byte{}, aggregated: map[string]document{}}
	var groups []metav1.APIGroup
	versions := announcedVersions(g, others)
	for _, v := range versions {
		gv := v.gv
		list := metav1.APIResourceList{
			TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: gv.String(),
		}
		if v.remote == nil { // another server answers for its own
			list.APIResources = resourcesOf(g, gv)
		}
		if gv.Group == "" {
			d.plain["api/"+gv.Version] = mustJSON(list)
			continue
		}
		d.plain["apis/"+gv.String()] = mustJSON(list)
		version := metav1.GroupVersionForDiscovery{GroupVersion: gv.String(), Version: gv.Version}
		if i := slices.IndexFunc(groups, func(have metav1.APIGroup) bool { return have.Name == gv.Group }); i >= 0 {
			groups[i].Versions = append(groups[i].Versions, version)
			continue
		}
		groups = append(groups, metav1.APIGroup{
			TypeMeta: metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"},
			Name:     gv.Group, Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version,
		})
	}
	for _, group := range groups {
		d.plain["apis/"+group.Name] = mustJSON(group)
	}
	d.plain["api"] = mustJSON(metav1.APIVersions{
		TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"},
		ServerAddressByClientCIDRs: []metav1.ServerAddressByClientCIDR{},
	})
	for i := range groups {
		groups[i].TypeMeta = metav1.TypeMeta{}
	}
	d.plain["apis"] = mustJSON(metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: groups})
	d.aggregated["api"] = aggregate(g, versions, func(gv schema.GroupVersion) bool { return gv.Group == "" })
	d.aggregated["apis"] = aggregate(g, versions, func(gv schema.GroupVersion) bool { return gv.Group != "" })
	return d
}

// announcedVersion is a group version that is served here or, when remote is set, elsewhere.
type announcedVersion struct {
	gv       schema.GroupVersion
	priority apiregistration.Priority
	remote   *remote
}

// announcedVersions is the order of discovery, by which clients choose between groups that have a word in common: by the
// priority of the group and then of the version.
func announcedVersions(g *api.Registry, others remotes) []announcedVersion {
	var out []announcedVersion
	for _, gv := range g.GroupVersions() {
		if others[gv] != nil {
			continue
		}
		v := announcedVersion{gv: gv, priority: apiregistration.DefinedPriority()}
		if slices.ContainsFunc(g.Builtin(), func(r *api.Resource) bool { return r.GroupVersionKind().GroupVersion() == gv }) {
			v.priority = apiregistration.PriorityOf(gv)
		}
		out = append(out, v)
	}
	for gv, r := range others {
		p := apiregistration.Priority{Group: r.from.Spec.GroupPriorityMinimum, Version: r.from.Spec.VersionPriority}
		out = append(out, announcedVersion{gv: gv, priority: p, remote: r})
	}
	highest := map[string]int32{}
	for _, v := range out {
		highest[v.gv.Group] = max(highest[v.gv.Group], v.priority.Group)
	}
	slices.SortFunc(out, func(a, b announcedVersion) int {
		return cmp.Or(
			cmp.Compare(highest[b.gv.Group], highest[a.gv.Group]), strings.Compare(a.gv.Group, b.gv.Group),
			cmp.Compare(b.priority.Version, a.priority.Version), version.CompareKubeAwareVersionStrings(b.gv.Version, a.gv.Version),
		)
	})
	return out
}

func resourcesOf(g *api.Registry, gv schema.GroupVersion) []metav1.APIResource {
	var out []metav1.APIResource
	for _, r := range g.All() {
		if r.GroupVersionResource().GroupVersion() != gv {
			continue
		}
		out = append(out, metav1.APIResource{
			Name: r.Plural, SingularName: r.Singular, Namespaced: r.Namespaced, Kind: r.Kind, Verbs: verbsOf(r),
			ShortNames: r.Short, Categories: r.Categories,
			StorageVersionHash: fmt.Sprintf("%x", sha256.Sum256([]byte(r.GroupVersionKind().String())))[:12],
		})
		for _, sub := range subresourcesOf(r) {
			one := metav1.APIResource{Name: r.Plural + "/" + sub.name, Namespaced: r.Namespaced, Kind: sub.kind.Kind, Verbs: sub.verbs}
			if sub.kind.GroupVersion() != gv {
				one.Group, one.Version = sub.kind.Group, sub.kind.Version
			}
			out = append(out, one)
		}
	}
	return out
}

func verbsOf(r *api.Resource) metav1.Verbs {
	if r.Question {
		return metav1.Verbs{"create"}
	}
	if r.Computed {
		return metav1.Verbs{"get", "list"}
	}
	return allVerbs
}

type announced struct {
	name  string
	kind  schema.GroupVersionKind
	verbs metav1.Verbs
}

func subresourcesOf(r *api.Resource) []announced {
	var out []announced
	if r.HasScale {
		out = append(out, announced{"scale", schema.GroupVersionKind{Group: "autoscaling", Version: "v1", Kind: "Scale"}, metav1.Verbs{"get", "patch", "update"}})
	}
	if r.HasStatus {
		out = append(out, announced{"status", r.GroupVersionKind(), metav1.Verbs{"get", "patch", "update"}})
	}
	for name := range r.Parts {
		if name != "status" {
			out = append(out, announced{name, r.GroupVersionKind(), metav1.Verbs{"get", "patch", "update"}})
		}
	}
	for at, h := range (&Server{}).subresources() {
		if at.group == r.Group && at.plural == r.Plural {
			out = append(out, announced{at.name, h.kind, h.verbs})
		}
	}
	slices.SortFunc(out, func(a, b announced) int { return strings.Compare(a.name, b.name) })
	return out
}

func aggregate(g *api.Registry, versions []announcedVersion, keep func(schema.GroupVersion) bool) document {
	list := discoveryv2.APIGroupDiscoveryList{
		TypeMeta: metav1.TypeMeta{Kind: "APIGroupDiscoveryList", APIVersion: "apidiscovery.k8s.io/v2"},
		Items:    []discoveryv2.APIGroupDiscovery{},
	}
	for _, v := range versions {
		gv := v.gv
		if !keep(gv) {
			continue
		}
		version := discoveryv2.APIVersionDiscovery{Version: gv.Version, Freshness: discoveryv2.DiscoveryFreshnessCurrent}
		if v.remote != nil {
			version = v.remote.announced()
		}
		for _, r := range g.All() {
			if v.remote == nil && r.GroupVersionResource().GroupVersion() == gv {
				version.Resources = append(version.Resources, aggregateResource(r))
			}
		}
		i := slices.IndexFunc(list.Items, func(have discoveryv2.APIGroupDiscovery) bool { return have.Name == gv.Group })
		if i < 0 {
			list.Items = append(list.Items, discoveryv2.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: gv.Group}})
			i = len(list.Items) - 1
		}
		list.Items[i].Versions = append(list.Items[i].Versions, version)
	}
	data := mustJSON(list)
	return document{data, fmt.Sprintf("%X", sha256.Sum256(data))}
}

func aggregateResource(r *api.Resource) discoveryv2.APIResourceDiscovery {
	scope := discoveryv2.ScopeCluster
	if r.Namespaced {
		scope = discoveryv2.ScopeNamespace
	}
	kind := metav1.GroupVersionKind(r.GroupVersionKind())
	out := discoveryv2.APIResourceDiscovery{
		Resource: r.Plural, ResponseKind: &kind, Scope: scope, SingularResource: r.Singular,
		Verbs: verbsOf(r), ShortNames: r.Short, Categories: r.Categories,
	}
	for _, sub := range subresourcesOf(r) {
		kind := metav1.GroupVersionKind(sub.kind)
		out.Subresources = append(out.Subresources, discoveryv2.APISubresourceDiscovery{Subresource: sub.name, ResponseKind: &kind, Verbs: sub.verbs})
	}
	return out
}

const aggregatedType = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

func (s *Server) serveDiscovery(w http.ResponseWriter, req *http.Request, path string) {
	s.SyncDefinitions(req.Context())
	s.awaitKinds(req.Context())
	known := s.discovery.Load()
	if doc, ok := known.aggregated[path]; ok && strings.Contains(req.Header.Get("Accept"), "v=v2;as=APIGroupDiscoveryList") {
		etag := `"` + doc.etag + `"`
		w.Header().Set("ETag", etag)
		w.Header().Set("Vary", "Accept")
		if req.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		sendDocument(w, req, aggregatedType, doc.data)
		return
	}
	data, ok := known.plain[path]
	if !ok {
		s.fail(w, jsonView, errNoResource)
		return
	}
	sendDocument(w, req, typeJSON, data)
}

func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("marshal %T: %v", v, err)) // plain structs of ours
	}
	return data
}

func writeJSON(w http.ResponseWriter, v any) { send(w, typeJSON, http.StatusOK, mustJSON(v)) }
