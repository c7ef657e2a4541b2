package api

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Resource is a declared kind with its type erased: what the server works with. It is made by
// [Kind.Resource] and never changed afterwards. The hooks are those of [Kind]; nil where a kind has none.
type Resource struct {
	Group, Version, Kind, Plural, Singular string
	// ListKind is the kind of a list of them.
	ListKind          string
	Short, Categories []string
	Namespaced        bool
	StoragePrefix     string
	Earlier           []string
	TTLSeconds        int64

	HasStatus, HasScale          bool
	Generation, StatusMetadata   bool
	UnconditionalUpdateForbidden bool
	CreateOnUpdate, SharesBody   bool
	StatusOnCreate               bool
	OrphanDependents             bool
	Question, Computed           bool
	OrphanWarning, Deprecated    string
	// HasProtobuf says that the type has a protobuf form, as all of Kubernetes' own have.
	HasProtobuf bool
	// Terminating tells that the kind itself is being deleted, so that no objects of it can be created.
	Terminating bool
	// Prune drops from an object without a Go type what its schema does not know, and returns the paths of that. Nil where
	// decoding does it.
	Prune func(obj Object) (unknown []string)

	// Convert turns objects of a defined kind, which it leaves as they are, into another version of it. It is nil where versions
	// differ in nothing but their name, or where there is Go code for it. Where it is not, objects may be stored in any version.
	Convert func(ctx context.Context, objs []Object, to schema.GroupVersion) ([]Object, error)

	Default        func(obj Object)
	Prepare        func(obj, old Object)
	ValidateName   func(name string, prefix bool) []string
	Validate       func(obj, old Object) field.ErrorList
	ValidateStatus func(obj, old Object) field.ErrorList
	Warn           func(obj, old Object) []string
	Grace          func(obj Object, asked *int64) int64
	MarkDeleted    func(obj Object)
	Held           func(obj Object) bool
	GetScale       func(obj Object) *autoscalingv1.Scale
	SetScale       func(obj Object, replicas int32)
	Parts          map[string]ResourcePart

	Columns []metav1.TableColumnDefinition
	Cells   func(obj Object) []any
	// TableOrder compares objects whose rows stand in one table.
	TableOrder func(a, b Object) int
	Fields     map[string]func(obj Object) string
	Indexed    []string

	// Of another version than the stored one: see [Version].
	stored               *Resource
	versions             []*Resource // of a stored kind, the others
	former               []Former    // versions that are not served
	toStored, fromStored func(obj Object) Object
	// ValidateStored checks, in its stored form, what was written in this version.
	ValidateStored func(obj, old Object) field.ErrorList
	storedGroup    string
	storedFields   map[string]string

	typ    reflect.Type
	status int   // index of the Status field, or -1
	body   []int // indexes of all fields but TypeMeta, ObjectMeta and Status
}

// ResourcePart is a [Part] with its type erased.
type ResourcePart struct {
	Body     bool
	Owned    [][]string
	Prepare  func(obj, old Object)
	Validate func(obj, old Object) field.ErrorList
}

// HasPart tells that a subresource is the status, or one of [Kind.Parts].
func (r *Resource) HasPart(subresource string) bool {
	if subresource == "status" {
		return r.HasStatus
	}
	_, ok := r.Parts[subresource]
	return ok
}

func newResource(group, version, kind, plural string, zero Object) *Resource {
	r := &Resource{
		Group: group, Version: version, Kind: kind, Plural: plural,
		ListKind: kind + "List", Singular: strings.ToLower(kind), StoragePrefix: plural,
		ValidateName: ValidateSubdomain,
		Fields:       map[string]func(Object) string{},
		Parts:        map[string]ResourcePart{},
	}
	r.setType(zero)
	return r
}

// setType learns the Go type.
func (r *Resource) setType(zero Object) {
	r.typ, r.status, r.body = reflect.TypeOf(zero).Elem(), -1, nil
	r.HasProtobuf = HasProtobuf(zero)
	for i := range r.typ.NumField() {
		switch r.typ.Field(i).Name {
		case "TypeMeta", "ObjectMeta":
		case "Status":
			r.status = i
		default:
			r.body = append(r.body, i)
		}
	}
}

