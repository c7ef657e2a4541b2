package audit

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// machine is what there is.
type machine struct {
	links     []link
	routes    []route
	addresses []address
	// namespaces are the mounts of network namespaces below RunDir; mounts all others of ours.
	namespaces []string
	mounts     []string
	tables     []string
	volumes    []string
	cgroups    map[string]string
}

type link struct {
	name, master string
	bridge       bool
}

// route leads to one address alone.
type route struct {
	to   netip.Addr
	link string
}

// address is a file of host-local.
type address struct{ file, sandbox string }

// ripe is the age at which an entry of the ledger must have a sandbox that the runtime knows.
const ripe = 3 * time.Minute

// compare is pure.
func compare(k Known, m machine, p Place, now time.Time) []Finding {
	var out []Finding
	add := func(kind Kind, owner, name, format string, args ...any) {
		out = append(out, Finding{Kind: kind, Owner: owner, Name: name, Detail: fmt.Sprintf(format, args...)})
	}
	entries := map[string]bool{}
	names, addresses, namespaces := map[string]bool{}, map[netip.Addr]bool{}, map[string]bool{}
	for _, e := range k.Entries {
		entries[e.Sandbox.ID], namespaces[e.Sandbox.NetNS] = true, true
		of := cmp.Or(e.Of, e.Sandbox.ID)
		if !k.IDs[of] && (!k.Busy[of] || now.Sub(e.Since) > ripe) {
			add(Ledger, e.Plugin.Name, of, "no runtime has this sandbox of pod %s/%s", e.Sandbox.PodNamespace, e.Sandbox.PodName)
		}
		if e.Attachment == nil {
			continue
		}
		for _, i := range e.Attachment.Interfaces {
			if i.NetNS == "" {
				names[i.Name] = true
			}
		}
		for _, a := range e.Attachment.Addresses {
			addresses[a.Prefix.Addr()] = true
		}
	}
	for network, ids := range k.Recorded {
		for _, id := range ids {
			if !entries[id] {
				add(Record, network, id, "the ledger does not know this sandbox")
			}
		}
	}
	for id, uid := range k.Sandboxes {
		if k.Pods != nil && !k.Pods[uid] {
			runtime, id, _ := strings.Cut(id, "/")
			add(Container, runtime, id, "the sandbox belongs to pod %s, which is not on this node", uid)
		}
	}
	out = append(out, links(k, m, p, names, addresses)...)
	for _, a := range m.addresses {
		if !entries[a.sandbox] {
			add(Address, "", a.file, "reserved for sandbox %s, which the ledger does not know", a.sandbox)
		}
	}
	for _, n := range m.namespaces {
		if !namespaces[n] {
			add(Namespace, "", n, "no sandbox in the ledger has this network namespace")
		}
	}
	for _, t := range m.tables {
		if !slices.Contains(k.Tables, t) {
			add(Table, "", t, "no service plugin that routes has this table")
		}
	}
	return sorted(slices.Concat(out, remains(k, m, p, entries)))
}

// links are interfaces and routes of pods that are gone, and bridges of plugins that are.
func links(k Known, m machine, p Place, names map[string]bool, addresses map[netip.Addr]bool) []Finding {
	var out []Finding
	led := map[string]bool{}
	for _, r := range m.routes {
		if !slices.ContainsFunc(p.PodRanges, func(n netip.Prefix) bool { return n.Contains(r.to) }) {
			continue
		}
		led[r.link] = true
		if !addresses[r.to] {
			out = append(out, Finding{Kind: Route, Owner: r.link, Name: r.to.String(), Detail: "no pod in the ledger has this address"})
		}
	}
	for _, l := range m.links {
		switch {
		case l.bridge && p.OurBridge(l.name):
			if !slices.Contains(k.Bridges, l.name) {
				out = append(out, Finding{Kind: Interface, Name: l.name, Detail: "no network plugin that runs has this bridge"})
			}
		case !l.bridge && !names[l.name] && (led[l.name] || p.OurBridge(l.master)):
			out = append(out, Finding{Kind: Interface, Owner: l.master, Name: l.name, Detail: "no pod in the ledger has this interface"})
		}
	}
	return out
}

// remains are mounts, volumes and cgroups of pods and containers that are gone.
func remains(k Known, m machine, p Place, entries map[string]bool) []Finding {
	var out []Finding
	for _, path := range m.mounts {
		if uid, in := podOf(p, path); in {
			if k.Pods != nil && !k.Pods[uid] {
				out = append(out, Finding{Kind: Mount, Name: path, Detail: "pod " + uid + " is not on this node"})
			}
			continue
		}
		for word := range strings.SplitSeq(path, "/") {
			if isID(word) && !k.IDs[word] && !entries[word] {
				out = append(out, Finding{Kind: Mount, Name: path, Detail: "no runtime has container " + word})
			}
		}
	}
	if k.Pods == nil {
		return out
	}
	for _, uid := range m.volumes {
		if !k.Pods[uid] {
			out = append(out, Finding{Kind: Volume, Name: p.KubeletDir + "/pods/" + uid, Detail: "pod " + uid + " is not on this node"})
		}
	}
	for uid, path := range m.cgroups {
		if !k.Pods[uid] {
			out = append(out, Finding{Kind: Cgroup, Name: path, Detail: "pod " + uid + " is not on this node"})
		}
	}
	return out
}

// podOf is the pod that a path below the kubelet's folder belongs to.
func podOf(p Place, path string) (uid string, in bool) {
	rest, in := strings.CutPrefix(path, p.KubeletDir+"/pods/")
	uid, _, _ = strings.Cut(rest, "/")
	return uid, in
}

// isID tells that a word is what runtimes call a sandbox or container.
func isID(word string) bool {
	return len(word) == 64 && strings.Trim(word, "0123456789abcdef") == ""
}
