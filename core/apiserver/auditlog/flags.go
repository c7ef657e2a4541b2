// Package auditlog records who asked the API server for what, and what came of it. What is recorded is decided by a policy of
// audit.k8s.io/v1; events, policy and backends are those of k8s.io/apiserver, so that whatever reads kube-apiserver's audit log
// reads this one.
package auditlog

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apiserver/plugin/pkg/audit/buffered"
	logbackend "k8s.io/apiserver/plugin/pkg/audit/log"
	"k8s.io/apiserver/plugin/pkg/audit/truncate"
	webhookbackend "k8s.io/apiserver/plugin/pkg/audit/webhook"
)

// The modes of a backend: whether a request waits until its events are written, and whether it fails when they cannot be.
const (
	modeBatch    = "batch"
	modeBlocking = "blocking"
	modeStrict   = "blocking-strict"
)

var modes = []string{modeBatch, modeBlocking, modeStrict}

// version is the only one that events are written in.
const version = "audit.k8s.io/v1"

// Flags are kube-apiserver's, with its defaults.
type Flags struct {
	policy                      string
	path, format                string
	maxAge, maxBackups, maxSize int
	compress                    bool
	config                      string
	backoff                     time.Duration
	log, webhook                output
}

// output is what both backends can be told.
type output struct {
	mode, version string
	batch         buffered.BatchConfig
	truncated     bool
	limits        truncate.Config
}

// Add adds the flags.
func (f *Flags) Add(flags *pflag.FlagSet) {
	flags.StringVar(&f.policy, "audit-policy-file", "", "file with the audit Policy (audit.k8s.io/v1); without it nothing is recorded")
	flags.StringVar(&f.path, "audit-log-path", "", "file that audit events are written to, - for standard output")
	flags.IntVar(&f.maxAge, "audit-log-maxage", 366, "days for which rotated audit logs are kept, 0 for ever")
	flags.IntVar(&f.maxBackups, "audit-log-maxbackup", 100, "how many rotated audit logs are kept, 0 for all")
	flags.IntVar(&f.maxSize, "audit-log-maxsize", 100, "megabytes from which on the audit log is rotated, 0 for never")
	flags.BoolVar(&f.compress, "audit-log-compress", false, "compress rotated audit logs with gzip")
	flags.StringVar(&f.format, "audit-log-format", logbackend.FormatJson, "form of the audit log: json, or legacy for lines of text")
	flags.StringVar(&f.config, "audit-webhook-config-file", "", "kubeconfig of a webhook that audit events are sent to")
	flags.DurationVar(&f.backoff, "audit-webhook-initial-backoff", webhookbackend.DefaultInitialBackoffDelay, "time until what the audit webhook did not take is sent again for the first time")
	f.log = output{mode: modeBlocking, batch: buffered.BatchConfig{MaxBatchSize: 1}}
	f.log.add(flags, "log")
	f.webhook = output{mode: modeBatch, batch: buffered.BatchConfig{
		MaxBatchSize: 400, MaxBatchWait: 30 * time.Second, ThrottleEnable: true, ThrottleQPS: 10, ThrottleBurst: 15, AsyncDelegate: true,
	}}
	f.webhook.add(flags, "webhook")
}

func (o *output) add(flags *pflag.FlagSet, name string) {
	prefix := "audit-" + name + "-"
	o.batch.BufferSize = 10_000
	flags.StringVar(&o.mode, prefix+"mode", o.mode, "whether requests wait for their audit events: "+strings.Join(modes, ", ")+", the last of which fails them when they cannot be recorded")
	flags.StringVar(&o.version, prefix+"version", version, "version of audit.k8s.io that events are written in")
	flags.IntVar(&o.batch.BufferSize, prefix+"batch-buffer-size", o.batch.BufferSize, "how many events may wait in mode batch before further ones are dropped")
	flags.IntVar(&o.batch.MaxBatchSize, prefix+"batch-max-size", o.batch.MaxBatchSize, "how many events are written at once in mode batch")
	flags.DurationVar(&o.batch.MaxBatchWait, prefix+"batch-max-wait", o.batch.MaxBatchWait, "how long events wait for others in mode batch")
	flags.BoolVar(&o.batch.ThrottleEnable, prefix+"batch-throttle-enable", o.batch.ThrottleEnable, "bound how often batches are written")
	flags.Float32Var(&o.batch.ThrottleQPS, prefix+"batch-throttle-qps", o.batch.ThrottleQPS, "batches that are written in a second on average, if that is bounded")
	flags.IntVar(&o.batch.ThrottleBurst, prefix+"batch-throttle-burst", o.batch.ThrottleBurst, "batches that are written at once, if that is bounded")
	flags.BoolVar(&o.truncated, prefix+"truncate-enabled", false, "drop the objects of large events, and split large batches")
	flags.Int64Var(&o.limits.MaxEventSize, prefix+"truncate-max-event-size", 100<<10, "bytes from which on an event is large")
	flags.Int64Var(&o.limits.MaxBatchSize, prefix+"truncate-max-batch-size", 10<<20, "bytes from which on a batch is large")
}

// check refuses what contradicts itself, of the backends that are used.
func (f *Flags) check() error {
	if f.path != "" {
		if !slices.Contains(logbackend.AllowedFormats, f.format) {
			return fmt.Errorf("--audit-log-format: %q is none of %s", f.format, strings.Join(logbackend.AllowedFormats, ", "))
		}
		for name, n := range map[string]int{"maxage": f.maxAge, "maxbackup": f.maxBackups, "maxsize": f.maxSize} {
			if n < 0 {
				return fmt.Errorf("--audit-log-%s must not be negative, have %d", name, n)
			}
		}
		if err := f.log.check("log"); err != nil {
			return err
		}
	}
	if f.config != "" {
		return f.webhook.check("webhook")
	}
	return nil
}

func (o *output) check(name string) error {
	flag := "--audit-" + name + "-"
	switch {
	case !slices.Contains(modes, o.mode):
		return fmt.Errorf("%smode: %q is none of %s", flag, o.mode, strings.Join(modes, ", "))
	case o.version != version:
		return fmt.Errorf("%sversion: events are written in %s only, not in %q", flag, version, o.version)
	case o.limits.MaxEventSize <= 0:
		return fmt.Errorf("%struncate-max-event-size must be positive, have %d", flag, o.limits.MaxEventSize)
	case o.limits.MaxBatchSize < o.limits.MaxEventSize:
		return fmt.Errorf("%struncate-max-batch-size must not be less than the size of an event, have %d", flag, o.limits.MaxBatchSize)
	case o.mode != modeBatch:
		return nil
	case o.batch.BufferSize <= 0:
		return fmt.Errorf("%sbatch-buffer-size must be positive, have %d", flag, o.batch.BufferSize)
	case o.batch.MaxBatchSize <= 0:
		return fmt.Errorf("%sbatch-max-size must be positive, have %d", flag, o.batch.MaxBatchSize)
	case o.batch.ThrottleEnable && (o.batch.ThrottleQPS <= 0 || o.batch.ThrottleBurst <= 0):
		return fmt.Errorf("%sbatch-throttle-qps and -burst must be positive, have %v and %d", flag, o.batch.ThrottleQPS, o.batch.ThrottleBurst)
	}
	return nil
}