// GroupVersionKind identifies the type on the wire.
func (r *Resource) GroupVersionKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: r.Group, Version: r.Version, Kind: r.Kind}
}

// GroupVersionResource identifies the URL.
func (r *Resource) GroupVersionResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: r.Group, Version: r.Version, Resource: r.Plural}
}

// GroupResource is what error messages and permissions name.
func (r *Resource) GroupResource() schema.GroupResource {
	return schema.GroupResource{Group: r.Group, Resource: r.Plural}
}

// APIVersion is "v1" or "group/version".
func (r *Resource) APIVersion() string { return r.GroupVersionKind().GroupVersion().String() }

// New returns an empty object without its type set.
func (r *Resource) New() Object { return reflect.New(r.typ).Interface().(Object) }

// Type is the Go struct of the kind.
func (r *Resource) Type() reflect.Type { return r.typ }

// SetType writes apiVersion and kind into obj.
func (r *Resource) SetType(obj Object) {
	obj.GetObjectKind().SetGroupVersionKind(r.GroupVersionKind())
}

// CopyStatus gives dst the status of src, or an empty status when src is nil. Objects are not
// copied deeply.
func (r *Resource) CopyStatus(dst, src Object) {
	if r.custom() {
		r.copyCustomStatus(dst, src)
		return
	}
	if r.status < 0 {
		return
	}
	to := reflect.ValueOf(dst).Elem().Field(r.status)
	if src == nil {
		to.SetZero()
		return
	}
	to.Set(reflect.ValueOf(src).Elem().Field(r.status))
}

// CopyBody gives dst all fields of src but its type, metadata and status. Objects are not copied deeply.
func (r *Resource) CopyBody(dst, src Object) {
	if r.custom() {
		r.clearCustomBody(dst)
		r.eachCustomField(src, func(name string, value any) { content(dst)[name] = value })
		return
	}
	to, from := reflect.ValueOf(dst).Elem(), reflect.ValueOf(src).Elem()
	for _, i := range r.body {
		to.Field(i).Set(from.Field(i))
	}
}

// ClearBody empties what CopyBody copies.
func (r *Resource) ClearBody(obj Object) {
	if r.custom() {
		r.clearCustomBody(obj)
		return
	}
	v := reflect.ValueOf(obj).Elem()
	for _, i := range r.body {
		v.Field(i).SetZero()
	}
}

// SameBody tells whether two objects differ in metadata and status at most.
func (r *Resource) SameBody(a, b Object) bool {
	if r.custom() {
		return r.sameCustomBody(a, b)
	}
	x, y := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	for _, i := range r.body {
		if !Equal(x.Field(i).Addr().Interface(), y.Field(i).Addr().Interface()) {
			return false
		}
	}
	return true
}

// Prefix is the folder of the kind in the store, with the slash at its end.
func (r *Resource) Prefix() string { return "/registry/" + r.StoragePrefix + "/" }

// Key is where an object is stored; the layout is that of a Kubernetes etcd.
func (r *Resource) Key(namespace, name string) string {
	if r.Namespaced {
		return r.Prefix() + namespace + "/" + name
	}
	return r.Prefix() + name
}

// Field returns the value of a selectable field and whether the kind has it.
func (r *Resource) Field(obj Object, name string) (string, bool) {
	switch name {
	case "metadata.name":
		return obj.GetName(), true
	case "metadata.namespace":
		if !r.Namespaced {
			return "", false
		}
		return obj.GetNamespace(), true
	}
	value, ok := r.Fields[name]
	if !ok {
		return "", false
	}
	return value(obj), true
}

// CheckFields refuses selectors over fields that the kind does not have, in the words of Kubernetes.
func (r *Resource) CheckFields(selector fields.Selector) error {
	for _, req := range selector.Requirements() {
		_, declared := r.Fields[req.Field]
		builtin := req.Field == "metadata.name" || req.Field == "metadata.namespace" && r.Namespaced
		if !declared && !builtin {
			return fmt.Errorf("field label not supported: %s", req.Field)
		}
	}
	return nil
}
