package cache

import (
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/api"
)

// Share makes obj, which is about to be written, take as little memory of its own as it can: what equals old, the version that it
// was made of, lies where it does, and otherwise, and of a new object, for which old is nil, what equals an object like it. obj has to be the
// caller's alone, but for what it has from old in the same place.
func (c *Collection) Share(obj, old api.Object) {
	if c.kind().Custom() {
		return
	}
	like, other := old, c.like(obj)
	if like == nil || other == like {
		like, other = other, nil
	}
	if like != nil {
		share(obj, like, other)
	}
	owners := obj.GetManagedFields()
	var before []metav1.ManagedFieldsEntry
	if like != nil {
		before = like.GetManagedFields()
	}
	for i := range owners {
		if i >= len(before) || owners[i].FieldsV1 != before[i].FieldsV1 { // else it is known, or all of the list is shared
			owners[i].FieldsV1 = known.fields(owners[i].FieldsV1)
		}
	}
}

// mostAlike is how many objects a collection holds for others to be like.
const mostAlike = 512

// kin is who is likely to be alike: the objects of one controller, or else of one namespace.
func kin(obj api.Object) string {
	owners := obj.GetOwnerReferences()
	for i := range owners {
		if c := owners[i].Controller; c != nil && *c {
			return string(owners[i].UID)
		}
	}
	return obj.GetNamespace()
}

func (c *Collection) like(obj api.Object) api.Object {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if e := c.alike[kin(obj)]; e != nil {
		return e.Object
	}
	return nil
}

// join shares the memory of what was decoded, at once with what is decoded next.
func (c *Collection) join(e *Entry) {
	c.Share(e.Object, nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.newestLocked(e)
}

// newestLocked makes an entry that of its kin; prev, if any, is its previous version.
func (c *Collection) newestLocked(e *Entry) {
	if len(c.alike) >= mostAlike || c.alike == nil {
		c.alike = map[string]*Entry{}
	}
	c.alike[kin(e.Object)] = e
}

// goneLocked makes sure that nothing is held for others to be like that is not there any more.
func (c *Collection) goneLocked(e *Entry) {
	if who := kin(e.Object); c.alike[who] == e {
		delete(c.alike, who)
	}
}

// known are the sets of fields that many objects' managers own: the same for all that are written in the same way.
var known = fieldSets{now: map[string]*metav1.FieldsV1{}}

// fieldSets remembers those that have been met lately.
type fieldSets struct {
	mu          sync.Mutex
	now, before map[string]*metav1.FieldsV1
}

const (
	mostFieldSets = 2048
	largeFieldSet = 4 << 10 // bytes; one so large is hardly met twice
)

// fields returns one that equals f and stays as it is.
func (s *fieldSets) fields(f *metav1.FieldsV1) *metav1.FieldsV1 {
	if f == nil || len(f.Raw) > largeFieldSet {
		return f
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.now[string(f.Raw)]; have != nil {
		return have
	}
	if have := s.before[string(f.Raw)]; have != nil {
		f = have
	}
	if len(s.now) >= mostFieldSets {
		s.now, s.before = map[string]*metav1.FieldsV1{}, s.now
	}
	s.now[string(f.Raw)] = f
	return f
}
