//go:build e2e

package api_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// acknowledged is what the server said it had written.
type acknowledged struct {
	mu      sync.Mutex
	created map[string]bool
	counter map[string]int
}

// write creates objects and counts in one of its own until ctx ends, whatever happens to the server.
func (a *acknowledged) write(ctx context.Context, s *server, id int) {
	counter := fmt.Sprintf("counter-%d", id)
	for i := 0; ctx.Err() == nil; i++ {
		client, err := s.tryClient()
		if err != nil {
			continue
		}
		maps := client.CoreV1().ConfigMaps("default")
		for ; ctx.Err() == nil; i++ {
			name := fmt.Sprintf("w%d-%d", id, i)
			if _, err := maps.Create(ctx, configMap(name, map[string]string{"i": strconv.Itoa(i)}), metav1.CreateOptions{}); err != nil {
				break
			}
			a.note(func() { a.created[name] = true })
			cm := configMap(counter, map[string]string{"n": strconv.Itoa(i)})
			_, err := maps.Update(ctx, cm, metav1.UpdateOptions{})
			if apierrors.IsNotFound(err) {
				_, err = maps.Create(ctx, cm, metav1.CreateOptions{})
			}
			if err != nil {
				break
			}
			a.note(func() { a.counter[counter] = i })
		}
	}
}

func (a *acknowledged) note(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

func TestSixtyKillsLoseNoAcknowledgedWrite(t *testing.T) {
	s := &server{data: t.TempDir(), port: 6446}
	s.start(t)
	a := &acknowledged{created: map[string]bool{}, counter: map[string]int{}}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writers sync.WaitGroup
	for id := range 4 {
		writers.Go(func() { a.write(ctx, s, id) })
	}
	for range 60 {
		before := a.count()
		eventually(t, 30*time.Second, func() error {
			if a.count() < before+4 {
				return fmt.Errorf("no writes after a restart: %w", errNotYet)
			}
			return nil
		})
		time.Sleep(rand.N(100 * time.Millisecond)) // to hit another moment each time
		s.kill()
		s.start(t)
	}
	stop()
	writers.Wait()
	s.kill()
	s.start(t)
	list, err := s.client(t).CoreV1().ConfigMaps("default").List(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]string{}
	for _, cm := range list.Items {
		have[cm.Name] = cm.Data["i"] + cm.Data["n"]
	}
	for name := range a.created {
		if _, ok := have[name]; !ok {
			t.Errorf("%s was acknowledged and is lost", name)
		}
	}
	for name, n := range a.counter {
		if got, err := strconv.Atoi(have[name]); err != nil || got < n {
			t.Errorf("%s is %d (%v), %d was acknowledged", name, got, err, n)
		}
	}
	t.Logf("%d objects survived", len(a.created))
}

func (a *acknowledged) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.created)
}
