package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// control serves the commands of this machine's administrator over a unix socket: what concerns the
// machine and not the cluster, such as its images.
type control struct {
	*node
	server *server
	loaded chan struct{} // closed when the shipped images are there
}

func newControl(n *node, s *server) *control {
	return &control{node: n, server: s, loaded: make(chan struct{})}
}

func (c *config) controlSocket() string { return filepath.Join(c.runDir(), "gantry.sock") }

// Run serves until ctx ends.
func (c *control) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", c.serveReady)
	mux.Handle("GET /explain", explainer{c.server, c.agent})
	mux.HandleFunc("POST /audit", c.serveAudit)
	mux.HandleFunc("POST /handover", c.handover.serve)
	mux.HandleFunc("GET /images", c.serveImages)
	mux.HandleFunc("POST /images", c.serveImport)
	go c.preload(ctx)
	return c.serveCommands(ctx, mux)
}

// serveCommands serves on the control socket until ctx ends.
func (c *config) serveCommands(ctx context.Context, h http.Handler) error {
	socket := c.controlSocket()
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("listen for commands: %w", err)
	}
	l, err := net.Listen("unix", socket) // in a folder of mode 0700
	if err != nil {
		return fmt.Errorf("listen for commands: %w", err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve commands: %w", err)
	}
	return ctx.Err()
}

// preload imports the images that come with Gantry.
func (c *control) preload(ctx context.Context) {
	defer close(c.loaded)
	bin, err := binDir()
	if err != nil {
		slog.Warn("cannot find the shipped images", "err", err)
		return
	}
	for _, name := range []string{"demo-1.tar", "demo-2.tar"} {
		path := filepath.Join(bin, "images", name)
		if _, err := os.Stat(path); err != nil {
			continue // an installation without them
		}
		if _, err := c.importImages(ctx, path); err != nil && ctx.Err() == nil {
			slog.Warn("cannot load a shipped image", "path", path, "err", err)
		}
	}
}

func (c *control) importImages(ctx context.Context, path string) ([]string, error) {
	rt, _, _, err := c.host.Runtime("")
	if err != nil {
		return nil, err
	}
	return rt.Import(ctx, path)
}

// serveReady answers once the node is ready and the shipped images are loaded.
func (c *control) serveReady(w http.ResponseWriter, req *http.Request) {
	err := c.awaitReady(req.Context())
	if err == nil {
		select {
		case <-c.loaded:
		case <-req.Context().Done():
			err = req.Context().Err()
		}
	}
	answer(w, struct{}{}, err)
}

// awaitReady watches this machine's Node.
func (c *control) awaitReady(ctx context.Context) error {
	w, err := c.agent.API.Watch(ctx, &corev1.NodeList{}, client.MatchingFields{"metadata.name": c.nodeName})
	if err != nil {
		return err
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		if node, ok := e.Object.(*corev1.Node); ok && usable(node) {
			return nil
		}
	}
	return errors.New("the watch of the node ended")
}

// usable tells that pods may be scheduled to the node.
func usable(node *corev1.Node) bool {
	for _, t := range node.Spec.Taints {
		if t.Key == corev1.TaintNodeNotReady {
			return false
		}
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// imageInfo is an image of the node: a line of `gantry image list` for each of its tags.
type imageInfo struct {
	Tags    []string `json:"tags"`
	Digests []string `json:"digests"`
	ID      string   `json:"id"`
	Size    uint64   `json:"size"`
}

func (c *control) serveImages(w http.ResponseWriter, req *http.Request) {
	rt, _, _, err := c.host.Runtime("")
	if err != nil {
		answer(w, nil, err)
		return
	}
	resp, err := rt.ListImages(req.Context(), &runtimeapi.ListImagesRequest{})
	var out []imageInfo
	for _, i := range resp.GetImages() {
		out = append(out, imageInfo{Tags: i.GetRepoTags(), Digests: i.GetRepoDigests(), ID: i.GetId(), Size: i.GetSize()})
	}
	answer(w, out, err)
}

func (c *control) serveImport(w http.ResponseWriter, req *http.Request) {
	var in struct{ Path string }
	if err := json.NewDecoder(io.LimitReader(req.Body, 1<<16)).Decode(&in); err != nil {
		answer(w, nil, err)
		return
	}
	names, err := c.importImages(req.Context(), in.Path)
	answer(w, names, err)
}

func answer(w http.ResponseWriter, body any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

// callControl calls the running gantry of the data folder; in and out may be nil.
func callControl(ctx context.Context, c *config, method, path string, in, out any) error {
	data, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://gantry"+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", c.controlSocket())
	}}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return errors.New(string(bytes.TrimSpace(text)))
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}
