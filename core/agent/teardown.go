package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/core/agent/criconfig"
)

const (
	// tearAtOnce is how many sandboxes are removed at the same time: more would only wait for each other, and time out together.
	tearAtOnce = 8
	// tearPatience is how long nothing may be removed before the rest is given up, and tearAgain the pause between two tries.
	tearPatience = 30 * time.Second
	tearAgain    = 100 * time.Millisecond
)

// Teardown stops and removes every pod of this node from the machine: containers, sandboxes with their network, volumes,
// cgroups and logs. The API is not touched. Run must have ended; it is idempotent and may be called on an Agent that
// never ran. The containers of an adopted runtime that does not answer are left: nobody else can remove them.
func (a *Agent) Teardown(ctx context.Context) error {
	a.init()
	var mu sync.Mutex
	var errs []error
	fail := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	patience := time.AfterFunc(tearPatience, cancel)
	defer patience.Stop()
	var tearing errgroup.Group
	tearing.SetLimit(tearAtOnce)
	absent := map[string]bool{}
	for _, i := range a.Runtimes.Instances() {
		all, err := a.listAll(ctx, i)
		if i.Adopted && away(err) {
			a.Log.Warn("the containers of an adopted runtime that does not answer are left", "plugin", i.Plugin, "err", err)
			absent[i.Plugin] = true
			continue
		}
		if err != nil {
			fail(err)
			continue
		}
		for _, l := range all {
			for _, sb := range l.sandboxes {
				tearing.Go(func() error {
					if err := a.tearSandbox(ctx, i, sb.GetId()); err != nil {
						fail(err)
						return nil
					}
					patience.Reset(tearPatience)
					if dir := criconfig.LogDirectoryOf(sb.GetAnnotations()); dir != "" && !a.Hollow {
						fail(os.RemoveAll(dir))
					}
					return nil
				})
			}
		}
	}
	_ = tearing.Wait() // what failed is in errs
	if a.Hollow || errors.Join(errs...) != nil {
		return errors.Join(errs...)
	}
	fail(a.clear(absent))
	return errors.Join(errs...)
}

// clear removes what pods have on the node besides containers, but for those that an absent runtime may run.
func (a *Agent) clear(absent map[string]bool) error {
	var errs []error
	stays := func(uid string) bool { return absent[a.marked(types.UID(uid))] }
	for _, uid := range a.volumes.Pods() {
		if !stays(uid) {
			errs = append(errs, a.volumes.Release(uid))
		}
	}
	a.clearLogs(stays)
	if len(absent) == 0 {
		return errors.Join(append(errs, a.cgroups.RemoveBase())...)
	}
	for uid, path := range a.cgroups.Pods() {
		if !stays(uid) {
			errs = append(errs, a.cgroups.Remove(path))
		}
	}
	return errors.Join(errs...)
}

// away tells that a runtime could not be asked at all.
func away(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.DeadlineExceeded
}

// tearSandbox ends a sandbox. Its containers get no grace: the machine is being cleared. A runtime that is still at what the
// agent before this one asked for refuses for a moment.
func (a *Agent) tearSandbox(ctx context.Context, i Instance, id string) error {
	for {
		_, err := i.Runtime.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: id})
		if err == nil || status.Code(err) == codes.NotFound {
			_, err = i.Runtime.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: id})
		}
		if err == nil || status.Code(err) == codes.NotFound {
			return nil
		}
		err = fmt.Errorf("remove sandbox %s: %w", id, err)
		if status.Code(err) != codes.Unknown {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(tearAgain):
		}
	}
}
