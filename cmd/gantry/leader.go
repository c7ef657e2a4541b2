package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/gantryio/gantry/core/run"
)

// The lease that decides which of several servers over one etcd runs the controllers and the scheduler, with the
// times that Kubernetes' own components have.
const (
	leaseName     = "gantry-control"
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

// lead runs the controllers and the scheduler whenever this server has the lease, until ctx ends. Where they cannot
// be made, or end by themselves, everything ends.
func (s *server) lead(ctx context.Context) error {
	api, err := clientcmd.BuildConfigFromFlags("", s.path(kubeconfigFile))
	if err != nil {
		return fmt.Errorf("lead: %w", err)
	}
	client, err := kubernetes.NewForConfig(rest.AddUserAgent(api, "leader-election"))
	if err != nil {
		return fmt.Errorf("lead: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("lead: %w", err)
	}
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: leaseName},
		Client:     client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())},
	}
	for ctx.Err() == nil {
		if err := s.term(ctx, lock); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// term waits for the lease and leads until it is lost or ctx ends. The lease is given up after the controllers have
// ended, so that no two servers run them.
func (s *server) term(ctx context.Context, lock resourcelock.Interface) error {
	electing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var leads atomic.Bool
	ended := make(chan error, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		ReleaseOnCancel: true, Name: leaseName,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) {
				leads.Store(true)
				defer stop()
				work, cancel := context.WithCancel(leading)
				defer cancel()
				defer context.AfterFunc(ctx, cancel)()
				slog.Info("this server leads", "identity", lock.Identity())
				ended <- s.runControl(work)
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("lead: %w", err)
	}
	defer context.AfterFunc(ctx, func() {
		if !leads.Load() {
			stop()
		}
	})()
	elector.Run(electing)
	if !leads.Load() {
		return nil
	}
	return <-ended
}

// controlHealth tells whether some server runs the controllers and the scheduler.
func (s *server) controlHealth(ctx context.Context) error {
	lease := &coordinationv1.Lease{}
	if err := s.client.Get(ctx, types.NamespacedName{Namespace: metav1.NamespaceSystem, Name: leaseName}, lease); err != nil {
		return err
	}
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" || lease.Spec.RenewTime == nil {
		return errors.New("no server leads")
	}
	if since := time.Since(lease.Spec.RenewTime.Time); since > leaseDuration {
		return fmt.Errorf("no server leads since %s", since.Round(time.Second))
	}
	return nil
}

func (s *server) runControl(ctx context.Context) error {
	defer s.scheduler.Store(nil)
	parts, err := s.control(ctx)
	if err != nil {
		return err
	}
	if err := run.All(ctx, parts...); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
