package roster

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/core/pluginhost/artifact"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/cgroup"
)

// kinds are the types as the host knows them.
var kinds = map[v1alpha1.Type]plugin.Kind{
	v1alpha1.Runtime: plugin.Runtime, v1alpha1.Network: plugin.Network, v1alpha1.Service: plugin.Service,
}

// types is the reverse of kinds.
var types = func() map[plugin.Kind]v1alpha1.Type {
	out := map[plugin.Kind]v1alpha1.Type{}
	for t, k := range kinds {
		out[k] = t
	}
	return out
}()

// ref is a plugin without its version.
type ref struct {
	kind plugin.Kind
	name string
}

func refOf(p pluginhost.Plugin) ref { return ref{p.Kind, p.Name} }

// input is everything that decides which plugins run here.
type input struct {
	// shipped are the plugins of this machine by their own names, with the configuration that they need here.
	shipped []pluginhost.Plugin
	// requireVerified refuses what is neither shipped nor verified; policies may ask for that, too.
	requireVerified bool
	policies        []v1alpha1.PluginPolicy
	// real follows the symbolic links of a path; nil leaves it as it is.
	real func(path string) string
	// configure changes that for an instance of another name; nil changes nothing.
	configure func(config any, instance string) any
	objects   []v1alpha1.Plugin
	labels    map[string]string
	// defaults are those of the node's own NodePlugins.
	defaults map[v1alpha1.Type]string
	// granted are the generations that may take the place of what runs, by the plugins' names.
	granted map[string]int64
	// running are the plugins that the host has now, used those that pods depend on.
	running []pluginhost.Plugin
	used    map[ref]bool
	// routes is the service plugin that routes now.
	routes string
}

// decision is which plugins run, the default of each type first, and why others that are wanted cannot.
type decision struct {
	run      []pluginhost.Plugin
	refused  map[ref]error
	defaults map[v1alpha1.Type]string
}

// decide is pure. A plugin that is no longer wanted stays as long as pods depend on it, or until another one routes
// Services, but is nobody's default any more. As long as no plugins are declared at all, those that run go on.
func decide(in input) decision {
	out := decision{refused: map[ref]error{}, defaults: map[v1alpha1.Type]string{}}
	if len(in.objects) == 0 {
		out.run = in.running
		out.nameDefaults()
		return out
	}
	priority, declared := map[ref]int32{}, map[ref]metav1.Time{}
	for i := range in.objects {
		o := &in.objects[i]
		kind, known := kinds[o.Spec.Type]
		if !known || o.Spec.Disabled || o.DeletionTimestamp != nil ||
			!labels.SelectorFromSet(o.Spec.NodeSelector).Matches(labels.Set(in.labels)) {
			continue
		}
		p, err := in.resolve(o, kind)
		if now, held := in.held(o, kind); held {
			p, err = now, nil
		}
		if err != nil {
			out.refused[ref{kind, o.Name}] = err
			continue
		}
		priority[refOf(p)], declared[refOf(p)] = o.Spec.Priority, o.CreationTimestamp
		out.run = append(out.run, p)
	}
	slices.SortStableFunc(out.run, func(a, b pluginhost.Plugin) int {
		return cmp.Or(
			cmp.Compare(a.Kind, b.Kind),
			first(in.defaults[types[b.Kind]] == b.Name, in.defaults[types[a.Kind]] == a.Name),
			cmp.Compare(priority[refOf(b)], priority[refOf(a)]),
			declared[refOf(a)].Compare(declared[refOf(b)].Time),
			cmp.Compare(a.Name, b.Name),
		)
	})
	out.refuseShared(in, declared)
	out.nameDefaults()
	for _, p := range in.running {
		wanted := slices.ContainsFunc(out.run, func(q pluginhost.Plugin) bool { return refOf(q) == refOf(p) })
		routes := p.Kind == plugin.Service && p.Name == in.routes && out.defaults[v1alpha1.Service] != ""
		if !wanted && (in.used[refOf(p)] || routes) {
			out.run = append(out.run, p)
		}
	}
	return out
}

// held returns what runs, if the rollout has not come to this node yet. A generation that names none is that of a host
// without an API.
func (in input) held(o *v1alpha1.Plugin, kind plugin.Kind) (pluginhost.Plugin, bool) {
	for _, p := range in.running {
		if p.Kind == kind && p.Name == o.Name {
			return p, p.Generation != 0 && p.Generation != o.Generation && in.granted[o.Name] < o.Generation
		}
	}
	return pluginhost.Plugin{}, false
}

