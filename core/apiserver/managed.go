package apiserver

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/custom"
	"github.com/gantryio/gantry/core/apiserver/ownership"
)

// managers holds the field managers of server-side apply, one for each kind and subresource.
type managers struct {
	converter func() *trusting
	versions  runtime.ObjectConvertor
	byTarget  sync.Map // managedTarget → *managedfields.FieldManager
	shapes    sync.Map // *api.Resource → shapes
	learned   sync.Map // *api.Resource of a defined kind → managedfields.TypeConverter
}

type managedTarget struct {
	resource    *api.Resource
	subresource string
}

func (m *managers) init(registry *api.Registry) {
	m.versions = convertor{runtime.UnsafeObjectConvertor(scheme.Scheme), registry}
	m.converter = sync.OnceValue(func() *trusting {
		return &trusting{TypeConverter: converters{
			Kubernetes: applyconfigurations.NewTypeConverter(scheme.Scheme), others: otherConverters(),
		}}
	})
}

// Warm reads the schemas of Kubernetes' kinds, which the first write and the first apply need, and which takes a tenth of a second of
// CPU. It may be called before there is a server, and does nothing when they have been read.
func Warm() { applyconfigurations.NewTypeConverter(scheme.Scheme) }

func (m *managers) of(r *api.Resource, subresource string) (*managedfields.FieldManager, error) {
	t := managedTarget{r, subresource}
	if have, ok := m.byTarget.Load(t); ok {
		return have.(*managedfields.FieldManager), nil
	}
	gvk := r.GroupVersionKind()
	stored := r.Stored().GroupVersionKind().GroupVersion()
	var made *managedfields.FieldManager
	var err error
	if r.Custom() {
		made, err = managedfields.NewDefaultCRDFieldManager(m.converterOf(r), m.versions,
			defaulter{r}, creater{r}, gvk, stored, subresource, resetFields(r, subresource))
	} else {
		made, err = managedfields.NewDefaultFieldManager(m.converter(), m.versions,
			defaulter{r}, scheme.Scheme, gvk, stored, subresource, resetFields(r, subresource))
	}
	if err != nil {
		return nil, fmt.Errorf("make a field manager for %s: %w", gvk, err)
	}
	m.byTarget.Store(t, made)
	return made, nil
}

// learn makes the field managers of a defined kind go by its schema.
func (m *managers) learn(k custom.Kind) error {
	schemas, err := custom.Schemas(k)
	if err != nil {
		return err
	}
	converter, err := managedfields.NewTypeConverter(schemas, false)
	if err == nil {
		m.learned.Store(k.Resource, converter)
	}
	return err
}

// forget drops what was made for kinds that are no longer served as they were.
func (m *managers) forget(kinds []custom.Kind) {
	for _, k := range kinds {
		m.learned.Delete(k.Resource)
		for _, sub := range []string{"", "status", "scale"} {
			m.byTarget.Delete(managedTarget{k.Resource, sub})
		}
	}
}

func (m *managers) converterOf(r *api.Resource) managedfields.TypeConverter {
	if have, ok := m.learned.Load(r); ok {
		return have.(managedfields.TypeConverter)
	}
	return managedfields.NewDeducedTypeConverter() // a request that came while the definition went
}

// creater makes empty objects of a defined kind for the library.
type creater struct{ resource *api.Resource }

// New implements runtime.ObjectCreater.
func (c creater) New(gvk schema.GroupVersionKind) (runtime.Object, error) {
	obj := c.resource.New()
	obj.GetObjectKind().SetGroupVersionKind(gvk)
	return obj, nil
}

// shapes are what an object consists of for a write of itself and one of its status, nil when both are left to the
// library.
type shapes struct {
	object, status *ownership.Shape
	empty          api.Object // with a kind and version, what there is before a create
}

func (m *managers) shapesOf(r *api.Resource) shapes {
	if have, ok := m.shapes.Load(r); ok {
		return have.(shapes)
	}
	var made shapes
	if !r.Custom() {
		if known, err := m.converter().shape(r.GroupVersionKind()); err == nil {
			whole := ownership.ShapeOf(reflect.TypeOf(r.New()).Elem(), known.schema, known.ref)
			made = shapes{whole.Except(resetPaths(r, "")...), whole.Except(resetPaths(r, "status")...), r.New()}
			r.SetType(made.empty)
		}
	}
	m.shapes.Store(r, made)
	return made
}

// resetPaths are the fields that a write of the target cannot set, and so must not own.
func resetPaths(r *api.Resource, subresource string) [][]string {
	switch {
	case !r.HasStatus:
		return nil
	case !r.HasPart(subresource):
		return [][]string{{"status"}}
	case r.StatusMetadata:
		return [][]string{{"spec"}, {"metadata", "finalizers"}, {"metadata", "ownerReferences"}}
	default:
		return [][]string{{"spec"}, {"metadata", "finalizers"}, {"metadata", "ownerReferences"}, {"metadata", "labels"}, {"metadata", "annotations"}}
	}
}

