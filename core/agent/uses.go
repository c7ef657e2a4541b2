package agent

// Uses returns the pods, as NAMESPACE/NAME, whose sandboxes each runtime plugin has, or may have as long as it has not said.
func (a *Agent) Uses() map[string][]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[string][]string{}
	for _, w := range a.workers {
		if name := w.runtime.Load(); name != nil {
			p := w.pod.Load()
			out[*name] = append(out[*name], p.Namespace+"/"+p.Name)
		}
	}
	for _, p := range a.census.parked {
		out[p.plugin] = append(out[p.plugin], p.pod.Namespace+"/"+p.pod.Name)
	}
	return out
}

// UsesKnown tells that Uses is complete. Before the first list of the node's pods it is not.
func (a *Agent) UsesKnown() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.listed
}

// tellRuntime publishes what Uses returns of this pod.
func (w *worker) tellRuntime() {
	var now *string
	for i := range w.obs.Sandboxes {
		if ref, ok := w.refs[w.obs.Sandboxes[i].ID]; ok {
			now = &ref.Plugin
		}
	}
	before := w.runtime.Load()
	if now == nil && before == nil || now != nil && before != nil && *now == *before {
		return
	}
	w.runtime.Store(now)
	w.a.usesChanged()
}

func (a *Agent) usesChanged() {
	if a.UsesChanged != nil {
		a.UsesChanged()
	}
}
