package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
)

// podRange has room for a thousand nodes.
const podRange = "10.128.0.0/9"

// cluster is the Gantry under test.
type cluster struct {
	bin, data string
	api       client.WithWatch
	config    *rest.Config
	up        bool
}

func newCluster() (*cluster, error) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return nil, fmt.Errorf("bring lo up: %w", err)
	}
	bin, err := filepath.Abs("bin")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(bin, "gantry")); err != nil {
		return nil, fmt.Errorf("run `make build` first: %w", err)
	}
	data, err := os.MkdirTemp("", "gb")
	return &cluster{bin: bin, data: data}, err
}

func (c *cluster) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, "gantry"), args...)
	cmd.Env = append(os.Environ(), "GANTRY_DATA="+c.data)
	return cmd
}

func (c *cluster) gantry(ctx context.Context, args ...string) error {
	out, err := c.command(ctx, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("gantry %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// start makes sure that the cluster runs and connects to it.
func (c *cluster) start(ctx context.Context) error {
	if c.up {
		return nil
	}
	if err := c.again(ctx); err != nil {
		return err
	}
	var err error
	if c.config, err = clientcmd.BuildConfigFromFlags("", filepath.Join(c.data, "admin.kubeconfig")); err != nil {
		return err
	}
	c.config.QPS = -1
	if err := v1alpha1.AddToScheme(scheme.Scheme); err != nil {
		return err
	}
	if c.api, err = client.NewWithWatch(c.config, client.Options{Scheme: scheme.Scheme}); err != nil {
		return err
	}
	c.up = true
	return nil
}

func (c *cluster) stop(ctx context.Context) error {
	c.up = false
	return c.gantry(ctx, "down", "--pod-range", podRange)
}

func (c *cluster) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := c.gantry(ctx, "down", "--purge", "--pod-range", podRange); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
	}
	_ = os.RemoveAll(c.data)
}

func (c *cluster) pid() (int, error) {
	data, err := os.ReadFile(filepath.Join(c.data, "gantry.pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(data)))
}

// usage is what a process has used so far.
type usage struct {
	cpu time.Duration
	rss int64 // bytes
}

// clockTick is the unit of times in /proc/PID/stat: 1/100 s on every Linux (proc(5), USER_HZ).
const clockTick = 10 * time.Millisecond

func (c *cluster) usage() (usage, error) {
	pid, err := c.pid()
	if err != nil {
		return usage{}, err
	}
	return usageOf(pid)
}

func usageOf(pid int) (usage, error) {
	fields, err := processStat(pid)
	if err != nil {
		return usage{}, err
	}
	const utime, stime, rss = 14 - 3, 15 - 3, 24 - 3
	var n [3]int64
	for i, f := range []int{utime, stime, rss} {
		if n[i], err = strconv.ParseInt(fields[f], 10, 64); err != nil {
			return usage{}, err
		}
	}
	return usage{cpu: time.Duration(n[0]+n[1]) * clockTick, rss: n[2] * int64(os.Getpagesize())}, nil
}

// processStat are the fields of /proc/PID/stat from the third on.
func processStat(pid int) ([]string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	// The name, in parentheses, may hold spaces; the third field follows it.
	return strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:])), nil
}

// await watches pods of the namespace default until seen says that it has seen enough.
func (c *cluster) await(ctx context.Context, seen func(deleted bool, p *corev1.Pod) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	w, err := c.api.Watch(ctx, &corev1.PodList{}, client.InNamespace("default"))
	if err != nil {
		return err
	}
	defer w.Stop()
	for {
		select {
		case e, ok := <-w.ResultChan():
			if !ok {
				return errors.New("the watch ended")
			}
			if p, ok := e.Object.(*corev1.Pod); ok && seen(e.Type == "DELETED", p) {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func ready(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