// resetFields are the resetPaths as the library wants them.
func resetFields(r *api.Resource, subresource string) map[fieldpath.APIVersion]fieldpath.Filter {
	both := func(f fieldpath.Filter) map[fieldpath.APIVersion]fieldpath.Filter {
		return map[fieldpath.APIVersion]fieldpath.Filter{
			fieldpath.APIVersion(r.APIVersion()): f, fieldpath.APIVersion(r.Stored().APIVersion()): f,
		}
	}
	if part := r.Parts[subresource]; part.Body {
		return both(fieldpath.NewIncludeMatcherFilter(matchers(part.Owned)...))
	}
	paths := resetPaths(r, subresource)
	if len(paths) == 0 {
		return nil
	}
	set := fieldpath.NewSet()
	for _, path := range paths {
		var at fieldpath.Path
		for _, name := range path {
			at = append(at, fieldpath.PathElement{FieldName: &name})
		}
		set.Insert(at)
	}
	return both(fieldpath.NewExcludeSetFilter(set))
}

// matchers turns the paths of a [api.Part] into the library's form.
func matchers(owned [][]string) []*fieldpath.SetMatcher {
	var out []*fieldpath.SetMatcher
	for _, path := range owned {
		parts := make([]any, len(path))
		for i, name := range path {
			if parts[i] = name; name == "*" {
				parts[i] = fieldpath.MatchAnyPathElement()
			}
		}
		out = append(out, fieldpath.MakePrefixMatcherOrDie(parts...))
	}
	return out
}

// defaulter lets the library apply our defaults.
type defaulter struct{ resource *api.Resource }

func (d defaulter) Default(in runtime.Object) {
	if obj, ok := in.(api.Object); ok && d.resource.Default != nil {
		d.resource.Default(obj)
	}
}

// track records in obj's managedFields what q's manager changed since old. Subresources other than
// status and scale change the object itself.
func (s *Server) track(q *api.Request, obj, old api.Object) error {
	if q.Applied {
		return nil
	}
	if s.trackQuickly(q, obj, old) {
		return nil
	}
	m, err := s.managed.of(q.Spoken(), managedSubresource(q))
	if err != nil {
		return err
	}
	var live api.Object
	if old != nil {
		live = q.Resource.ShallowCopy(old) // the library writes to its type
	} else {
		live = q.Resource.New()
		q.Resource.SetType(live)
	}
	m.UpdateNoErrors(live, obj, manager(q))
	wholeSeconds(obj)
	return nil
}

// trackQuickly does without the library, unless the write is an unusual one.
func (s *Server) trackQuickly(q *api.Request, obj, old api.Object) bool {
	subresource, shape := managedSubresource(q), s.shapeFor(q)
	if shape == nil {
		return false
	}
	creates := old == nil
	if creates {
		old = s.managed.shapesOf(q.Resource).empty
	}
	entries := old.GetManagedFields()
	// Those that a client sends along with the object count, but not those along with its status.
	if subresource == "" && !ownership.Same(entries, obj.GetManagedFields()) || creates && obj.GetManagedFields() != nil {
		return false
	}
	updated, ok := shape.Update(old, obj, entries, ownership.Write{
		Manager: manager(q), Subresource: subresource, APIVersion: q.Resource.APIVersion(), At: time.Now(), Creates: creates,
	})
	if ok {
		obj.SetManagedFields(updated)
	}
	return ok
}

// shapeFor is what a write may set; nil where the library has to say.
func (s *Server) shapeFor(q *api.Request) *ownership.Shape {
	subresource := managedSubresource(q)
	if q.Spoken() != q.Resource.Stored() || subresource != "" && subresource != "status" {
		return nil
	}
	if known := s.managed.shapesOf(q.Resource); subresource == "" {
		return known.object
	} else {
		return known.status
	}
}

// wholeSeconds makes the times of managedFields what the store will return.
func wholeSeconds(obj api.Object) {
	list := obj.GetManagedFields()
	for i := range list {
		if list[i].Time != nil && list[i].Time.Nanosecond() != 0 {
			at := list[i].Time.Rfc3339Copy()
			list[i].Time = &at
		}
	}
}

func managedSubresource(q *api.Request) string {
	if q.Resource.HasPart(q.Subresource) || q.Subresource == "scale" {
		return q.Subresource
	}
	return ""
}

func manager(q *api.Request) string {
	if q.Manager != "" {
		return q.Manager
	}
	return "unknown"
}

// managerFromAgent is the manager of a client that names none: the first word of its user agent.
func managerFromAgent(agent string) string {
	name, _, _ := strings.Cut(agent, "/")
	return name[:min(len(name), 128)]
}
