package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

const (
	readCount  = 20_000
	applyCount = 5_000
	readers    = 16
	listedPods = 20_000
	listRuns   = 7
	// listsAtOnce are made at the same time, to see how much memory they take together.
	listsAtOnce = 50
)

const (
	configMaps = "/api/v1/namespaces/default/configmaps"
	podsPath   = "/api/v1/namespaces/default/pods"
)

func configMapBody(name string) []byte {
	return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"labels":{"app":"bench"}},"data":{"k":%q}}`, name, strings.Repeat("x", 900))
}

// pendingPod is some 2.5 KB as it is listed; no scheduler takes it.
func pendingPod(i int) []byte {
	return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"pod-%d","labels":{"app":"bench","tier":"web","i":"%d"}},"spec":{"schedulerName":"nobody",`+
		`"containers":[{"name":"main","image":"docker.io/library/demo:1","args":["sleep","1000000"],"env":[{"name":"A","value":"one"},{"name":"B","value":"two"}],`+
		`"ports":[{"containerPort":80}],"resources":{"requests":{"cpu":"100m","memory":"100Mi"}}}]}}`, i, i%100)
}

// reads measures GET and the server-side apply of a pod.
func reads(ctx context.Context, c *cluster) error {
	return c.withServer(ctx, func(s *apiServer) error {
		if _, err := s.load(ctx, readers, 1000, func(c *caller, i int) error {
			_, err := c.do(ctx, "POST", configMaps, configMapBody(fmt.Sprintf("cm-%d", i)), "")
			return err
		}); err != nil {
			return err
		}
		if err := s.measured(ctx, "GET", "get", readCount, func(c *caller, i int) error {
			_, err := c.do(ctx, "GET", fmt.Sprintf("%s/cm-%d", configMaps, i%1000), nil, "")
			return err
		}); err != nil {
			return err
		}
		apply := func(version string) func(c *caller, i int) error {
			return func(c *caller, i int) error {
				body := strings.Replace(string(pendingPod(i%1000)), `"tier":"web"`, fmt.Sprintf(`"tier":"%s-%d"`, version, i), 1)
				_, err := c.do(ctx, "PATCH", fmt.Sprintf("%s/pod-%d?fieldManager=bench", podsPath, i%1000), []byte(body), "application/apply-patch+yaml")
				return err
			}
		}
		if _, err := s.load(ctx, readers, 1000, apply("new")); err != nil {
			return err
		}
		return s.measured(ctx, "server-side apply of a pod", "apply", applyCount, apply("changed"))
	})
}

// measured prints what n calls cost.
func (s *apiServer) measured(ctx context.Context, title, name string, n int, call func(c *caller, i int) error) error {
	return s.profiled(ctx, name, func() error {
		cpu, began := s.cpu(), time.Now()
		took, err := s.load(ctx, readers, n, call)
		if err != nil {
			return err
		}
		print(fmt.Sprintf("%s, %d clients", title, readers), "%d µs of server CPU each; %.0f a second, p50 %s, p99 %s",
			(s.cpu()-cpu).Microseconds()/int64(n), float64(n)/time.Since(began).Seconds(), took.at(50), took.at(99))
		return nil
	})
}

// lists measures LIST of many pods, one at a time and many at once, each format on a server of its own: one that has been asked for both
// keeps both encodings.
func lists(ctx context.Context, c *cluster) error {
	for _, format := range []string{"application/json", "application/vnd.kubernetes.protobuf"} {
		if err := c.withServer(ctx, func(s *apiServer) error {
			if _, err := s.load(ctx, readers, listedPods, func(c *caller, i int) error {
				_, err := c.do(ctx, "POST", podsPath, pendingPod(i), "")
				return err
			}); err != nil {
				return err
			}
			time.Sleep(settle) // what creating them took is not what lists take
			return s.listed(ctx, format)
		}); err != nil {
			return err
		}
	}
	return nil
}

func (s *apiServer) listed(ctx context.Context, format string) error {
	word := format[strings.LastIndexAny(format, "/.")+1:]
	var size int64
	call := func(c *caller, _ int) (err error) {
		c.accept = format
		size, err = c.do(ctx, "GET", podsPath, nil, "")
		return err
	}
	began := s.cpu()
	if _, err := s.load(ctx, 1, 1, call); err != nil {
		return err
	}
	first := s.cpu() - began
	if err := s.profiled(ctx, "list-"+word, func() error {
		began := s.cpu()
		took, err := s.load(ctx, 1, listRuns, call)
		if err != nil {
			return err
		}
		print(fmt.Sprintf("LIST of 20,000 pods, %s", word), "%d ms of server CPU each, the first one %d ms; %.1f MB, p50 %s",
			(s.cpu()-began).Milliseconds()/listRuns, first.Milliseconds(), float64(size)/1e6, took.at(50))
		return nil
	}); err != nil {
		return err
	}
	if err := s.resetPeak(); err != nil {
		return err
	}
	before, err := s.memory()
	if err != nil {
		return err
	}
	if _, err := s.load(ctx, listsAtOnce, listsAtOnce, call); err != nil {
		return err
	}
	after, err := s.memory()
	if err != nil {
		return err
	}
	print(fmt.Sprintf("%d of them at once, %s", listsAtOnce, word), "at most %.0f MB, %.0f more than before, %.1f each; before %s",
		float64(after.peak)/1e6, float64(after.peak-before.rss)/1e6, float64(after.peak-before.rss)/1e6/listsAtOnce, before)
	return nil
}
