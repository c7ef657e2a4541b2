package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/cache"
)

// fetchObjects reads what this server would compute from the server that somebody has registered for it. Who asks in this process
// has been authorized by then, so that the question is this server's own.
func (s *Server) fetchObjects(ctx context.Context, r *remote, q *api.Request, selected labels.Selector, f *cache.Selector) ([]*cache.Entry, error) {
	if !r.available {
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("the server of %s is not available", r.gv))
	}
	at := []string{"", "apis", r.gv.Group, r.gv.Version, q.Resource.Plural}
	if q.Namespace != "" {
		at = []string{"", "apis", r.gv.Group, r.gv.Version, "namespaces", q.Namespace, q.Resource.Plural}
	}
	query := url.Values{}
	if selected != nil && !selected.Empty() {
		query.Set("labelSelector", selected.String())
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	var list struct {
		Items []json.RawMessage `json:"items"`
	}
	if _, err := s.fetchJSON(ctx, r, (&url.URL{Path: strings.Join(at, "/"), RawQuery: query.Encode()}).String(), typeJSON, &list); err != nil {
		return nil, apierrors.NewServiceUnavailable(err.Error())
	}
	var out []*cache.Entry
	for _, data := range list.Items {
		obj := q.Resource.New()
		if err := json.Unmarshal(data, obj); err != nil {
			return nil, fmt.Errorf("read %s of another server: %w", q.Resource.Plural, err)
		}
		q.Resource.SetType(obj)
		if f.Matches(obj) {
			out = append(out, &cache.Entry{Object: obj})
		}
	}
	return out, nil
}
