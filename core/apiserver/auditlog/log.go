package auditlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	auditapi "k8s.io/apiserver/pkg/apis/audit"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/audit/policy"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/apiserver/plugin/pkg/audit/buffered"
	logbackend "k8s.io/apiserver/plugin/pkg/audit/log"
	"k8s.io/apiserver/plugin/pkg/audit/truncate"
	webhookbackend "k8s.io/apiserver/plugin/pkg/audit/webhook"
)

// drainTime bounds how long the events that wait hold up the end of the process.
const drainTime = 10 * time.Second

// Log decides what is recorded of requests, and hands it to the backends.
type Log struct {
	policy  audit.PolicyRuleEvaluator
	backend audit.Backend
	file    io.Closer // nil for standard output, or without a log
}

// New returns a log that decides by the policy, which must be valid.
func New(p *auditapi.Policy, backend audit.Backend) *Log {
	return &Log{policy: policy.NewPolicyRuleEvaluator(p), backend: backend}
}

// Open reads the files that the flags name and opens the backends, which work while [Log.Run] runs. Without a policy or a backend it
// returns nil: nothing is recorded.
func (f *Flags) Open() (*Log, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if f.policy == "" {
		return nil, nil
	}
	data, err := os.ReadFile(f.policy)
	if err != nil {
		return nil, fmt.Errorf("--audit-policy-file: %w", err)
	}
	p, err := ParsePolicy(data)
	if err != nil {
		return nil, fmt.Errorf("--audit-policy-file: %s: %w", f.policy, err)
	}
	l := New(p, nil)
	var backends []audit.Backend
	if f.path != "" {
		out, err := f.open()
		if err != nil {
			return nil, fmt.Errorf("--audit-log-path: %w", err)
		}
		if out != os.Stdout {
			l.file = out
		}
		backends = append(backends, f.log.wrap(logbackend.NewBackend(out, f.format, auditv1.SchemeGroupVersion)))
	}
	if f.config != "" {
		hook, err := webhookbackend.NewBackend(f.config, auditv1.SchemeGroupVersion, webhook.DefaultRetryBackoffWithInitialDelay(f.backoff), nil)
		if err != nil {
			return nil, fmt.Errorf("--audit-webhook-config-file: %w", err)
		}
		backends = append(backends, f.webhook.wrap(hook))
	}
	switch len(backends) {
	case 0:
		return nil, nil
	case 1:
		l.backend = backends[0]
	default:
		l.backend = audit.Union(backends...)
	}
	return l, nil
}

// ParsePolicy decodes a policy strictly, unlike kube-apiserver, which only warns of fields that it does not know: what was meant to be
// recorded, or to be left out, would silently not be.
func ParsePolicy(data []byte) (*auditapi.Policy, error) {
	p, err := policy.LoadPolicyFromBytes(data)
	if err != nil {
		return nil, err
	}
	strict := serializer.NewCodecFactory(audit.Scheme, serializer.EnableStrict).UniversalDecoder()
	if _, _, err := strict.Decode(data, nil, &auditapi.Policy{}); err != nil {
		return nil, err
	}
	return p, nil
}

// open opens the log for its owner alone.
func (f *Flags) open() (io.WriteCloser, error) {
	if f.path == "-" {
		return os.Stdout, nil
	}
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil || f.maxSize == 0 {
		return file, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	return &lumberjack.Logger{Filename: f.path, MaxAge: f.maxAge, MaxBackups: f.maxBackups, MaxSize: f.maxSize, Compress: f.compress}, nil
}

// wrap gives a backend its mode and its limits.
func (o *output) wrap(b audit.Backend) audit.Backend {
	switch o.mode {
	case modeBatch:
		b = buffered.NewBackend(b, o.batch)
	case modeBlocking:
		b = patient{b}
	}
	if o.truncated {
		b = truncate.NewBackend(b, o.limits, schema.GroupVersion(auditv1.SchemeGroupVersion))
	}
	return b
}

// patient is a backend whose failures are counted, and nobody's concern otherwise.
type patient struct{ audit.Backend }

// ProcessEvents implements audit.Sink.
func (p patient) ProcessEvents(events ...*auditapi.Event) bool {
	p.Backend.ProcessEvents(events...)
	return true
}

// Run lets the backends work until ctx ends and what they have taken is written. It must outlive whoever serves requests.
func (l *Log) Run(ctx context.Context) error {
	if err := l.backend.Run(ctx.Done()); err != nil {
		return fmt.Errorf("run the audit log: %w", err)
	}
	<-ctx.Done()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		l.backend.Shutdown()
	}()
	late := time.NewTimer(drainTime)
	defer late.Stop()
	select {
	case <-drained:
	case <-late.C:
		slog.Error("audit events were not taken in time and are lost", "backend", l.backend.String())
	}
	if l.file != nil {
		return errors.Join(ctx.Err(), l.file.Close())
	}
	return ctx.Err()
}
