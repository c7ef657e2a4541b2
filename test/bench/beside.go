package main

import (
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
	beingEtcd = "GANTRY_BENCH_ETCD"

	besideRounds = 3
	besideWrites = 8_000
	besideReads  = 8_000
	besideApply  = 2_000
	besidePods   = 5_000
	besideLists  = 3
	etcdPort     = 2479
	upstreamPort = 7443
)

// operation is something that both servers are asked to do.
type operation struct {
	name    string
	clients int
	calls   int
	call    func(c *caller, i int) error
}

// beside asks a kube-apiserver, with an etcd of its own, and a Gantry for the same, in turns, for on most machines that are rented a figure
// of one hour says little of another. Gantry has its controllers and its scheduler in the process, which the other has not.
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
		return sideBySide(ctx, ours, theirs)
	})
}

func sideBySide(ctx context.Context, ours, theirs *apiServer) error {
	for _, s := range []*apiServer{ours, theirs} {
		if _, err := s.load(ctx, readers, besidePods, func(c *caller, i int) error {
			_, err := c.do(ctx, "POST", podsPath, pendingPod(i), "")
			return err
		}); err != nil {
			return err
		}
	}
	round := 0
	list := func(format string) func(c *caller, _ int) error {
		return func(c *caller, _ int) error {
			c.accept = format
			_, err := c.do(ctx, "GET", podsPath, nil, "")
			return err
		}
	}
	for _, o := range []operation{
		{"create of a ConfigMap, 64 clients", writers, besideWrites, func(c *caller, i int) error {
			_, err := c.do(ctx, "POST", configMaps, configMapBody(fmt.Sprintf("cm-%d-%d", round, i)), "")
			return err
		}},
		{"GET of a ConfigMap", readers, besideReads, func(c *caller, i int) error {
			_, err := c.do(ctx, "GET", fmt.Sprintf("%s/cm-1-%d", configMaps, i%1000), nil, "")
			return err
		}},
		{"server-side apply of a pod", readers, besideApply, func(c *caller, i int) error {
			body := strings.Replace(string(pendingPod(i%1000)), `"tier":"web"`, fmt.Sprintf(`"tier":"web-%d-%d"`, round, i), 1)
			_, err := c.do(ctx, "PATCH", fmt.Sprintf("%s/pod-%d?fieldManager=bench&force=true", podsPath, i%1000), []byte(body), "application/apply-patch+yaml")
			return err
		}},
		{"LIST of 5,000 pods, json", 1, besideLists, list("application/json")},
		{"LIST of 5,000 pods, protobuf", 1, besideLists, list("application/vnd.kubernetes.protobuf")},
	} {
		took := map[*apiServer]times{}
		for round = 1; round <= besideRounds; round++ {
			for _, s := range []*apiServer{ours, theirs} {
				before := s.cpu()
				if _, err := s.load(ctx, o.clients, o.calls, o.call); err != nil {
					return fmt.Errorf("%s: %w", o.name, err)
				}
				took[s] = append(took[s], (s.cpu()-before)/time.Duration(o.calls))
			}
		}
		own, other := median(took[ours]), median(took[theirs])
		print(o.name, "%s of CPU; kube-apiserver and etcd %s, %.1f times as much", perCall(own), perCall(other), float64(other)/float64(own))
	}
	return nil
}

func median(t times) time.Duration {
	slices.Sort(t)
	return t[len(t)/2]
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
	// The accounts that pods have are made by a controller.
	if s.cmd, err = start(executable, append(args, "--disable-admission-plugins", "ServiceAccount")); err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		if err = s.isReady(limit); err == nil {
			return nil
		}
		if limit.Err() != nil {
			text, _ := os.ReadFile(log.Name())
			return errors.Join(err, fmt.Errorf("kube-apiserver is not ready; the log ends with:\n%s", text[max(0, len(text)-4000):]))
		}
		time.Sleep(50 * time.Millisecond)
	}
}
