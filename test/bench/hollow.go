package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/agent"
	"github.com/gantryio/gantry/plugins/runtime/fake"
)

const (
	hollowNodes = 1000
	hollowPods  = 10_000
	// connections is how many clients the agents share: a connection carries so many watches only.
	connections = 20
	creators    = 16
	hollowLabel = "bench.gantry.dev/hollow"
)

// hollow runs a thousand agents with fake runtimes in this process, over HTTPS, and creates ten thousand pods.
func hollow(ctx context.Context, c *cluster) error {
	if err := c.start(ctx); err != nil {
		return err
	}
	began := time.Now()
	stop, err := c.startHollow(ctx)
	if err != nil {
		return err
	}
	defer stop()
	print("1,000 hollow nodes Ready", "%s", round(time.Since(began)))
	before, err := c.usage()
	if err != nil {
		return err
	}
	own := ownCPU()
	began = time.Now()
	failed := make(chan error, 1)
	go func() { failed <- c.createAll(ctx, hollowPods, func(n int) client.Object { return hollowPod(n) }) }()
	running := map[string]bool{}
	err = c.await(ctx, func(_ bool, p *corev1.Pod) bool {
		if p.Status.Phase == corev1.PodRunning {
			running[p.Name] = true
		}
		return len(running) == hollowPods
	})
	took := time.Since(began)
	if err := <-failed; err != nil {
		return err
	}
	if err != nil {
		return err
	}
	after, err := c.usage()
	if err != nil {
		return err
	}
	print("10,000 pods created to Running", "%s, %.2f ms of server CPU each, %.2f ms of agents and creators, server %.0f MB",
		round(took), (after.cpu-before.cpu).Seconds()*1000/hollowPods, (ownCPU()-own).Seconds()*1000/hollowPods, float64(after.rss)/1e6)
	return nil
}

// startHollow runs the agents until stop and waits until their nodes are ready.
func (c *cluster) startHollow(ctx context.Context) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	var agents sync.WaitGroup
	stop = func() {
		cancel()
		agents.Wait()
	}
	for i := range connections {
		api, err := c.connection()
		if err != nil {
			stop()
			return nil, err
		}
		for n := range hollowNodes / connections {
			a := hollowAgent(api, fmt.Sprintf("hollow-%d", i*hollowNodes/connections+n), quiet)
			agents.Go(func() { _ = a.Run(ctx) })
		}
	}
	if err := c.awaitNodes(ctx, hollowNodes); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// ownCPU is what this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// connection is a client with a connection of its own, speaking protobuf.
func (c *cluster) connection() (client.WithWatch, error) {
	config := rest.CopyConfig(c.config)
	config.ContentType = "application/vnd.kubernetes.protobuf"
	// client-go shares the connection of equal configurations; with a dialer of its own one has its own.
	config.Dial = (&net.Dialer{}).DialContext
	return client.NewWithWatch(config, client.Options{Scheme: scheme.Scheme})
}

func hollowAgent(api client.WithWatch, name string, log *slog.Logger) *agent.Agent {
	return &agent.Agent{
		Config: agent.Config{
			NodeName: name, Hostname: name, NodeIPs: []string{"192.0.2.1"}, Hollow: true, Labels: map[string]string{hollowLabel: ""}, NoEviction: true, Port: -1,
			Capacity: corev1.ResourceList{
				corev1.ResourceCPU: resource.MustParse("8"), corev1.ResourceMemory: resource.MustParse("32Gi"),
			},
		},
		API: api, Log: log,
		Runtimes: agent.Static{{Ref: agent.Ref{Plugin: "fake", Version: "1"}, Runtime: fake.New(fake.Options{Started: exitWhenAsked})}},
	}
}

func (c *cluster) awaitNodes(ctx context.Context, want int) error {
	w, err := c.api.Watch(ctx, &corev1.NodeList{})
	if err != nil {
		return err
	}
	defer w.Stop()
	up := map[string]bool{}
	for e := range w.ResultChan() {
		node, ok := e.Object.(*corev1.Node)
		if !ok {
			continue
		}
		if len(node.Spec.Taints) == 0 && node.Name != "" {
			up[node.Name] = true
		}
		if len(up) > want { // this machine's own node is one more
			return nil
		}
	}
	return fmt.Errorf("only %d nodes are ready: %w", len(up), ctx.Err())
}

// createAll creates n objects, several at a time.
func (c *cluster) createAll(ctx context.Context, n int, object func(n int) client.Object) error {
	api, err := c.connection()
	if err != nil {
		return err
	}
	next := make(chan int)
	errs := make(chan error, creators)
	var wg sync.WaitGroup
	for range creators {
		wg.Go(func() {
			for n := range next {
				if err := api.Create(ctx, object(n)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	for i := range n {
		select {
		case next <- i:
		case err := <-errs:
			close(next)
			return err
		case <-ctx.Done():
			close(next)
			return ctx.Err()
		}
	}
	close(next)
	wg.Wait()
	return nil
}

func hollowPod(n int) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("hollow-%d", n), Namespace: "default", Labels: map[string]string{"app": "hollow"}},
		Spec: corev1.PodSpec{
			// The real node of this machine must not run them.
			Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
					MatchExpressions: []corev1.NodeSelectorRequirement{{Key: hollowLabel, Operator: corev1.NodeSelectorOpExists}},
				}}},
			}},
			Containers: []corev1.Container{{
				Name: "c", Image: "gantry.local/demo:1", ImagePullPolicy: corev1.PullIfNotPresent,
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
					corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("64Mi"),
				}},
			}},
		},
	}
}
