package store

import (
	"path/filepath"

	"go.etcd.io/etcd/server/v3/storage/datadir"
)

// Mapped calls do with the path of the embedded member's database, without symbolic links, whose mapping stays where it is
// meanwhile. It does not call it when etcd is external, or closed.
func (s *Store) Mapped(do func(path string)) {
	if s.member == nil {
		return
	}
	path, err := filepath.Abs(datadir.ToBackendFileName(s.space.dir))
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return
	}
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.closed {
		return
	}
	// As long as there is a transaction, the database is neither mapped anew nor closed, as it is while it is defragmented.
	tx := s.member.etcd.Server.Backend().ConcurrentReadTx()
	defer tx.RUnlock()
	do(path)
}
