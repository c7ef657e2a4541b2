package main

import (
	"context"
	"fmt"
	"time"
)

const (
	largeNodes, largePods = 5_000, 30_000
	// storedObjects are in store when the server is started anew.
	storedObjects = 20_000
	createdMaps   = 30_000
)

// empty is a server that has nothing to do.
func empty(ctx context.Context, c *cluster) error {
	return c.withServer(ctx, func(s *apiServer) error {
		time.Sleep(settle)
		return s.printMemory("server, idle and empty")
	})
}

func (s *apiServer) printMemory(name string) error {
	m, err := s.memory()
	if err == nil {
		print(name, "%s", m)
	}
	return err
}

// created measures creates of 1 KiB, what the server keeps of them, and how soon it is ready with them in store.
func created(ctx context.Context, c *cluster) error {
	return c.withServer(ctx, func(s *apiServer) error {
		create := func(from int) func(c *caller, i int) error {
			return func(c *caller, i int) error {
				_, err := c.do(ctx, "POST", configMaps, configMapBody(fmt.Sprintf("cm-%d", from+i)), "")
				return err
			}
		}
		total := 0
		step := func(n int) error {
			cpu, began := s.cpu(), time.Now()
			took, err := s.load(ctx, writers, n, create(total))
			if err != nil {
				return err
			}
			total += n
			print(fmt.Sprintf("%d ConfigMap creates, 64 clients", n), "%d µs of server CPU each, etcd included; %.0f a second, p99 %s",
				(s.cpu()-cpu).Microseconds()/int64(n), float64(n)/time.Since(began).Seconds(), took.at(99))
			return nil
		}
		if err := step(storedObjects); err != nil {
			return err
		}
		if err := s.restarted(ctx); err != nil {
			return err
		}
		if err := s.profiled(ctx, "create", func() error { return step(createdMaps - storedObjects) }); err != nil {
			return err
		}
		if err := s.printMemory("after 30,000 creates"); err != nil {
			return err
		}
		time.Sleep(settle)
		return s.printMemory("the same, some seconds later")
	})
}

// restarted stops the server and measures how soon it is ready with what is in store.
func (s *apiServer) restarted(ctx context.Context) error {
	var took times
	var cpu time.Duration
	for range 5 {
		s.stop()
		t, err := s.start(ctx)
		if err != nil {
			return err
		}
		took, cpu = append(took, t), s.cpu()
	}
	print("ready after start, 20,000 objects", "p50 %s, longest %s, %d ms of CPU", took.at(50), took.at(100), cpu.Milliseconds())
	return nil
}

func largeNode(i int) []byte {
	now := time.Now().UTC().Format(time.RFC3339)
	name := fmt.Sprintf("node-%d", i)
	return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Node","metadata":{"name":%q,"labels":{"kubernetes.io/hostname":%q,"topology.kubernetes.io/zone":"z%d",`+
		`"kubernetes.io/os":"linux","kubernetes.io/arch":"amd64"}},"status":{"capacity":{"cpu":"32","memory":"256Gi","pods":"110","ephemeral-storage":"100Gi"},`+
		`"allocatable":{"cpu":"32","memory":"256Gi","pods":"110","ephemeral-storage":"100Gi"},`+
		`"conditions":[{"type":"Ready","status":"True","reason":"KubeletReady","lastHeartbeatTime":%q,"lastTransitionTime":%q}],`+
		`"addresses":[{"type":"InternalIP","address":"10.250.%d.%d"}],"nodeInfo":{"kubeletVersion":"v1.37.0","operatingSystem":"linux","architecture":"amd64"}}}`,
		name, name, i%10, now, now, i/250, i%250+1)
}

