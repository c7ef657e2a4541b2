package cni

import "sync"

// lock serialises the calls for one sandbox.
type lock struct {
	sync.Mutex
	users int
}

func (n *Network) lock(id string) (unlock func()) {
	n.mu.Lock()
	l, ok := n.locks[id]
	if !ok {
		l = &lock{}
		n.locks[id] = l
	}
	l.users++
	n.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		n.mu.Lock()
		defer n.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(n.locks, id)
		}
	}
}
