package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// apiServer is a `gantry server` of its own, without an agent: API, etcd, controllers and scheduler in one process, and nothing
// else to be counted.
type apiServer struct {
	bin, data string
	cmd       *exec.Cmd
	etcd      *exec.Cmd // of a server that has it in a process of its own
	config    *rest.Config
}

// withServer calls do with a server that has begun with an empty store. Its state is removed afterwards.
func (c *cluster) withServer(ctx context.Context, do func(s *apiServer) error) error {
	if c.up { // it would have the port
		if err := c.stop(ctx); err != nil {
			return err
		}
	}
	data, err := os.MkdirTemp("", "gb")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	s := &apiServer{bin: c.bin, data: data}
	defer s.stop()
	if _, err := s.start(ctx); err != nil {
		return err
	}
	return do(s)
}

// start starts the process and returns how long it took until it was ready.
func (s *apiServer) start(ctx context.Context) (time.Duration, error) {
	log, err := os.OpenFile(filepath.Join(s.data, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	began := time.Now()
	s.cmd = exec.Command(filepath.Join(s.bin, "gantry"), "server", "--data", s.data, "--pod-range", podRange)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return 0, err
	}
	for {
		if err := s.isReady(ctx); err == nil {
			return time.Since(began), nil
		} else if ctx.Err() != nil {
			text, _ := os.ReadFile(log.Name())
			return 0, errors.Join(ctx.Err(), err, fmt.Errorf("its log:\n%s", text))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *apiServer) isReady(ctx context.Context) (err error) {
	if s.config == nil {
		if s.config, err = clientcmd.BuildConfigFromFlags("", filepath.Join(s.data, "admin.kubeconfig")); err != nil {
			s.config = nil
			return err
		}
		s.config.QPS = -1
	}
	http, err := s.dial()
	if err != nil {
		return err
	}
	defer http.CloseIdleConnections()
	_, err = http.do(ctx, "GET", "/readyz", nil, "")
	return err
}

func (s *apiServer) stop() {
	for _, cmd := range []**exec.Cmd{&s.cmd, &s.etcd} {
		if *cmd == nil || (*cmd).Process == nil {
			continue
		}
		_ = (*cmd).Process.Signal(syscall.SIGTERM)
		_ = (*cmd).Wait()
		*cmd = nil
	}
}

// caller is a client with a connection of its own.
type caller struct {
	*http.Client
	host   string
	accept string
}

func (s *apiServer) dial() (*caller, error) {
	tls, err := rest.TLSConfigFor(s.config)
	if err != nil {
		return nil, err
	}
	return &caller{
		Client: &http.Client{Transport: &http.Transport{TLSClientConfig: tls, ForceAttemptHTTP2: true, DisableCompression: true}},
		host:   s.config.Host, accept: "application/json",
	}, nil
}

func (c *caller) send(ctx context.Context, method, path string, body []byte, contentType string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.host+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", c.accept)
	if contentType == "" {
		contentType = "application/json"
	}
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		return nil, fmt.Errorf("%s %s: %s %s", method, path, resp.Status, text)
	}
	return resp, nil
}

// do returns the size of the answer.
func (c *caller) do(ctx context.Context, method, path string, body []byte, contentType string) (int64, error) {
	resp, err := c.send(ctx, method, path, body, contentType)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return io.Copy(io.Discard, resp.Body)
}

// times are how long calls took.
type times []time.Duration

func (t times) at(percent int) time.Duration {
	slices.Sort(t)
	return round(t[min(len(t)*percent/100, len(t)-1)])
}

// load makes n calls on as many connections as there are clients, and returns how long each took.
func (s *apiServer) load(ctx context.Context, clients, n int, call func(c *caller, i int) error) (times, error) {
	var next atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	var all times
	errs := make(chan error, clients)
	for range clients {
		wg.Go(func() {
			c, err := s.dial()
			if err != nil {
				errs <- err
				return
			}
			defer c.CloseIdleConnections()
			var own times
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				began := time.Now()
				if err := call(c, i); err != nil {
					errs <- err
					return
				}
				own = append(own, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, own...)
		})
	}
	wg.Wait()
	close(errs)
	return all, errors.Join(<-errs, ctx.Err())
}

// cpu is what the server has used so far, and its etcd.
func (s *apiServer) cpu() time.Duration {
	u, _ := usageOf(s.cmd.Process.Pid)
	if s.etcd == nil {
		return u.cpu
	}
	etcd, _ := usageOf(s.etcd.Process.Pid)
	return u.cpu + etcd.cpu
}

// memoryOf is what a process has in memory, in bytes: its own pages, the pages of files that it has mapped (its executable and
// the embedded etcd's database, which the machine may take back), both, and the most of both.
type memoryOf struct{ anon, file, rss, peak int64 }

func (m memoryOf) String() string {
	return fmt.Sprintf("RSS %.0f MB (RssAnon %.0f, RssFile %.0f)", float64(m.rss)/1e6, float64(m.anon)/1e6, float64(m.file)/1e6)
}

func (s *apiServer) memory() (m memoryOf, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		to := map[string]*int64{"RssAnon:": &m.anon, "RssFile:": &m.file, "VmRSS:": &m.rss, "VmHWM:": &m.peak}[f[0]]
		if to == nil {
			continue
		}
		kib, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return m, err
		}
		*to = kib << 10
	}
	return m, nil
}

// resetPeak begins to look for the most memory anew (proc(5), clear_refs).
func (s *apiServer) resetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.cmd.Process.Pid), []byte("5"), 0)
}

// profile saves what the server's /debug/pprof has below the folder, unless that is empty.
func (s *apiServer) profile(ctx context.Context, folder, path, name string) error {
	if folder == "" {
		return nil
	}
	c, err := s.dial()
	if err != nil {
		return err
	}
	defer c.CloseIdleConnections()
	resp, err := c.send(ctx, "GET", "/debug/pprof/"+path, nil, "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	f, err := os.Create(filepath.Join(folder, name))
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(f, resp.Body)
	return err
}

// profiled runs do while the server's CPU is profiled for a while, and saves its heap afterwards.
func (s *apiServer) profiled(ctx context.Context, name string, do func() error) error {
	if *profiles == "" {
		return do()
	}
	done := make(chan error, 1)
	go func() { done <- s.profile(ctx, *profiles, "profile?seconds=8", name+".cpu") }()
	if err := do(); err != nil {
		return err
	}
	if err := <-done; err != nil {
		return err
	}
	return s.profile(ctx, *profiles, "heap?gc=1", name+".heap")
}
