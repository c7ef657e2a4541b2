package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gantryio/gantry/core/agent/criconfig"
	"github.com/gantryio/gantry/core/agent/pod"
)

// sizesFile is in the directory of a pod that was resized. What others were granted stands in the annotations of their sandboxes
// and containers.
const sizesFile = "gantry-sizes"

// sizes is what is written down of a pod that was resized.
type sizes struct {
	Granted *pod.Grant `json:"granted,omitempty"`
	// Applied tells that the pod's own cgroup is like that.
	Applied bool `json:"applied,omitempty"`
	// Containers are the sizes that running containers have been given, by id.
	Containers map[string]pod.Size `json:"containers,omitempty"`
}

// record is what is to be written down now. Containers that are gone are left out.
func (w *worker) record() sizes {
	for id := range w.given {
		if _, ok := w.refs[id]; !ok {
			delete(w.given, id)
		}
	}
	return sizes{Granted: pod.GrantOf(w.granted.Load()), Applied: !w.obs.Resize.Outdated, Containers: maps.Clone(w.given)}
}

// note writes it, whole or not at all.
func (a *Agent) note(uid types.UID, s sizes) error {
	if a.Hollow {
		return nil
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("note a pod's size: %w", err)
	}
	dir := a.volumes.PodDir(string(uid))
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make pod directory: %w", err)
	}
	file := filepath.Join(dir, sizesFile)
	if err = os.WriteFile(file+".new", raw, 0o600); err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		return fmt.Errorf("note a pod's size: %w", err)
	}
	return nil
}

// noted reads what note wrote; nil when the pod was never resized.
func (a *Agent) noted(uid types.UID) (*sizes, error) {
	if a.Hollow {
		return nil, nil
	}
	raw, err := os.ReadFile(filepath.Join(a.volumes.PodDir(string(uid)), sizesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	out := &sizes{}
	if err == nil {
		err = json.Unmarshal(raw, out)
	}
	if err != nil {
		return nil, fmt.Errorf("read a pod's size: %w", err)
	}
	return out, nil
}

// recall takes up again what an agent before this one granted a pod.
func (w *worker) recall(p *corev1.Pod, f *found) {
	have, err := w.a.noted(w.uid)
	if err != nil {
		w.log.Warn("recall a pod's size", "err", err)
	}
	var granted *pod.Grant
	switch {
	case have != nil:
		granted = have.Granted
		w.obs.Resize.Outdated = !have.Applied
		if have.Containers != nil {
			w.given = have.Containers
		}
	case f != nil:
		granted = f.granted()
	}
	if granted != nil {
		w.granted.Store(granted.Apply(p))
	}
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == corev1.PodResizeInProgress {
			w.obs.Resize.Generation = max(1, c.ObservedGeneration)
		}
	}
}

// granted is what the newest sandbox was made with.
func (f *found) granted() *pod.Grant {
	var out *pod.Grant
	newest := int64(-1)
	for _, l := range f.listings {
		for _, sb := range l.sandboxes {
			if attempt := int64(sb.GetMetadata().GetAttempt()); attempt > newest {
				newest, out = attempt, criconfig.GrantOf(sb.GetAnnotations())
			}
		}
	}
	return out
}