func largePod(i int) []byte {
	return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"pod-%d","labels":{"app":"bench"}},"spec":{"automountServiceAccountToken":false,`+
		`"containers":[{"name":"main","image":"docker.io/library/demo:1","resources":{"requests":{"cpu":"100m","memory":"100Mi"}}}]}}`, i)
}

// runningStatus is what an agent reports of a pod that runs.
func runningStatus(i int) []byte {
	now := time.Now().UTC().Format(time.RFC3339)
	condition := func(kind string) string {
		return fmt.Sprintf(`{"type":%q,"status":"True","observedGeneration":1,"lastTransitionTime":%q}`, kind, now)
	}
	ip := fmt.Sprintf("10.%d.%d.%d", 128+i/65536, i/256%256, i%256)
	return fmt.Appendf(nil, `{"status":{"phase":"Running","hostIP":"10.250.0.1","hostIPs":[{"ip":"10.250.0.1"}],"podIP":%q,"podIPs":[{"ip":%q}],"startTime":%q,"conditions":[%s,%s,%s,%s],`+
		`"containerStatuses":[{"name":"main","image":"docker.io/library/demo:1","imageID":"docker.io/library/demo@sha256:%064x","containerID":"containerd://%064x",`+
		`"ready":true,"started":true,"restartCount":0,"state":{"running":{"startedAt":%q}}}]}}`, ip, ip, now,
		condition("Initialized"), condition("PodReadyToStartContainers"), condition("ContainersReady"), condition("Ready"), 7, i, now)
}

// large is what a large cluster takes in the server: created, bound by the scheduler, reported running, and read anew after a start.
func large(ctx context.Context, c *cluster) error {
	return c.withServer(ctx, func(s *apiServer) error {
		if _, err := s.load(ctx, readers, largeNodes, func(c *caller, i int) error {
			_, err := c.do(ctx, "POST", "/api/v1/nodes", largeNode(i), "")
			return err
		}); err != nil {
			return err
		}
		defer s.heartbeats(ctx)()
		if _, err := s.load(ctx, readers, largeNodes, func(c *caller, i int) error {
			_, err := c.do(ctx, "PATCH", fmt.Sprintf("/api/v1/nodes/node-%d", i), []byte(`{"spec":{"taints":null}}`), "application/merge-patch+json")
			return err
		}); err != nil {
			return err
		}
		if err := s.printMemory("5,000 nodes"); err != nil {
			return err
		}
		if err := s.runPods(ctx); err != nil {
			return err
		}
		if err := s.printMemory("5,000 nodes, 30,000 running pods"); err != nil {
			return err
		}
		if err := s.profile(ctx, *profiles, "heap?gc=1", "large.heap"); err != nil {
			return err
		}
		time.Sleep(settle)
		if err := s.printMemory("the same, some seconds later"); err != nil {
			return err
		}
		s.stop()
		took, err := s.start(ctx)
		if err != nil {
			return err
		}
		print("the same, started anew", "ready in %s", round(took))
		time.Sleep(settle)
		if err := s.profile(ctx, *profiles, "heap?gc=1", "large-restarted.heap"); err != nil {
			return err
		}
		return s.printMemory("the same, started anew")
	})
}

// beatEvery is how often each node renews its lease. Kubelets do so every 10 seconds; nodes are given up after 40.
const beatEvery = 20 * time.Second

// heartbeats renews the nodes' leases until stop, evenly over time.
func (s *apiServer) heartbeats(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			began := time.Now()
			_, err := s.load(ctx, writers, largeNodes, func(c *caller, i int) error {
				time.Sleep(time.Until(began.Add(time.Duration(i) * beatEvery / largeNodes)))
				return beat(ctx, c, i)
			})
			if err != nil { // it is not running
				time.Sleep(time.Second)
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// beat renews the lease of a node, which is made when the server does not have it.
func beat(ctx context.Context, c *caller, i int) error {
	lease := func(method, kind string) error {
		name := fmt.Sprintf("node-%d", i)
		body := fmt.Appendf(nil, `{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":%q},"spec":{"holderIdentity":%q,"leaseDurationSeconds":40,"renewTime":%q}}`,
			name, name, time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"))
		_, err := c.do(ctx, method, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/"+name, body, kind)
		return err
	}
	err := lease("PATCH", "application/merge-patch+json")
	if err != nil {
		err = lease("PUT", "")
	}
	return err
}

// runPods creates the pods, waits until all are bound and says that they run.
func (s *apiServer) runPods(ctx context.Context) error {
	cpu := s.cpu()
	if err := s.profiled(ctx, "bind", func() error {
		if _, err := s.load(ctx, readers, largePods, func(c *caller, i int) error {
			_, err := c.do(ctx, "POST", podsPath, largePod(i), "")
			return err
		}); err != nil {
			return err
		}
		_, err := s.load(ctx, readers, largePods, func(c *caller, i int) error {
			return s.awaitBound(ctx, c, i)
		})
		return err
	}); err != nil {
		return err
	}
	print("30,000 pods created and bound", "%d µs of server CPU each", (s.cpu()-cpu).Microseconds()/largePods)
	if err := s.printMemory("5,000 nodes, 30,000 bound pods"); err != nil {
		return err
	}
	return s.profiled(ctx, "status", func() error {
		cpu := s.cpu()
		if _, err := s.load(ctx, readers, largePods, func(c *caller, i int) error {
			_, err := c.do(ctx, "PATCH", fmt.Sprintf("%s/pod-%d/status", podsPath, i), runningStatus(i), "application/strategic-merge-patch+json")
			return err
		}); err != nil {
			return err
		}
		print("30,000 pods reported running", "%d µs of server CPU each", (s.cpu()-cpu).Microseconds()/largePods)
		return nil
	})
}

// awaitBound returns once the pod has a node; only the last ones of many have to be waited for.
func (s *apiServer) awaitBound(ctx context.Context, c *caller, i int) error {
	if i < largePods-readers {
		return nil
	}
	for {
		size, err := c.do(ctx, "GET", fmt.Sprintf("%s?fieldSelector=metadata.name=pod-%d,spec.nodeName=", podsPath, i), nil, "")
		if err != nil || size < 300 {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}