// refuseShared keeps the oldest of the plugins of a kind that adopt one socket: each would take the pods of the other for its
// own, or undo the routes of the other.
func (d *decision) refuseShared(in input, declared map[ref]metav1.Time) {
	type socket struct {
		kind plugin.Kind
		path string
	}
	owner := map[socket]pluginhost.Plugin{}
	older := func(a, b pluginhost.Plugin) int {
		x, y := declared[refOf(a)], declared[refOf(b)]
		return cmp.Or(x.Compare(y.Time), cmp.Compare(a.Name, b.Name))
	}
	for _, p := range slices.SortedStableFunc(slices.Values(d.run), older) {
		at := socket{p.Kind, in.socketOf(p)}
		if at.path == "" {
			continue
		}
		first, taken := owner[at]
		if !taken {
			owner[at] = p
			continue
		}
		d.refused[refOf(p)] = fmt.Errorf("the socket %s is adopted by plugin %s already: one socket, one plugin", at.path, first.Name)
		d.run = slices.DeleteFunc(d.run, func(q pluginhost.Plugin) bool { return refOf(q) == refOf(p) })
	}
}

// socketOf is the socket that a plugin adopts; "" for none.
func (in input) socketOf(p pluginhost.Plugin) string {
	if p.Driver != adopters[p.Kind] {
		return ""
	}
	var c struct {
		Endpoint string `json:"endpoint"`
	}
	raw, err := json.Marshal(p.Config)
	if err != nil || json.Unmarshal(raw, &c) != nil || c.Endpoint == "" {
		return ""
	}
	if in.real != nil {
		return in.real(c.Endpoint)
	}
	return c.Endpoint
}

// nameDefaults takes the first of each type.
func (d *decision) nameDefaults() {
	for _, p := range d.run {
		if t := types[p.Kind]; d.defaults[t] == "" {
			d.defaults[t] = p.Name
		}
	}
}

// first orders true before false, of b and a.
func first(b, a bool) int {
	switch {
	case a && !b:
		return -1
	case b && !a:
		return 1
	}
	return 0
}

// adopters are the shipped plugins that adopt the sockets of others.
var adopters = map[plugin.Kind]string{plugin.Runtime: "cri", plugin.Network: "socket", plugin.Service: "socket"}

// resolve makes what the host is told out of what is declared.
func (in input) resolve(o *v1alpha1.Plugin, kind plugin.Kind) (pluginhost.Plugin, error) {
	p := pluginhost.Plugin{
		Kind: kind, Name: o.Name, Driver: o.Name, Generation: o.Generation, Handlers: o.Spec.Handlers, Limits: limitsOf(o.Spec.Limits),
	}
	if r := o.Spec.Rollout; r.HealthTimeoutSeconds != nil {
		p.HealthTimeout = time.Duration(*r.HealthTimeoutSeconds) * time.Second
		p.NoRollback = r.AutomaticRollback != nil && !*r.AutomaticRollback
	}
	var base any
	switch s := o.Spec.Source; {
	case s.Builtin != "":
		p.Driver = s.Builtin
		for _, known := range in.shipped {
			if known.Kind == kind && known.Name == s.Builtin {
				base = known.Config
				if in.configure != nil && o.Name != known.Name {
					base = in.configure(base, o.Name)
				}
				p.Handlers = slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(p.Handlers), handlersOf(known, o.Name)...))))
			}
		}
	case s.Executable != nil:
		p.Executable, p.SHA256 = s.Executable.Path, s.Executable.SHA256
	case s.Endpoint != "":
		p.Driver = adopters[kind]
		var err error
		if base, err = patched(find(in.shipped, kind, p.Driver).Config, map[string]string{"endpoint": s.Endpoint}); err != nil {
			return p, err
		}
	case s.Image != nil:
		p.Image = &artifact.Image{Reference: s.Image.Reference, PublicKey: s.Image.PublicKey}
	}
	if err := in.trusted(o, &p); err != nil {
		return p, err
	}
	var err error
	p.Config, err = merged(base, o)
	return p, err
}

// trusted refuses what has not been verified, where that is asked for. What Gantry ships is: its digests are listed.
func (in input) trusted(o *v1alpha1.Plugin, p *pluginhost.Plugin) error {
	v, s := o.Status.Verification, o.Spec.Source
	asks := in.whoAsks(o.Spec.Type)
	if asks == "" || s.Builtin != "" {
		return nil
	}
	const how = "%s takes verified plugins only: gantry plugin verify %s %s --report %s"
	advice := fmt.Sprintf(how, asks, p.Kind, cmp.Or(s.Endpoint, "EXECUTABLE"), o.Name)
	switch sum, _ := strings.CutPrefix(digestOf(v), "sha256:"); {
	case v == nil:
		return fmt.Errorf("nobody has verified it, and %s", advice)
	case !v.OK():
		return fmt.Errorf("it has failed %d checks (%s), and %s", v.Failed, v.Message, advice)
	case s.Executable != nil && sum != s.Executable.SHA256, s.Endpoint != "" && sum != "", s.Image != nil && sum == "":
		return fmt.Errorf("what was verified is %q, and %s", digestOf(v), advice)
	case s.Image != nil:
		p.SHA256 = sum // The artifact names the digest of its manifest only.
	}
	return nil
}

