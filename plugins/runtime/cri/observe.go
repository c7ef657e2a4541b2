package cri

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/interfaces/plugin"
)

const (
	askTimeout   = 5 * time.Second
	whenWell     = 5 * time.Second
	whenUnwell   = 200 * time.Millisecond
	slowestProbe = 2 * time.Second
)

// observe looks at the runtime whenever its connection changes and from time to time, until ctx ends.
func (p *Plugin) observe(ctx context.Context) {
	for wait := whenUnwell; ctx.Err() == nil; {
		state := p.conn.GetState()
		now, down := p.look(ctx)
		if ctx.Err() != nil {
			return
		}
		p.take(now, down)
		switch {
		case now.Problem == "":
			wait = whenWell
		case wait == whenWell:
			wait = whenUnwell
		default:
			wait = min(wait*2, slowestProbe)
		}
		// A connection that comes or goes is looked at once; one that is tried again and again is not.
		pause, cancel := context.WithTimeout(ctx, wait)
		for p.conn.WaitForStateChange(pause, state) {
			if next := p.conn.GetState(); (next == connectivity.Ready) != (state == connectivity.Ready) {
				break
			} else {
				state = next
			}
		}
		cancel()
	}
}

func (p *Plugin) take(now plugin.Condition, down error) {
	p.mu.Lock()
	same := reflect.DeepEqual(now, p.now) && (down == nil) == (p.down == nil)
	p.now, p.down = now, down
	p.mu.Unlock()
	if same {
		return
	}
	slog.Info("the runtime has turned", "problem", now.Problem, "handlers", now.Handlers)
	p.turned.ring()
}

// Report implements plugin.Reporter.
func (p *Plugin) Report(ctx context.Context, tell func(plugin.Condition) error) error {
	for {
		turned := p.turned.next()
		p.mu.Lock()
		now := p.now
		p.mu.Unlock()
		if err := tell(now); err != nil {
			return err
		}
		select {
		case <-turned:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// look asks the runtime how it is and sees to it that it uses our network. down is why it does not answer.
func (p *Plugin) look(ctx context.Context) (now plugin.Condition, down error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if _, err := p.cri.Version(ctx, &runtimeapi.VersionRequest{}); err != nil {
		down = fmt.Errorf("runtime socket %s: %s", p.config.Endpoint, status.Convert(err).Message())
		if status.Code(err) == codes.Unimplemented {
			down = fmt.Errorf("runtime socket %s: it does not speak CRI v1: %s", p.config.Endpoint, status.Convert(err).Message())
		}
		return plugin.Condition{Problem: down.Error()}, down
	}
	if err := p.config.wire(); err != nil {
		return plugin.Condition{Problem: err.Error()}, nil
	}
	st, err := p.cri.Status(ctx, &runtimeapi.StatusRequest{Verbose: true})
	if err != nil {
		return plugin.Condition{Problem: fmt.Sprintf("runtime socket %s: ask for its status: %s", p.config.Endpoint, status.Convert(err).Message())}, nil
	}
	return p.config.judge(st), nil
}

// judge is pure.
func (c Config) judge(st *runtimeapi.StatusResponse) plugin.Condition {
	var out plugin.Condition
	for _, h := range st.GetRuntimeHandlers() {
		if name := h.GetName(); name != "" && !slices.Contains(out.Handlers, name) {
			out.Handlers = append(out.Handlers, name)
		}
	}
	slices.Sort(out.Handlers)
	for _, cond := range st.GetStatus().GetConditions() {
		if cond.GetType() == runtimeapi.RuntimeReady && !cond.GetStatus() {
			out.Problem = fmt.Sprintf("the runtime is not ready: %s: %s", cond.GetReason(), cond.GetMessage())
			return out
		}
	}
	if c.Shim == "" {
		return out
	}
	if out.Problem = c.misread(st.GetInfo()); out.Problem != "" {
		return out
	}
	for _, cond := range st.GetStatus().GetConditions() {
		if cond.GetType() == runtimeapi.NetworkReady && !cond.GetStatus() {
			out.Problem = fmt.Sprintf("the runtime has not taken over its network configuration from %s yet: %s: %s", c.CNIConfDir, cond.GetReason(), cond.GetMessage())
		}
	}
	return out
}

// misread says whether the runtime looks for its network elsewhere, as far as it tells (containerd does).
func (c Config) misread(info map[string]string) string {
	var config struct {
		CNI struct {
			ConfDir string   `json:"confDir"`
			BinDir  string   `json:"binDir"`
			BinDirs []string `json:"binDirs"`
		} `json:"cni"`
	}
	if json.Unmarshal([]byte(info["config"]), &config) == nil {
		if dir := config.CNI.ConfDir; dir != "" && dir != c.CNIConfDir {
			return fmt.Sprintf("the runtime reads CNI configurations in %s, but cniConfDir is %s", dir, c.CNIConfDir)
		}
		bins := config.CNI.BinDirs
		if config.CNI.BinDir != "" {
			bins = append(bins, config.CNI.BinDir)
		}
		if len(bins) > 0 && !slices.Contains(bins, c.CNIBinDir) {
			return fmt.Sprintf("the runtime looks for CNI executables in %v, but cniBinDir is %s", bins, c.CNIBinDir)
		}
	}
	var loaded struct {
		Networks []struct {
			Config struct {
				Name string `json:"Name"`
			} `json:"Config"`
		} `json:"Networks"`
	}
	if json.Unmarshal([]byte(info["cniconfig"]), &loaded) != nil {
		return ""
	}
	for _, n := range loaded.Networks {
		if name := n.Config.Name; name != networkName && name != "cni-loopback" {
			return fmt.Sprintf("the runtime has not taken over its network configuration from %s yet: it uses %q", c.CNIConfDir, name)
		}
	}
	return ""
}
