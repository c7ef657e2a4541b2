package apiserver

import (
	"context"
	"log/slog"
	"reflect"
	"time"

	"golang.org/x/sync/errgroup"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/apiserver/fairness"
	"github.com/gantryio/gantry/core/cache"
)

var (
	schemaKind = flowcontrolv1.SchemeGroupVersion.WithResource("flowschemas")
	levelKind  = flowcontrolv1.SchemeGroupVersion.WithResource("prioritylevelconfigurations")
)

const (
	// The field managers of kube-apiserver, so that a cluster which is moved has the same owners.
	flowProducer = "api-priority-and-fairness-config-producer-v1"
	flowConsumer = "api-priority-and-fairness-config-consumer-v1"
	// flowRetry is how long a write that failed waits.
	flowRetry = time.Second
)

// FollowFlowSchemas keeps the objects of flow control that every cluster has, and tells of schemas whose level is missing, until
// ctx ends. Any number of servers may do so.
func (s *Server) FollowFlowSchemas(ctx context.Context) error {
	schemas, levels := s.collection(schemaKind), s.collection(levelKind)
	if schemas == nil || levels == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	_, schemaEvents := schemas.SnapshotAndWatch(cache.Scope{})
	defer schemaEvents.Close()
	_, levelEvents := levels.SnapshotAndWatch(cache.Scope{})
	defer levelEvents.Close()
	schemaEvents.SetPatient()
	levelEvents.SetPatient()
	for {
		var again <-chan time.Time
		if err := s.repairFlowControl(ctx); err != nil && ctx.Err() == nil {
			slog.Warn("cannot repair the objects of flow control, trying again", "err", err)
			again = time.After(flowRetry)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-schemaEvents.Woken():
		case <-levelEvents.Woken():
		case <-again:
		}
		for _, w := range []*cache.Watcher{schemaEvents, levelEvents} {
			if _, err := w.Poll(nil); err != nil {
				return err
			}
		}
	}
}

// repairFlowControl does what is to be done as of now. Of writes that somebody else was quicker with, the event comes.
func (s *Server) repairFlowControl(ctx context.Context) error {
	schemas, levels := s.collection(schemaKind), s.collection(levelKind)
	if schemas == nil || levels == nil {
		return nil // a server of other kinds
	}
	repairs := fairness.Repair(flowObjects(entries(schemas), entries(levels)), metav1.Now())
	// Levels and schemas may come in any order: a schema without its level is like that of the level "catch-all".
	var g errgroup.Group
	for _, obj := range repairs.Create {
		g.Go(func() error {
			return s.repair(obj, func(q *api.Request) error { _, err := s.Create(ctx, q, obj); return err })
		})
	}
	for _, obj := range repairs.Update {
		g.Go(func() error {
			return s.repair(obj, func(q *api.Request) error {
				_, _, err := s.Update(ctx, q, obj.DeepCopyObject().(api.Object))
				return err
			})
		})
	}
	for _, obj := range repairs.Delete {
		g.Go(func() error {
			return s.repair(obj, func(q *api.Request) error {
				_, _, err := s.Delete(ctx, q, metav1.NewPreconditionDeleteOptions(string(obj.GetUID())))
				return err
			})
		})
	}
	for _, obj := range repairs.Status {
		g.Go(func() error {
			return s.repair(obj, func(q *api.Request) error {
				q.Subresource, q.Manager = "status", flowConsumer
				_, _, err := s.Update(ctx, q, obj.DeepCopyObject().(api.Object))
				return err
			})
		})
	}
	return g.Wait()
}

func (s *Server) repair(obj api.Object, write func(q *api.Request) error) error {
	q := bootstrapRequest(s.Registry.ForType(reflect.TypeOf(obj)), obj)
	q.Manager = flowProducer
	err := write(q)
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return wrapBootstrap(q, err)
}

func flowObjects(schemas, levels []*cache.Entry) fairness.Objects {
	var out fairness.Objects
	for _, e := range schemas {
		out.Schemas = append(out.Schemas, e.Object.(*flowcontrolv1.FlowSchema))
	}
	for _, e := range levels {
		out.Levels = append(out.Levels, e.Object.(*flowcontrolv1.PriorityLevelConfiguration))
	}
	return out
}

func entries(col *cache.Collection) []*cache.Entry {
	var out []*cache.Entry
	for _, e := range col.Snapshot().All() {
		out = append(out, e)
	}
	return out
}
