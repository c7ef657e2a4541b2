package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gantryio/gantry/core/agent/attach"
	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/plugins/network/cni"
	"github.com/gantryio/gantry/plugins/runtime/containerd"
	"github.com/gantryio/gantry/plugins/service/nftables"
)

// networks shows the plugin host to the attach server.
type networks struct{ host *pluginhost.Host }

var _ attach.Networks = networks{}

// Network implements attach.Networks.
func (n networks) Network(name string) (network.Network, pluginhost.Ref, error) {
	return n.host.Network(name)
}

// Networks implements attach.Networks.
func (n networks) Networks() []string {
	var out []string
	for _, i := range n.host.Instances() {
		if i.Kind == plugin.Network {
			out = append(out, i.Name)
		}
	}
	return out
}

// choose asks the agent what the sandbox's pod asks for.
func (n *node) choose(ctx context.Context, s network.Sandbox) (attach.Choice, error) {
	p, err := n.agent.Networks(ctx, types.UID(s.PodUID))
	return attach.Choice{Network: p.Name, Extra: p.Extra, IPs: p.IPs, MAC: p.MAC}, err
}

// networkUp says why a network plugin cannot serve pods now; "" is the default one.
func (n *node) networkUp(name string) error {
	for _, i := range n.host.Instances() {
		if i.Kind != plugin.Network || name != "" && i.Name != name {
			continue
		}
		if !i.Up {
			return fmt.Errorf("network plugin %s is down: %s", i.Name, i.Error)
		}
		return nil
	}
	if name == "" {
		return fmt.Errorf("node %s has no network plugin", n.nodeName)
	}
	return fmt.Errorf("node %s has no network plugin %q, but %s", n.nodeName, name, strings.Join(networks{n.host}.Networks(), ", "))
}

// furtherBridge and furtherTable begin the names of further instances' bridges and nftables tables.
const (
	furtherBridge = "gantry-"
	furtherTable  = "gantry-proxy-"
)

// attached tells that the ledger has a sandbox's network.
func (n *node) attached(sandboxID string) bool {
	_, ok := n.attach.Get(sandboxID)
	return ok
}

// configure gives a further instance of a shipped plugin state of its own.
func (n *node) configure(config any, instance string) any {
	sum := sha256.Sum256([]byte(instance))
	short := hex.EncodeToString(sum[:4])
	switch c := config.(type) {
	case cni.Config:
		c.Dir, c.Bridge = n.path("networks", instance), furtherBridge+short // of at most 15 bytes
		return c
	case containerd.Config:
		c.Root = n.path("runtimes", instance)
		if c.State = filepath.Join(n.runDir(), "c"+short); len(c.State) > containerd.MaxState {
			c.State = filepath.Join("/run", "gantry-"+n.id()+"-c"+short)
		}
		return c
	case nftables.Config:
		c.Table = furtherTable + short
		return c
	}
	return config
}
