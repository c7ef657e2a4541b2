package runtimetest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/gantryio/gantry/interfaces/plugin/conformance"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func (s Suite) sandbox(t conformance.T) {
	ctx := start(t)
	id, config := s.run(ctx, t, "sandbox")
	res, err := s.Runtime.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: id})
	if err != nil {
		t.Fatal(err)
	}
	st := res.GetStatus()
	if st.GetState() != runtimeapi.PodSandboxState_SANDBOX_READY {
		t.Errorf("state of a running sandbox is %s", st.GetState())
	}
	if st.GetMetadata().GetUid() != config.GetMetadata().GetUid() || st.GetLabels()["suite"] != "sandbox" || st.GetAnnotations()["note"] != t.Name() {
		t.Errorf("metadata is not kept: %v", st)
	}
	if st.GetNetwork().GetIp() == "" {
		t.Error("sandbox has no address")
	}
	for range 2 {
		if _, err := s.Runtime.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
			t.Fatalf("stop sandbox: %v", err)
		}
	}
	res, err = s.Runtime.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: id})
	if err != nil {
		t.Fatal(err)
	}
	if res.GetStatus().GetState() != runtimeapi.PodSandboxState_SANDBOX_NOTREADY {
		t.Errorf("state of a stopped sandbox is %s", res.GetStatus().GetState())
	}
}

func (s Suite) container(t conformance.T) {
	ctx := start(t)
	sandbox, config := s.run(ctx, t, "container")
	id := s.create(ctx, t, sandbox, config, "main")
	if got := s.state(ctx, t, id).GetState(); got != runtimeapi.ContainerState_CONTAINER_CREATED {
		t.Errorf("state after create is %s", got)
	}
	s.startContainer(ctx, t, id)
	st := s.state(ctx, t, id)
	if st.GetState() != runtimeapi.ContainerState_CONTAINER_RUNNING || st.GetStartedAt() == 0 {
		t.Errorf("state after start is %s, started at %d", st.GetState(), st.GetStartedAt())
	}
	if _, err := s.Runtime.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: id, Timeout: 30}); err != nil {
		t.Fatalf("stop container: %v", err)
	}
	st = s.state(ctx, t, id)
	if st.GetState() != runtimeapi.ContainerState_CONTAINER_EXITED || st.GetFinishedAt() == 0 {
		t.Errorf("state after stop is %s, finished at %d", st.GetState(), st.GetFinishedAt())
	}
	for range 2 {
		if _, err := s.Runtime.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: id}); err != nil {
			t.Fatalf("remove container: %v", err)
		}
	}
	_, err := s.Runtime.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id})
	wantCode(t, "status of a removed container", err, codes.NotFound)
}

func (s Suite) events(t conformance.T) {
	ctx := start(t)
	stream, err := s.Runtime.GetContainerEvents(ctx, &runtimeapi.GetEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	// A stream may take a moment to be subscribed: sandboxes are run until one is seen.
	seen := make(chan struct{})
	go func() {
		defer close(seen)
		_, _ = stream.Recv()
	}()
	for subscribed := false; !subscribed; {
		s.run(ctx, t, "herald")
		select {
		case <-seen:
			subscribed = true
		default:
		}
	}
	sandbox, config := s.run(ctx, t, "events")
	id := s.create(ctx, t, sandbox, config, "main")
	await(t, stream, id, runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT)
	s.startContainer(ctx, t, id)
	e := await(t, stream, id, runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT)
	if e.GetPodSandboxStatus().GetId() != sandbox {
		t.Errorf("event carries sandbox %q, want %q", e.GetPodSandboxStatus().GetId(), sandbox)
	}
	if _, err := s.Runtime.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: id, Timeout: 30}); err != nil {
		t.Fatal(err)
	}
	await(t, stream, id, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT)
	if _, err := s.Runtime.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	await(t, stream, id, runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT)
}

func (s Suite) unknown(t conformance.T) {
	ctx := start(t)
	const id = "4e1243bd22c66e76c2ba9eddc1f91394e57f9f8341c1f51ee2f3f4ab7e2b3c6f"
	_, err := s.Runtime.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id})
	wantCode(t, "status of an unknown container", err, codes.NotFound)
	_, err = s.Runtime.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: id})
	wantCode(t, "status of an unknown sandbox", err, codes.NotFound)
	_, err = s.Runtime.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: id})
	wantCode(t, "stop of an unknown container", err, codes.OK)
	_, err = s.Runtime.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: id})
	wantCode(t, "removal of an unknown container", err, codes.OK)
	_, err = s.Runtime.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: id})
	wantCode(t, "stop of an unknown sandbox", err, codes.OK)
	_, err = s.Runtime.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: id})
	wantCode(t, "removal of an unknown sandbox", err, codes.OK)
}

func (s Suite) images(t conformance.T) {
	ctx := start(t)
	res, err := s.Runtime.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: s.Image}})
	if err != nil {
		t.Fatal(err)
	}
	if res.GetImage().GetId() == "" || res.GetImage().GetSize() == 0 {
		t.Errorf("image %s has no ID or no size: %v", s.Image, res.GetImage())
	}
	res, err = s.Runtime.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: s.Absent}})
	if err != nil || res.GetImage() != nil {
		t.Errorf("an absent image is %v, %v; want none and no error", res.GetImage(), err)
	}
	list, err := s.Runtime.ListImages(ctx, &runtimeapi.ListImagesRequest{})
	if err != nil || len(list.GetImages()) == 0 {
		t.Errorf("images are %v, %v", list, err)
	}
}

func (s Suite) duplicate(t conformance.T) {
	ctx := start(t)
	_, config := s.run(ctx, t, "duplicate")
	if _, err := s.Runtime.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config}); err == nil {
		t.Error("a second sandbox of the same name, uid and attempt was run")
	}
}

