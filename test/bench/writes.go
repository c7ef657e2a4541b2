package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

const (
	writers     = 64
	writesCount = 40_000
)

// writes creates ConfigMaps of 1 KiB over HTTPS, each client on a connection of its own.
func writes(ctx context.Context, c *cluster) error {
	if err := c.start(ctx); err != nil {
		return err
	}
	// The cluster's server has profiles like one of its own.
	return (&apiServer{config: c.config}).profiled(ctx, "writes", func() error { return c.creates(ctx) })
}

func (c *cluster) creates(ctx context.Context) error {
	value := strings.Repeat("x", 1000)
	before, err := c.usage()
	if err != nil {
		return err
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, writers)
	began := time.Now()
	for range writers {
		wg.Go(func() {
			if err := writer(ctx, c, &next, value); err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	select {
	case err := <-errs:
		return err
	default:
	}
	after, err := c.usage()
	if err != nil {
		return err
	}
	print("ConfigMap creates, 64 clients", "%.0f a second, %d µs of server CPU each, etcd included",
		writesCount/took.Seconds(), (after.cpu-before.cpu).Microseconds()/writesCount)
	return nil
}

func writer(ctx context.Context, c *cluster, next *atomic.Int64, value string) error {
	config := rest.CopyConfig(c.config)
	tls, err := rest.TLSConfigFor(config)
	if err != nil {
		return err
	}
	http := &http.Client{Transport: &http.Transport{TLSClientConfig: tls, ForceAttemptHTTP2: true}}
	defer http.CloseIdleConnections()
	for {
		n := next.Add(1)
		if n > writesCount {
			return nil
		}
		body, err := json.Marshal(&corev1.ConfigMap{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("cm-%d", n)}, Data: map[string]string{"data": value},
		})
		if err != nil {
			return err
		}
		if err := post(ctx, http, config.Host+"/api/v1/namespaces/default/configmaps", body); err != nil {
			return err
		}
	}
}

func post(ctx context.Context, c *http.Client, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("create: %s %.200s %w", resp.Status, text, err)
	}
	return nil
}

// startCalls are the runtime's share of a pod's start.
var startCalls = map[string]bool{"RunPodSandbox": true, "CreateContainer": true, "StartContainer": true}

// runtimeCalls is the time that the runtime has spent on starting pods so far.
func (c *cluster) runtimeCalls(ctx context.Context) (time.Duration, error) {
	client, err := rest.HTTPClientFor(c.config)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.config.Host+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for _, m := range families["gantry_plugin_call_seconds"].GetMetric() {
		if startCalls[label(m, "method")] {
			sum += m.GetHistogram().GetSampleSum()
		}
	}
	return time.Duration(sum * float64(time.Second)), nil
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
