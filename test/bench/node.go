package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"syscall"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	rounds   = 20
	replicas = 50
	settle   = 10 * time.Second // before an idle process is measured
	idleTime = 30 * time.Second
)

// startup measures `gantry up` with warm files until its node is ready and the shipped images are there.
func startup(ctx context.Context, c *cluster) error {
	var cold time.Duration
	var times []time.Duration
	for i := range 6 {
		began := time.Now()
		if err := c.start(ctx); err != nil {
			return err
		}
		if took := time.Since(began); i == 0 {
			cold = took
		} else {
			times = append(times, took)
		}
		if err := c.stop(ctx); err != nil {
			return err
		}
	}
	print("up to node Ready", "%s; first start ever %s", spread(times), round(cold))
	return nil
}

func idleEmpty(ctx context.Context, c *cluster) error { return idle(ctx, c, "idle") }

func idle(ctx context.Context, c *cluster, name string) error {
	if err := c.start(ctx); err != nil {
		return err
	}
	time.Sleep(settle)
	before, err := c.usage()
	if err != nil {
		return err
	}
	time.Sleep(idleTime)
	after, err := c.usage()
	if err != nil {
		return err
	}
	print(name, "%.0f MB, %.2f%% of a core", float64(after.rss)/1e6, 100*float64(after.cpu-before.cpu)/float64(idleTime))
	return nil
}

func demoPod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}, Spec: demoSpec()}
}

func demoSpec() corev1.PodSpec {
	return corev1.PodSpec{Containers: []corev1.Container{{
		Name: "demo", Image: "gantry.local/demo:1",
		Env: []corev1.EnvVar{{Name: "DEMO_LINGER", Value: "0s"}},
	}}}
}

// startPod creates a pod and returns how long it took to be ready.
func startPod(ctx context.Context, c *cluster, name string) (time.Duration, *corev1.Pod, error) {
	began := time.Now()
	if err := c.api.Create(ctx, demoPod(name)); err != nil {
		return 0, nil, err
	}
	var last *corev1.Pod
	err := c.await(ctx, func(_ bool, p *corev1.Pod) bool {
		last = p
		return p.Name == name && ready(p)
	})
	return time.Since(began), last, err
}

// removePod deletes a pod and returns how long it took to be gone.
func removePod(ctx context.Context, c *cluster, name string) (time.Duration, error) {
	began := time.Now()
	if err := c.api.Delete(ctx, demoPod(name)); err != nil {
		return 0, err
	}
	err := c.await(ctx, func(deleted bool, p *corev1.Pod) bool { return deleted && p.Name == name })
	return time.Since(began), err
}

// podLatency starts pods one at a time, and takes the runtime's own calls from the plugin host's metrics.
func podLatency(ctx context.Context, c *cluster) error {
	if err := c.start(ctx); err != nil {
		return err
	}
	var whole, outside []time.Duration
	for i := range rounds {
		name := fmt.Sprintf("pod-%d", i)
		before, err := c.runtimeCalls(ctx)
		if err != nil {
			return err
		}
		took, _, err := startPod(ctx, c, name)
		if err != nil {
			return err
		}
		after, err := c.runtimeCalls(ctx)
		if err != nil {
			return err
		}
		whole, outside = append(whole, took), append(outside, took-(after-before))
		if _, err := removePod(ctx, c, name); err != nil {
			return err
		}
	}
	print("pod create to Ready", "%s; outside the runtime's calls %s", spread(whole), spread(outside))
	return nil
}

// crashLatency ends the container's process and waits until it runs again.
func crashLatency(ctx context.Context, c *cluster) error {
	if err := c.start(ctx); err != nil {
		return err
	}
	var times []time.Duration
	for i := range rounds {
		name := fmt.Sprintf("crash-%d", i)
		_, p, err := startPod(ctx, c, name)
		if err != nil {
			return err
		}
		began, err := crash(ctx, p.Status.PodIP)
		if err != nil {
			return err
		}
		err = c.await(ctx, func(_ bool, p *corev1.Pod) bool {
			s := p.Status.ContainerStatuses
			return p.Name == name && len(s) == 1 && s[0].RestartCount > 0 && s[0].State.Running != nil
		})
		if err != nil {
			return err
		}
		times = append(times, time.Since(began))
		if _, err := removePod(ctx, c, name); err != nil {
			return err
		}
	}
	print("first crash to running", "%s", spread(times))
	return nil
}

// crash makes the demo's process end. A pod without a probe is ready before its process listens, so this
// may take some tries; the clock of the benchmark starts with the one that gets through.
func crash(ctx context.Context, ip string) (time.Time, error) {
	// A connection of its own: addresses are used again.
	transport := &http.Transport{DisableKeepAlives: true}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ip+":8080/crash?code=1", nil)
		if err != nil {
			return time.Time{}, err
		}
		began := time.Now()
		resp, err := transport.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return began, ctx.Err() // the process ends before or after it has answered
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func deleteLatency(ctx context.Context, c *cluster) error {
	if err := c.start(ctx); err != nil {
		return err
	}
	var times []time.Duration
	for i := range rounds {
		name := fmt.Sprintf("delete-%d", i)
		if _, _, err := startPod(ctx, c, name); err != nil {
			return err
		}
		took, err := removePod(ctx, c, name)
		if err != nil {
			return err
		}
		times = append(times, took)
	}
	print("delete to gone", "%s", spread(times))
	return nil
}

// deployment starts and removes 50 replicas, and measures them idle in between.
func deployment(ctx context.Context, c *cluster) error {
	if err := c.start(ctx); err != nil {
		return err
	}
	n := int32(replicas)
	labels := map[string]string{"app": "bench"}
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "bench", Namespace: "default"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &n, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: demoSpec()},
		},
	}
	began := time.Now()
	if err := c.api.Create(ctx, d.DeepCopy()); err != nil {
		return err
	}
	up := map[string]bool{}
	err := c.await(ctx, func(_ bool, p *corev1.Pod) bool {
		if ready(p) {
			up[p.Name] = true
		}
		return len(up) == replicas
	})
	if err != nil {
		return err
	}
	print("deployment of 50 to all Ready", "%s", round(time.Since(began)))
	if err := idle(ctx, c, "50 pods, idle"); err != nil {
		return err
	}
	began = time.Now()
	if err := c.api.Delete(ctx, d, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
		return err
	}
	err = c.await(ctx, func(deleted bool, p *corev1.Pod) bool {
		if deleted {
			delete(up, p.Name)
		}
		return len(up) == 0
	})
	print("deployment of 50 to all gone", "%s", round(time.Since(began)))
	return err
}

// spread prints the median and the extremes.
func spread(times []time.Duration) string {
	slices.Sort(times)
	return fmt.Sprintf("p50 %s (min %s, max %s)", round(times[len(times)/2]), round(times[0]), round(times[len(times)-1]))
}

func round(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(100 * time.Microsecond)
}
