package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/gantryio/gantry/core/client"
	"github.com/gantryio/gantry/core/run"
)

func newUpCommand() *cobra.Command {
	c := &config{}
	var foreground, replace bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "up", Short: "Start a cluster of one node", Args: cobra.NoArgs,
		Long: "Start a cluster of one node: the API server, the controllers, the scheduler and the agent in one\n" +
			"process. It runs in the background; the command returns when the node is ready.\n\n" +
			"With --replace it takes over from a gantry that runs already, such as one of an older version: the new process\n" +
			"checks all that it can beside the old one, which then passes its ports on, and ends when its last session (exec,\n" +
			"attach, port-forward, logs -f) has. Plugins and pods stay as they are; plugins whose executables have changed are replaced\n" +
			"side by side. If a flag is wrong or the new process does not become well, the old one goes on.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.complete(); err != nil {
				return err
			}
			if foreground {
				return runUp(cmd.Context(), c, replace)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return startUp(ctx, c, replace, cmd.OutOrStdout())
		},
	}
	c.addFlags(cmd.Flags())
	cmd.Flags().BoolVar(&foreground, "foreground", false, "stay, and log to the terminal")
	cmd.Flags().BoolVar(&replace, "replace", false, "take over from the gantry that runs")
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long to wait for the node to be ready")
	return cmd
}

// runUp runs everything in this process until ctx ends, or another process takes over. Pods and plugins run on afterwards.
func runUp(ctx context.Context, c *config, replace bool) error {
	h := &handover{}
	if replace {
		err := preflight(ctx, c)
		if err == nil {
			err = h.take(ctx, c)
		}
		if err != nil {
			return fmt.Errorf("take over: %w", err)
		}
	}
	if err := runLocked(ctx, c, h); err != nil || !h.given() {
		return err
	}
	return h.finish(ctx)
}

// runLocked runs everything while it has the lock of the data folder.
func runLocked(ctx context.Context, c *config, h *handover) error {
	ctx, h.stop = context.WithCancel(ctx)
	defer h.stop()
	lock, err := awaitLock(ctx, c, h)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := h.open(c); err != nil {
		return err
	}
	s, err := openServer(c, h)
	if err != nil {
		return err
	}
	n, err := openNode(c)
	if err == nil {
		err = n.prepare()
	}
	if err == nil {
		err = s.listenForNames(h.names)
		h.names = s.names
	}
	if err != nil {
		s.close()
		return err
	}
	n.handover = h
	s.localNode = c.nodeName
	// The host attaches to plugins that run while the store opens: it needs nothing of it.
	return run.All(ctx,
		run.Part{Name: "plugins", Runner: n.host},
		run.Part{Name: "cluster", Runner: run.Func(func(ctx context.Context) error { return runCluster(ctx, s, n) })},
	)
}

// runCluster runs everything but the plugin host.
func runCluster(ctx context.Context, s *server, n *node) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	defer s.close()
	if err := n.assemble(s.authority, s.nodeConnection(ctx)); err != nil {
		return err
	}
	parts, err := s.parts(ctx)
	if err != nil {
		return err
	}
	control := newControl(n, s)
	parts = append(append(parts, n.parts()...), run.Part{Name: "control", Runner: control})
	if n.handover.old != nil {
		parts = append(parts, n.handover.announce(control))
	}
	return run.All(ctx, parts...)
}

// nodeConnection is the agent's way to the API of the same process: as its own user, without sockets.
func (s *server) nodeConnection(ctx context.Context) connection {
	who := &user.DefaultInfo{Name: "system:node:" + s.nodeName, Groups: []string{user.NodesGroup, user.AllAuthenticated}}
	api := s.client.AsUser(who, "gantry-agent")
	return connection{api: api, cache: s.clientCache, recorder: client.NewRecorder(ctx, api, "kubelet", s.nodeName)}
}

// startUp starts this executable in the background and waits until its node is ready.
func startUp(ctx context.Context, c *config, replace bool, out io.Writer) error {
	if !replace {
		if there, err := awaitRunning(ctx, c); err != nil {
			return err
		} else if there {
			return welcome(c, out)
		}
	}
	child, err := spawn(c)
	if err != nil {
		return err
	}
	died := make(chan error, 1)
	go func() { died <- child.Wait() }()
	ready := make(chan error, 1)
	go func() { ready <- waitReady(ctx, c, child.Process.Pid) }()
	select {
	case err := <-died:
		return fmt.Errorf("the cluster did not start (%v); the end of %s:\n%s", err, c.logFile(), tail(c.logFile()))
	case err := <-ready:
		if err != nil {
			return fmt.Errorf("%w; see %s", err, c.logFile())
		}
	}
	return welcome(c, out)
}

func (c *config) logFile() string { return c.path("gantry.log") }

func spawn(c *config) (*exec.Cmd, error) {
	if err := os.MkdirAll(c.data, 0o711); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	log, err := os.OpenFile(c.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this executable: %w", err)
	}
	child := exec.Command(self, append(os.Args[1:], "--foreground")...)
	child.Stdout, child.Stderr = log, log
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return nil, fmt.Errorf("start in the background: %w", err)
	}
	return child, nil
}

// pause is between tries to connect; nothing can wake us before there is a socket.
const pause = 5 * time.Millisecond

// awaitRunning waits until the process that has the lock is ready, and returns false when none has it. A process that was
// killed has it a moment longer.
func awaitRunning(ctx context.Context, c *config) (bool, error) {
	for {
		if !running(c) {
			return false, nil
		}
		err := callControl(ctx, c, "GET", "/ready", nil, nil)
		if err == nil {
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("a gantry runs on %s, but its node is not ready: %w", c.data, errors.Join(ctx.Err(), err))
		case <-time.After(pause):
		}
	}
}

// waitReady waits until a process has the lock, and its control socket says that the node is ready and the shipped images
// are there.
func waitReady(ctx context.Context, c *config, pid int) error {
	for {
		holder, err := lockHolder(c)
		if err == nil && holder != pid {
			err = fmt.Errorf("process %d runs still", holder)
		}
		if err == nil {
			err = callControl(ctx, c, "GET", "/ready", nil, nil)
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the node is not ready in time: %w", errors.Join(ctx.Err(), err))
		case <-time.After(pause):
		}
	}
}

func welcome(c *config, out io.Writer) error {
	_, err := fmt.Fprintf(out, `export KUBECONFIG=%s

The cluster runs. In a shell with the line above, try:
  kubectl get nodes
  kubectl create deployment web --image=gantry.local/demo:1 --replicas=3
  kubectl expose deployment web --type=NodePort --port=80 --target-port=8080
`, c.path(kubeconfigFile))
	return err
}

func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
