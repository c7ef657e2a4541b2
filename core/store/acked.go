package store

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
)

// acked keeps the highest revision that a call here was answered with: of anything, and of writes below each first part of the keys, so
// that who reads a kind that is seldom written has nothing to wait for while others are.
type acked struct {
	all   atomic.Int64
	start atomic.Int64 // what all was when the store became ready
	parts atomic.Pointer[map[string]*atomic.Int64]
	mu    sync.Mutex // of who adds a part
}

// saw is called with every answer of etcd.
func (a *acked) saw(revision int64) { raise(&a.all, revision) }

// wrote is called besides when the answer was to a write of a key, before it is passed on.
func (a *acked) wrote(key string, revision int64) { raise(a.part(firstPart(key)), revision) }

// of is the highest revision that a write below a first part of the keys has been answered with, or at least as high as that.
func (a *acked) of(first string) int64 {
	if part := a.known(first); part != nil {
		return max(part.Load(), a.start.Load())
	}
	return a.start.Load()
}

// known is nil for a part below which nothing has been written.
func (a *acked) known(first string) *atomic.Int64 {
	if parts := a.parts.Load(); parts != nil {
		return (*parts)[first]
	}
	return nil
}

func (a *acked) part(first string) *atomic.Int64 {
	if part := a.known(first); part != nil {
		return part
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if part := a.known(first); part != nil {
		return part
	}
	part, parts := &atomic.Int64{}, map[string]*atomic.Int64{}
	if old := a.parts.Load(); old != nil {
		maps.Copy(parts, *old)
	}
	parts[strings.Clone(first)] = part
	a.parts.Store(&parts)
	return part
}

// firstPart is what a key has below the root, up to the next slash.
func firstPart(key string) string {
	rest := strings.TrimPrefix(key, Root)
	first, _, _ := strings.Cut(rest, "/")
	return first
}

func raise(v *atomic.Int64, revision int64) {
	for {
		old := v.Load()
		if revision <= old || v.CompareAndSwap(old, revision) {
			return
		}
	}
}
