package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gantryio/gantry/test/upstream"
)

const (
	// beingEtcd marks the process that is kube-apiserver's etcd.
	beingEtcd    = "GANTRY_BENCH_ETCD"
	etcdPort     = 2479
	upstreamPort = 7443

	besideRounds = 3
	besideStored = 1000 // ConfigMaps to be read
	besidePods   = 4000
	// besideCPU is the least that a server is to use in a round: what it takes is counted in hundredths of a second, and the garbage collector
	// runs now and then.
	besideCPU = time.Second
)

// operation is something that both servers are asked to do, in batches of calls. A call is the i-th of its round.
type operation struct {
	name           string
	clients, batch int
	call           func(ctx context.Context, c *caller, round, i int) error
}

var operations = []operation{
	{"create of a ConfigMap, 64 clients", writers, 4000, func(ctx context.Context, c *caller, round, i int) error {
		_, err := c.do(ctx, "POST", configMaps, configMapBody(fmt.Sprintf("new-%d-%d", round, i)), "")
		return err
	}},
	{"GET of a ConfigMap", readers, 4000, func(ctx context.Context, c *caller, _, i int) error {
		_, err := c.do(ctx, "GET", fmt.Sprintf("%s/cm-%d", configMaps, i%besideStored), nil, "")
		return err
	}},
	{"server-side apply of a pod", readers, 1000, func(ctx context.Context, c *caller, round, i int) error {
		body := strings.Replace(string(pendingPod(i%1000)), `"tier":"web"`, fmt.Sprintf(`"tier":"web-%d-%d"`, round, i), 1)
		_, err := c.do(ctx, "PATCH", fmt.Sprintf("%s/pod-%d?fieldManager=bench&force=true", podsPath, i%1000), []byte(body), "application/apply-patch+yaml")
		return err
	}},
	{"LIST of 4,000 pods, json", 1, 5, listPods("application/json")},
	{"LIST of 4,000 pods, protobuf", 1, 5, listPods("application/vnd.kubernetes.protobuf")},
}

func listPods(format string) func(ctx context.Context, c *caller, round, i int) error {
	return func(ctx context.Context, c *caller, _, _ int) error {
		c.accept = format
		_, err := c.do(ctx, "GET", podsPath, nil, "")
		return err
	}
}

// beside asks a Gantry and a kube-apiserver with an etcd of its own for the same, in turns. The speed of a machine may differ much from one
// hour to the next; what one costs in terms of the other does not. Gantry has its controllers and its scheduler in the process, the other
// has none.
func beside(ctx context.Context, c *cluster) error {
	executable := filepath.Join(c.bin, "conformance", "kube-apiserver")
	if _, err := os.Stat(executable); err != nil {
		print("beside kube-apiserver", "left out, `make bin/conformance/kube-apiserver` builds it")
		return nil
	}
	return c.withServer(ctx, func(ours *apiServer) error {
		data, err := os.MkdirTemp("", "gk")
		if err != nil {
			return err
		}
		defer os.RemoveAll(data)
		theirs := &apiServer{data: data}
		defer theirs.stop()
		if err := theirs.startUpstream(ctx, executable); err != nil {
			return err
		}
		for _, s := range []*apiServer{ours, theirs} {
			if err := s.fill(ctx); err != nil {
				return err
			}
		}
		for _, o := range operations {
			if err := o.compare(ctx, ours, theirs); err != nil {
				return fmt.Errorf("%s: %w", o.name, err)
			}
		}
		return nil
	})
}

// fill stores what is read later.
func (s *apiServer) fill(ctx context.Context) error {
	if _, err := s.load(ctx, readers, besideStored, func(c *caller, i int) error {
		_, err := c.do(ctx, "POST", configMaps, configMapBody(fmt.Sprintf("cm-%d", i)), "")
		return err
	}); err != nil {
		return err
	}
	_, err := s.load(ctx, readers, besidePods, func(c *caller, i int) error {
		_, err := c.do(ctx, "POST", podsPath, pendingPod(i), "")
		return err
	})
	return err
}

// compare prints what a call costs. A ratio is that of two measurements which follow each other, so that it does not matter if the machine
// changes its speed between the rounds.
func (o operation) compare(ctx context.Context, ours, theirs *apiServer) error {
	var own, other []time.Duration
	var ratios []float64
	for round := range besideRounds {
		a, err := o.measure(ctx, ours, round)
		if err != nil {
			return err
		}
		b, err := o.measure(ctx, theirs, round)
		if err != nil {
			return err
		}
		own, other, ratios = append(own, a), append(other, b), append(ratios, float64(b)/float64(a))
	}
	print(o.name, "%v of server CPU each; kube-apiserver and etcd %v, %.1f times as much (%.1f to %.1f)",
		perCall(median(own)), perCall(median(other)), median(ratios), slices.Min(ratios), slices.Max(ratios))
	return nil
}

// measure makes calls until the server has used enough to tell, and returns the CPU that each took.
func (o operation) measure(ctx context.Context, s *apiServer, round int) (time.Duration, error) {
	before := s.cpu()
	for made := 0; ; {
		if _, err := s.load(ctx, o.clients, o.batch, func(c *caller, i int) error { return o.call(ctx, c, round, made+i) }); err != nil {
			return 0, err
		}
		made += o.batch
		if used := s.cpu() - before; used >= besideCPU {
			return used / time.Duration(made), nil
		}
	}
}

func median[T cmp.Ordered](all []T) T {
	return slices.Sorted(slices.Values(all))[len(all)/2]
}

// perCall rounds to what can be told.
func perCall(d time.Duration) time.Duration {
	if d > 10*time.Millisecond {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Microsecond)
}

// startUpstream starts an etcd and a kube-apiserver over it, and returns when that is ready.
func (s *apiServer) startUpstream(ctx context.Context, executable string) error {
	log, err := os.OpenFile(filepath.Join(s.data, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	start := func(path string, args []string, env ...string) (*exec.Cmd, error) {
		cmd := exec.Command(path, args...)
		cmd.Env = append(os.Environ(), env...)
		cmd.Stdout, cmd.Stderr = log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		return cmd, cmd.Start()
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	url, args := upstream.Etcd(s.data, etcdPort)
	if s.etcd, err = start(self, args, beingEtcd+"=1"); err != nil {
		return err
	}
	if args, s.config, err = upstream.APIServer(filepath.Join(s.data, "pki"), url, upstreamPort); err != nil {
		return err
	}
	if s.cmd, err = start(executable, args); err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if err = s.isReady(limit); err == nil {
			return s.makeAccount(ctx)
		}
		if limit.Err() != nil {
			text, _ := os.ReadFile(log.Name())
			return errors.Join(err, fmt.Errorf("kube-apiserver is not ready; the log ends with:\n%s", text[max(0, len(text)-4000):]))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// makeAccount makes what pods run as; with Gantry a controller does.
func (s *apiServer) makeAccount(ctx context.Context) error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	defer c.CloseIdleConnections()
	_, err = c.do(ctx, "POST", "/api/v1/namespaces/default/serviceaccounts", []byte(`{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}}`), "")
	return err
}