func (s Suite) stopAll(t conformance.T) {
	ctx := start(t)
	sandbox, config := s.run(ctx, t, "stop-all")
	id := s.create(ctx, t, sandbox, config, "main")
	s.startContainer(ctx, t, id)
	if _, err := s.Runtime.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: sandbox}); err != nil {
		t.Fatal(err)
	}
	if got := s.state(ctx, t, id).GetState(); got != runtimeapi.ContainerState_CONTAINER_EXITED {
		t.Errorf("container of a stopped sandbox is %s", got)
	}
	_, err := s.Runtime.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{
		PodSandboxId: sandbox, SandboxConfig: config,
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: "late"}, Image: &runtimeapi.ImageSpec{Image: s.Image},
		},
	})
	if err == nil {
		t.Error("a container was created in a stopped sandbox")
	}
}

func (s Suite) stats(t conformance.T) {
	ctx := start(t)
	sandbox, config := s.run(ctx, t, "stats")
	id := s.create(ctx, t, sandbox, config, "main")
	s.startContainer(ctx, t, id)
	res, err := s.Runtime.ContainerStats(ctx, &runtimeapi.ContainerStatsRequest{ContainerId: id})
	if err != nil {
		t.Fatal(err)
	}
	if res.GetStats().GetAttributes().GetId() != id || res.GetStats().GetMemory().GetTimestamp() == 0 || res.GetStats().GetCpu() == nil {
		t.Errorf("statistics are incomplete: %v", res.GetStats())
	}
	pods, err := s.Runtime.ListPodSandboxStats(ctx, &runtimeapi.ListPodSandboxStatsRequest{Filter: &runtimeapi.PodSandboxStatsFilter{Id: sandbox}})
	if err != nil {
		t.Fatal(err)
	}
	if len(pods.GetStats()) != 1 || len(pods.GetStats()[0].GetLinux().GetContainers()) != 1 {
		t.Errorf("statistics of the sandbox are %v", pods.GetStats())
	}
}

func (s Suite) filters(t conformance.T) {
	ctx := start(t)
	sandbox, config := s.run(ctx, t, "filters")
	other, _ := s.run(ctx, t, "filters-other")
	id := s.create(ctx, t, sandbox, config, "main")
	pods, err := s.Runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: &runtimeapi.PodSandboxFilter{LabelSelector: map[string]string{"suite": "filters-other"}}})
	if err != nil || len(pods.GetItems()) != 1 || pods.GetItems()[0].GetId() != other {
		t.Errorf("sandboxes by label are %v, %v", pods.GetItems(), err)
	}
	list, err := s.Runtime.ListContainers(ctx, &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{PodSandboxId: sandbox}})
	if err != nil || len(list.GetContainers()) != 1 || list.GetContainers()[0].GetId() != id {
		t.Errorf("containers of a sandbox are %v, %v", list.GetContainers(), err)
	}
}

func (s Suite) concurrent(t conformance.T) {
	ctx := start(t)
	const many = 6
	var wg sync.WaitGroup
	ids := make([]string, many)
	for i := range many {
		config := s.config(t, fmt.Sprintf("concurrent-%d", i))
		config.Labels["suite"] = "concurrent"
		wg.Go(func() {
			res, err := s.Runtime.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
			if err != nil {
				t.Errorf("run sandbox %d: %v", i, err)
				return
			}
			ids[i] = res.GetPodSandboxId()
		})
	}
	t.Cleanup(func() { s.removeLabelled(t, "concurrent") })
	wg.Wait()
	seen, addresses := map[string]bool{}, map[string]bool{}
	for _, id := range ids {
		if id == "" {
			continue
		}
		res, err := s.Runtime.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: id})
		if err != nil {
			t.Fatal(err)
		}
		seen[id], addresses[res.GetStatus().GetNetwork().GetIp()] = true, true
	}
	if len(seen) != many || len(addresses) != many {
		t.Errorf("%d sandboxes that were run at the same time have %d IDs and %d addresses", many, len(seen), len(addresses))
	}
}

// givenUp asks for a sandbox and goes away. Whatever becomes of it can be listed and removed, and its name is free again
// then.
func (s Suite) givenUp(t conformance.T) {
	for i, patience := range []time.Duration{0, time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond} {
		config := s.config(t, fmt.Sprintf("given-up-%d", i))
		config.Labels["suite"] = "given-up"
		brief, cancel := context.WithTimeout(context.Background(), patience)
		_, _ = s.Runtime.RunPodSandbox(brief, &runtimeapi.RunPodSandboxRequest{Config: config})
		cancel()
		s.reuse(t, config)
		s.removeLabelled(t, "given-up")
	}
}

// reuse runs a sandbox until it can be run. Nobody tells when an attempt that was given up is over.
func (s Suite) reuse(t conformance.T, config *runtimeapi.PodSandboxConfig) {
	ctx := start(t)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		s.removeLabelled(t, "given-up")
		_, err := s.Runtime.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the name of a sandbox that was given up is never free again: %v", err)
		}
	}
}

// removeLabelled removes the sandboxes of a label.
func (s Suite) removeLabelled(t conformance.T, suite string) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	list, err := s.Runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: &runtimeapi.PodSandboxFilter{LabelSelector: map[string]string{"suite": suite}}})
	if err != nil {
		t.Fatalf("list sandboxes: %v", err)
	}
	for _, item := range list.GetItems() {
		if _, err := s.Runtime.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: item.GetId()}); err != nil {
			t.Errorf("stop sandbox: %v", err)
		}
		if _, err := s.Runtime.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: item.GetId()}); err != nil {
			t.Errorf("remove sandbox: %v", err)
		}
	}
}
