//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// load sends requests at a steady rate and keeps what went wrong.
type load struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	mu     sync.Mutex
	sent   int
	failed []error
	last   string
}

func startLoad(url string) *load {
	return startLoadWith(func() (string, error) { return get(url) })
}

func startLoadWith(request func() (string, error)) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel}
	for range 4 {
		l.done.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				body, err := request()
				l.mu.Lock()
				l.sent++
				if l.last = body; err != nil {
					l.failed = append(l.failed, fmt.Errorf("at %s: %w", time.Now().Format("05.000"), err))
				}
				l.mu.Unlock()
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		})
	}
	return l
}

// stop ends the load, of which no request may have failed.
func (l *load) stop(t *testing.T) {
	t.Helper()
	l.cancel()
	l.done.Wait()
	if len(l.failed) > 0 || l.sent < 10 {
		t.Errorf("%d of %d requests failed: %v", len(l.failed), l.sent, l.failed)
	}
}

// rollouts changes the deployment "shop" as users do, under load.
func rollouts(t *testing.T, ns, port string) {
	c := shared
	kubectl := func(args ...string) string {
		t.Helper()
		return c.kubectl(t, append([]string{"-n", ns}, args...)...)
	}
	status := func() {
		t.Helper()
		wantParts(t, kubectl("rollout", "status", "deployment/shop", "--timeout=45s"), `deployment "shop" successfully rolled out`)
	}
	serves := func(version string) {
		t.Helper()
		eventually(t, func() error {
			for range 10 {
				body, err := get(port)
				if err != nil || !strings.HasPrefix(body, "version="+version+" ") {
					return fmt.Errorf("answered %q, %v: %w", body, err, errUnexpected)
				}
			}
			return nil
		})
	}
	l := startLoad(port)
	wantParts(t, kubectl("set", "image", "deployment/shop", "demo=gantry.local/demo:2"), "deployment.apps/shop image updated")
	status()
	serves("2")
	wantParts(t, kubectl("rollout", "history", "deployment/shop"), "REVISION", "CHANGE-CAUSE", "1 ", "2 ")
	wantParts(t, kubectl("rollout", "history", "deployment/shop", "--revision=1"), "gantry.local/demo:1")
	wantParts(t, kubectl("rollout", "undo", "deployment/shop"), "deployment.apps/shop rolled back")
	status()
	serves("1")
	l.stop(t)

	wantParts(t, kubectl("rollout", "pause", "deployment/shop"), "deployment.apps/shop paused")
	kubectl("set", "image", "deployment/shop", "demo=gantry.local/demo:2")
	kubectl("wait", "deployment/shop", "--for=jsonpath={.status.observedGeneration}="+kubectl("get", "deployment", "shop", "-o", "jsonpath={.metadata.generation}"), "--timeout=20s")
	serves("1")
	if sets := strings.Fields(kubectl("get", "rs", "-o", "name")); len(sets) != 2 {
		t.Errorf("a paused rollout made a replica set: %v", sets)
	}
	wantParts(t, kubectl("rollout", "resume", "deployment/shop"), "deployment.apps/shop resumed")
	status()
	serves("2")
	wantParts(t, kubectl("scale", "deployment/shop", "--replicas=1"), "deployment.apps/shop scaled")
	status()
	kubectl("wait", "deployment/shop", "--for=jsonpath={.status.replicas}=1", "--timeout=45s")
	wantParts(t, kubectl("rollout", "restart", "deployment/shop"), "deployment.apps/shop restarted")
	status()
}
