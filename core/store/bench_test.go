package store

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// Creates and updates of 1 KiB by 64 writers at once. cpu-µs/op is what all threads have used; syncs/op, how often the log was
// flushed to disk.
func BenchmarkWrites(b *testing.B) {
	s, err := Open(b.Context(), Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	value := bytes.Repeat([]byte("x"), 1024)
	key := func(i int64) string { return fmt.Sprintf("/registry/configmaps/default/cm-%d", i) }
	var made atomic.Int64
	b.Run("create", func(b *testing.B) {
		measure(b, func(ctx context.Context) error {
			_, err := s.Create(ctx, key(made.Add(1)), value, 0)
			return err
		})
	})
	b.Run("update", func(b *testing.B) {
		measure(b, func(ctx context.Context) error {
			name := fmt.Sprintf("/registry/pods/default/pod-%d", made.Add(1))
			revision, err := s.Create(ctx, name, value, 0)
			for n := 0; n < 9 && err == nil; n++ {
				revision, err = s.Update(ctx, name, value, revision, 0)
			}
			return err
		})
	})
}

func measure(b *testing.B, do func(ctx context.Context) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	cpu, syncs := cpuTime(b), fsyncs(b)
	b.ResetTimer()
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if err := do(b.Context()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(fsyncs(b)-syncs)/float64(b.N), "syncs/op")
}

func cpuTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return (u.Utime.Nano() + u.Stime.Nano()) / 1000
}

func fsyncs(b *testing.B) uint64 {
	all, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == "etcd_disk_wal_fsync_duration_seconds" {
			return f.GetMetric()[0].GetHistogram().GetSampleCount()
		}
	}
	b.Fatal("etcd does not count its fsyncs")
	return 0
}
