package cri

import (
	"maps"
	"slices"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// stage is how far a sandbox or a container is in its life.
type stage int

const (
	created stage = iota + 1
	running
	ended
)

// thing is a sandbox or a container.
type thing struct {
	stage stage
	// sandbox is a container's sandbox, and a sandbox's own ID.
	sandbox string
}

// picture is all that there is, by ID.
type picture map[string]thing

// happening is an event to tell.
type happening struct {
	id, sandbox string
	kind        runtimeapi.ContainerEventType
}

// tell says what must have happened between two pictures, in an order in which it may have: each thing goes through
// all the stages of its life, whether somebody looked at the time or not.
func tell(before, after picture) []happening {
	var out []happening
	ids := slices.Sorted(maps.Keys(before))
	for id := range after {
		if _, known := before[id]; !known {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		was, now := before[id], after[id]
		last := now.stage
		if last == 0 {
			last = ended
		}
		add := func(kind runtimeapi.ContainerEventType, sandbox string) {
			out = append(out, happening{id: id, sandbox: sandbox, kind: kind})
		}
		sandbox := now.sandbox
		if sandbox == "" {
			sandbox = was.sandbox
		}
		for s := was.stage + 1; s <= last; s++ {
			add(kinds[s], sandbox)
		}
		if now.stage == 0 {
			add(runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT, sandbox)
		}
	}
	return out
}

var kinds = map[stage]runtimeapi.ContainerEventType{
	created: runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT,
	running: runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT,
	ended:   runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT,
}

func paint(sandboxes []*runtimeapi.PodSandbox, containers []*runtimeapi.Container) picture {
	out := picture{}
	for _, s := range sandboxes {
		at := ended
		if s.GetState() == runtimeapi.PodSandboxState_SANDBOX_READY {
			at = running
		}
		out[s.GetId()] = thing{stage: at, sandbox: s.GetId()}
	}
	for _, c := range containers {
		at := ended
		switch c.GetState() {
		case runtimeapi.ContainerState_CONTAINER_CREATED:
			at = created
		case runtimeapi.ContainerState_CONTAINER_RUNNING:
			at = running
		}
		out[c.GetId()] = thing{stage: at, sandbox: c.GetPodSandboxId()}
	}
	return out
}
