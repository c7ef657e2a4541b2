package store

import (
	"context"
	"fmt"
)

// Size is how many bytes the database takes up, unused room included; of an external etcd, that of the member that answers.
func (s *Store) Size(ctx context.Context) (int64, error) {
	if s.member != nil {
		return s.member.etcd.Server.Backend().Size(), nil
	}
	endpoints := s.client.Endpoints()
	if len(endpoints) == 0 {
		return 0, fmt.Errorf("ask etcd for its size: no endpoints")
	}
	status, err := s.client.Status(ctx, endpoints[0])
	if err != nil {
		return 0, fmt.Errorf("ask etcd for its size: %w", err)
	}
	return status.DbSize, nil
}
