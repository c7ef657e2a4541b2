package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	watchersCount = 1000
	watchedCount  = 50
	watchRate     = 50 // writes a second
	watchFor      = 20 * time.Second
)

// watchers measures what an event costs for each of a thousand watchers, and how late it comes.
func watchers(ctx context.Context, c *cluster) error {
	return c.withServer(ctx, func(s *apiServer) error {
		if _, err := s.load(ctx, 1, watchedCount, func(c *caller, i int) error {
			_, err := c.do(ctx, "POST", configMaps, configMapBody(fmt.Sprintf("cm-%d", i)), "")
			return err
		}); err != nil {
			return err
		}
		before, err := s.memory()
		if err != nil {
			return err
		}
		w, err := s.watchAll(ctx)
		if err != nil {
			return err
		}
		defer w.stop()
		return s.profiled(ctx, "watch", func() error { return w.measure(ctx, before) })
	})
}

type watching struct {
	*apiServer
	cancel context.CancelFunc
	wg     sync.WaitGroup
	seen   atomic.Int64
	ended  atomic.Int64

	mu   sync.Mutex
	took times
}

func (w *watching) stop() {
	w.cancel()
	w.wg.Wait()
}

// watchAll begins the watches.
func (s *apiServer) watchAll(ctx context.Context) (*watching, error) {
	first, err := s.dial()
	if err != nil {
		return nil, err
	}
	defer first.CloseIdleConnections()
	resp, err := first.send(ctx, "GET", configMaps+"?limit=1", nil, "")
	if err != nil {
		return nil, err
	}
	var list metav1.PartialObjectMetadataList
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return nil, err
	}
	resp.Body.Close()
	w := &watching{apiServer: s}
	ctx, w.cancel = context.WithCancel(ctx)
	for range connections {
		c, err := s.dial()
		if err != nil {
			w.stop()
			return nil, err
		}
		for range watchersCount / connections {
			resp, err := c.send(ctx, "GET", configMaps+"?watch=1&resourceVersion="+list.ResourceVersion, nil, "")
			if err != nil {
				w.stop()
				return nil, err
			}
			w.wg.Go(func() {
				defer resp.Body.Close()
				w.read(ctx, bufio.NewReaderSize(resp.Body, 16<<10))
			})
		}
	}
	return w, nil
}

// stamp comes before the time at which a write was begun.
const stamp = `"ts":"`

func (w *watching) read(ctx context.Context, r *bufio.Reader) {
	var own times
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			break
		}
		_, rest, _ := bytes.Cut(line, []byte(stamp))
		text, _, ok := bytes.Cut(rest, []byte{'"'})
		if at, err := strconv.ParseInt(string(text), 10, 64); ok && err == nil {
			own = append(own, time.Duration(time.Now().UnixNano()-at))
			w.seen.Add(1)
		}
	}
	if ctx.Err() == nil {
		w.ended.Add(1)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.took = append(w.took, own...)
}

func (w *watching) measure(ctx context.Context, before memoryOf) error {
	after, err := w.memory()
	if err != nil {
		return err
	}
	const writes = watchRate * int(watchFor/time.Second)
	began, cpu := time.Now(), w.cpu()
	if _, err := w.load(ctx, 8, writes, func(c *caller, i int) error {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / watchRate)))
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"ts":"%d"}}}`, time.Now().UnixNano())
		_, err := c.do(ctx, "PATCH", fmt.Sprintf("%s/cm-%d", configMaps, i%watchedCount), patch, "application/merge-patch+json")
		return err
	}); err != nil {
		return err
	}
	for w.seen.Load()+w.ended.Load()*int64(writes) < int64(writes)*watchersCount && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	used := w.cpu() - cpu
	w.stop()
	print("1,000 watchers, 50 writes a second", "%.1f µs of server CPU for each event and watcher; delivery p50 %s, p99 %s; %d watches ended",
		float64(used.Microseconds())/float64(writes*watchersCount), w.took.at(50), w.took.at(99), w.ended.Load())
	print("1,000 watchers on 20 connections", "%.0f KB each", float64(after.rss-before.rss)/1e3/watchersCount)
	return nil
}
