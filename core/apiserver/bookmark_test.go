package apiserver

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/all"
	"github.com/gantryio/gantry/core/cache"
)

// A watch that sees nothing has a bookmark each minute, if its client asked for bookmarks, and ends with its context.
func TestBookmarks(t *testing.T) {
	for _, asked := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			kinds := all.Kinds()
			s := &Server{Registry: kinds, Cache: cache.New(nil, kinds)}
			const minutes = 3
			ctx, cancel := context.WithTimeout(t.Context(), minutes*time.Minute+time.Second)
			defer cancel()
			q := &api.Request{Resource: kinds.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"})}
			w, err := s.Watch(ctx, q, &ListOptions{ResourceVersion: "0", Bookmarks: asked})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			var events []WatchEvent
			for begun := time.Now(); err == nil; {
				n := len(events)
				if events, err = w.Next(ctx, events); err != nil {
					break
				}
				if since := time.Since(begun); len(events) != n+1 || events[n].Type != watch.Bookmark || since != time.Duration(n+1)*time.Minute {
					t.Errorf("after %v: %v", since, events[n:])
				}
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			if want := map[bool]int{true: minutes}[asked]; len(events) != want {
				t.Errorf("%d bookmarks, want %d", len(events), want)
			}
		})
	}
}
