package main

import (
	"context"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const rolloutReplicas = 1000

// rollout brings a Deployment of a thousand replicas up on hollow nodes and
// down again.
func rollout(ctx context.Context, c *cluster) error {
	if err := c.start(ctx); err != nil {
		return err
	}
	stop, err := c.startHollow(ctx)
	if err != nil {
		return err
	}
	defer stop()
	labels := map[string]string{"app": "rollout"}
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "rollout", Namespace: "default"},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(rolloutReplicas)), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: hollowPod(0).Spec},
		},
	}
	before, err := c.usage()
	if err != nil {
		return err
	}
	own, began := ownCPU(), time.Now()
	if err := c.api.Create(ctx, d); err != nil {
		return err
	}
	up := map[string]bool{}
	err = c.await(ctx, func(_ bool, p *corev1.Pod) bool {
		if p.Labels["app"] == "rollout" && p.Status.Phase == corev1.PodRunning {
			up[p.Name] = true
		}
		return len(up) == rolloutReplicas
	})
	if err != nil {
		return err
	}
	if err := c.printRollout("deployment of 1,000 on hollow nodes to all Running", began, before, own); err != nil {
		return err
	}
	if before, err = c.usage(); err != nil {
		return err
	}
	own, began = ownCPU(), time.Now()
	if err := c.api.Patch(ctx, d, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"replicas":0}}`))); err != nil {
		return err
	}
	err = c.await(ctx, func(deleted bool, p *corev1.Pod) bool {
		if deleted {
			delete(up, p.Name)
		}
		return len(up) == 0
	})
	if err != nil {
		return err
	}
	if err := c.printRollout("deployment of 1,000 scaled to 0, all gone", began, before, own); err != nil {
		return err
	}
	return c.api.Delete(ctx, d)
}

func (c *cluster) printRollout(what string, began time.Time, before usage, own time.Duration) error {
	took := time.Since(began)
	after, err := c.usage()
	if err != nil {
		return err
	}
	print(what, "%s, %s of server CPU, %s of agents", round(took), round(after.cpu-before.cpu), round(ownCPU()-own))
	return nil
}