// whoAsks names what asks for verified plugins of a type here; "" when nothing does.
func (in input) whoAsks(t v1alpha1.Type) string {
	if in.requireVerified {
		return "this node"
	}
	for i := range in.policies {
		p := &in.policies[i]
		if p.Spec.RequireVerified && (len(p.Spec.Types) == 0 || slices.Contains(p.Spec.Types, t)) &&
			labels.SelectorFromSet(p.Spec.NodeSelector).Matches(labels.Set(in.labels)) {
			return "policy " + p.Name
		}
	}
	return ""
}

func digestOf(v *v1alpha1.Verification) string {
	if v == nil {
		return ""
	}
	return v.Digest
}

// DefaultLimits are those of a plugin that names none.
func DefaultLimits() cgroup.Limits { return limitsOf(nil) }

// limitsOf are a plugin's limits; what is not named has the default.
func limitsOf(l corev1.ResourceList) cgroup.Limits {
	get := func(name corev1.ResourceName, standard string) resource.Quantity {
		if q, ok := l[name]; ok {
			return q
		}
		return resource.MustParse(standard)
	}
	memory, cpu := get(corev1.ResourceMemory, v1alpha1.DefaultMemory), get(corev1.ResourceCPU, v1alpha1.DefaultCPU)
	return cgroup.Limits{MemoryBytes: memory.Value(), CPUMillis: cpu.MilliValue()}
}

// handlersOf are a shipped plugin's own handlers, which belong to the instance of the same name alone.
func handlersOf(p pluginhost.Plugin, name string) []string {
	if p.Name != name {
		return nil
	}
	return p.Handlers
}

// find returns a shipped plugin, or none of any configuration.
func find(shipped []pluginhost.Plugin, kind plugin.Kind, name string) pluginhost.Plugin {
	for _, p := range shipped {
		if p.Kind == kind && p.Name == name {
			return p
		}
	}
	return pluginhost.Plugin{}
}

// merged is the base configuration with the declared one merged over it.
func merged(base any, o *v1alpha1.Plugin) (any, error) {
	if o.Spec.Config == nil || len(o.Spec.Config.Raw) == 0 {
		return base, nil
	}
	return patched(base, json.RawMessage(o.Spec.Config.Raw))
}

// patched is a configuration with another one merged over it (RFC 7396).
func patched(base, over any) (any, error) {
	patch, err := json.Marshal(over)
	if err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	if base == nil {
		return json.RawMessage(patch), nil
	}
	under, err := json.Marshal(base)
	if err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	out, err := jsonpatch.MergePatch(under, patch)
	if err != nil {
		return nil, fmt.Errorf("merge configuration: %w", err)
	}
	return json.RawMessage(out), nil
}

// status is what NodePlugins says. Since is kept where nothing has changed. The default service plugin is the one that
// routes.
func status(d decision, instances []pluginhost.Instance, pods map[ref][]string, routes string) []v1alpha1.NodePlugin {
	var out []v1alpha1.NodePlugin
	for _, i := range instances {
		t, known := types[i.Kind]
		if !known {
			continue
		}
		p := v1alpha1.NodePlugin{
			Type: t, Name: i.Name, Default: d.defaults[t] == i.Name, Generation: i.Generation, Version: i.Version,
			PID: int32(i.PID), Ready: i.Up, Handlers: i.Handlers, Restarts: int32(i.Restarts), LastError: i.Error,
			Pods: pods[ref{i.Kind, i.Name}], Unlimited: i.Unlimited,
		}
		if u := i.Update; u != nil {
			p.Update = &v1alpha1.PluginUpdate{Generation: u.Generation, Error: u.Error, RolledBack: u.RolledBack}
		}
		if t == v1alpha1.Service && routes != "" {
			p.Default = i.Name == routes
		}
		p.Since.Time = i.Since.Truncate(1e9)
		if i.Digest != "" {
			p.Digest = "sha256:" + i.Digest
		}
		out = append(out, p)
	}
	for _, r := range slices.SortedFunc(maps.Keys(d.refused), func(a, b ref) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name))
	}) {
		if slices.ContainsFunc(out, func(p v1alpha1.NodePlugin) bool { return p.Type == types[r.kind] && p.Name == r.name }) {
			continue
		}
		out = append(out, v1alpha1.NodePlugin{Type: types[r.kind], Name: r.name, LastError: d.refused[r].Error()})
	}
	return out
}
