package api

import (
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Object is what every served type is.
type Object interface {
	runtime.Object
	metav1.Object
}

// Kind declares one served kind; T is its struct (corev1.Pod), whose pointer is an [Object].
// Hooks are optional. They own the object that they are given first and may change it, unless they
// validate; the old object is shared and must not be changed.
type Kind[T any] struct {
	Group, Version, Name, Plural string
	// Singular is the lower-case name when empty.
	Singular string
	// Short are kubectl's short names; Categories are groups such as "all".
	Short, Categories []string
	Namespaced        bool
	// StoragePrefix is the folder under /registry/ when it is not the plural (nodes are "minions").
	StoragePrefix string
	// Earlier are versions in which objects may be stored that differ from this one in nothing but their name, Former those that
	// differ in more. What is stored in another version that is not served either cannot be read.
	Earlier []string
	Former  []Former
	// TTLSeconds removes objects this long after their last write; 0 keeps them.
	TTLSeconds int64

	Subresources Subresources
	Scale        *Scale[T]
	// Parts are further subresources by their names, each a part of the object that is written on its own. For "status" only
	// Prepare is used.
	Parts map[string]Part[T]
	// Generation says that metadata.generation counts the changes of everything but metadata and status.
	Generation bool
	// StatusMetadata lets writes of the status subresource change labels and annotations, as Kubernetes
	// does for its older kinds; elsewhere only the status is taken.
	StatusMetadata bool
	// StatusOnCreate keeps the status that a create brings along, as Kubernetes does for nodes, which
	// register with theirs; elsewhere a new object has no status.
	StatusOnCreate bool
	// UnconditionalUpdateForbidden refuses updates without a resourceVersion.
	UnconditionalUpdateForbidden bool
	// CreateOnUpdate lets PUT of an absent name create it (leases, events, endpoints…).
	CreateOnUpdate bool

	// Question says that objects are not stored: a create is a question, answered in the status at once, and there are
	// no other verbs.
	Question bool
	// Computed says that objects are not stored but made when somebody asks for them. They can be read; there are no
	// other verbs, and no watches.
	Computed bool
	// OrphanDependents makes a deletion without a propagation policy leave the dependents behind, as Kubernetes does
	// for what it deleted so before there was garbage collection. OrphanWarning is then told to who asks for one.
	OrphanDependents bool
	OrphanWarning    string

	// Deprecated is told to whoever reads or writes objects over HTTP.
	Deprecated string

	// SharesBody says that an update of the metadata alone may share the rest with the object that it replaces, for Prepare and admission
	// write nothing into what an object that has been stored refers to elsewhere. Default is not called then.
	SharesBody bool
	// Default fills what the user left out. It is idempotent.
	Default func(obj *T)
	// Prepare runs before validation, after the server has dealt with status and generation; old is
	// nil on create.
	Prepare func(obj, old *T)
	// ValidateName checks metadata.name; a DNS subdomain when nil.
	ValidateName func(name string, prefix bool) []string
	// Validate checks a whole object; old is nil on create.
	Validate func(obj, old *T) field.ErrorList
	// ValidateStatus checks a write of the status subresource.
	ValidateStatus func(obj, old *T) field.ErrorList
	// Warn returns the sentences that the Warning headers of a write carry.
	Warn func(obj, old *T) []string

	// Grace makes deletion graceful: it returns for how many seconds the object stays, marked as being
	// deleted, for whoever runs it to stop; asked is the caller's wish, nil when there is none.
	Grace func(obj *T, asked *int64) int64
	// MarkDeleted runs when an object is marked as being deleted, beside its deletionTimestamp.
	MarkDeleted func(obj *T)
	// Held tells that something besides metadata.finalizers keeps a deleted object from going.
	Held func(obj *T) bool

	// Columns print the table, all of it: see [NameColumn] and [AgeColumn].
	Columns []Column[T]
	// TableOrder compares two objects whose rows stand in one table; rows are in the list's order when nil.
	TableOrder func(a, b *T) int
	// Fields are the selectable fields beyond metadata.name and metadata.namespace.
	Fields map[string]func(obj *T) string
	// Indexed names those of Fields whose equality watches must not cost the other watchers anything.
	Indexed []string
}

// Subresources is the set of the generic subresources of a kind.
type Subresources uint8

// The generic subresources.
const (
	Status Subresources = 1 << iota
	// StatusAndScale needs [Kind.Scale].
	scale
	StatusAndScale = Status | scale
)

// Part is a subresource that writes a part of the status, or of the rest.
type Part[T any] struct {
	// Body says that it is a part of everything but metadata and status, and that a change of it counts in the generation.
	Body bool
	// Owned are the only fields that a write of the part can own, when it is one of the body: the names of fields from the
	// object on, and "*" for every element of a list. What is below them is owned as well.
	Owned [][]string
	// Prepare leaves of obj what the part may change, and of the rest what old has. Metadata, and the spec or the status,
	// whichever it is not a part of, are old's by then.
	Prepare func(obj, old *T)
	// Validate checks the write.
	Validate func(obj, old *T) field.ErrorList
}

// Scale tells how the scale subresource reads and writes a kind.
type Scale[T any] struct {
	// Get returns replicas, status.replicas and the selector in its string form.
	Get func(obj *T) (spec, status int32, selector string)
	Set func(obj *T, replicas int32)
}

// Column is a column of the table that kubectl prints.
type Column[T any] struct {
	Name string
	// Type is string, integer, boolean, number or date; "string" when empty.
	Type, Format, Description string
	// Priority 0 is always printed, others only with -o wide.
	Priority int32
	// Cell returns a string, bool, integer or float.
	Cell func(obj *T) any
}

// Resource erases the type of the declaration. It panics when T is no [Object]: a declaration that
// cannot work must not start.
func (k Kind[T]) Resource() *Resource {
	r := k.describe()
	k.addHooks(r)
	k.addColumns(r)
	for name, value := range k.Fields {
		r.Fields[name] = func(o Object) string { return value(cast[T](o)) }
	}
	return r
}

func (k Kind[T]) describe() *Resource {
	r := newResource(k.Group, k.Version, k.Name, k.Plural, any(new(T)).(Object))
	if k.Singular != "" {
		r.Singular = k.Singular
	}
	if k.StoragePrefix != "" {
		r.StoragePrefix = k.StoragePrefix
	}
	r.Short, r.Categories = k.Short, k.Categories
	r.Namespaced, r.TTLSeconds = k.Namespaced, k.TTLSeconds
	r.HasStatus, r.HasScale = k.Subresources&Status != 0, k.Subresources&scale != 0
	r.Generation, r.StatusMetadata = k.Generation, k.StatusMetadata
	r.UnconditionalUpdateForbidden, r.CreateOnUpdate, r.SharesBody = k.UnconditionalUpdateForbidden, k.CreateOnUpdate, k.SharesBody
	r.StatusOnCreate = k.StatusOnCreate
	r.Question, r.Computed = k.Question, k.Computed
	r.OrphanDependents, r.OrphanWarning = k.OrphanDependents, k.OrphanWarning
	r.Indexed = k.Indexed
	r.Deprecated, r.Earlier, r.former = k.Deprecated, k.Earlier, k.Former
	if k.ValidateName != nil {
		r.ValidateName = k.ValidateName
	}
	return r
}

func (k Kind[T]) addHooks(r *Resource) {
	if k.Default != nil {
		r.Default = func(o Object) { k.Default(cast[T](o)) }
	}
	if k.Prepare != nil {
		r.Prepare = func(o, old Object) { k.Prepare(cast[T](o), cast[T](old)) }
	}
	if k.Validate != nil {
		r.Validate = func(o, old Object) field.ErrorList { return k.Validate(cast[T](o), cast[T](old)) }
	}
	if k.ValidateStatus != nil {
		r.ValidateStatus = func(o, old Object) field.ErrorList { return k.ValidateStatus(cast[T](o), cast[T](old)) }
	}
	if k.Warn != nil {
		r.Warn = func(o, old Object) []string { return k.Warn(cast[T](o), cast[T](old)) }
	}
	if k.Grace != nil {
		r.Grace = func(o Object, asked *int64) int64 { return k.Grace(cast[T](o), asked) }
	}
	if k.MarkDeleted != nil {
		r.MarkDeleted = func(o Object) { k.MarkDeleted(cast[T](o)) }
	}
	if k.Held != nil {
		r.Held = func(o Object) bool { return k.Held(cast[T](o)) }
	}
	for name, p := range k.Parts {
		part := ResourcePart{Body: p.Body, Owned: p.Owned, Prepare: func(o, old Object) { p.Prepare(cast[T](o), cast[T](old)) }}
		if p.Validate != nil {
			part.Validate = func(o, old Object) field.ErrorList { return p.Validate(cast[T](o), cast[T](old)) }
		}
		r.Parts[name] = part
	}
	if k.Scale != nil {
		r.GetScale = func(o Object) *autoscalingv1.Scale { return scaleOf(o, k.Scale.Get, cast[T](o)) }
		r.SetScale = func(o Object, replicas int32) { k.Scale.Set(cast[T](o), replicas) }
	}
}

func (k Kind[T]) addColumns(r *Resource) {
	for _, c := range k.Columns {
		if c.Type == "" {
			c.Type = "string"
		}
		r.Columns = append(r.Columns, metav1.TableColumnDefinition{
			Name: c.Name, Type: c.Type, Format: c.Format, Description: c.Description, Priority: c.Priority,
		})
	}
	if k.TableOrder != nil {
		r.TableOrder = func(a, b Object) int { return k.TableOrder(cast[T](a), cast[T](b)) }
	}
	if len(k.Columns) == 0 {
		return
	}
	r.Cells = func(o Object) []any {
		obj, cells := cast[T](o), make([]any, len(k.Columns))
		for i := range k.Columns {
			cells[i] = k.Columns[i].Cell(obj)
		}
		return cells
	}
}

func cast[T any](o Object) *T {
	if o == nil {
		return nil
	}
	return any(o).(*T)
}

func scaleOf[T any](o Object, get func(*T) (int32, int32, string), obj *T) *autoscalingv1.Scale {
	spec, status, selector := get(obj)
	return &autoscalingv1.Scale{
		TypeMeta: metav1.TypeMeta{APIVersion: "autoscaling/v1", Kind: "Scale"},
		ObjectMeta: metav1.ObjectMeta{
			Name: o.GetName(), Namespace: o.GetNamespace(), UID: o.GetUID(),
			ResourceVersion: o.GetResourceVersion(), CreationTimestamp: o.GetCreationTimestamp(),
		},
		Spec:   autoscalingv1.ScaleSpec{Replicas: spec},
		Status: autoscalingv1.ScaleStatus{Replicas: status, Selector: selector},
	}
}
