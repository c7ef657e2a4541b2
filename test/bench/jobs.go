package main

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/plugins/runtime/fake"
)

const (
	hollowJobs = 1000
	// exits is the command of containers that end at once, with success.
	exits = "exits"
)

// exitWhenAsked ends the containers that were started to end.
func exitWhenAsked(r *fake.Runtime, id string, config *runtimeapi.ContainerConfig) {
	if len(config.GetCommand()) == 1 && config.GetCommand()[0] == exits {
		r.Exit(id, 0)
	}
}

// jobs creates a thousand jobs of one pod each, whose containers end at once.
func jobs(ctx context.Context, c *cluster) error {
	if err := c.start(ctx); err != nil {
		return err
	}
	stop, err := c.startHollow(ctx)
	if err != nil {
		return err
	}
	defer stop()
	before, err := c.usage()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	own, began := ownCPU(), time.Now()
	w, err := c.api.Watch(ctx, &batchv1.JobList{}, client.InNamespace("default"))
	if err != nil {
		return err
	}
	defer w.Stop()
	failed := make(chan error, 1)
	go func() { failed <- c.createAll(ctx, hollowJobs, func(n int) client.Object { return hollowJob(n) }) }()
	complete := map[string]bool{}
	for len(complete) < hollowJobs {
		e, ok := <-w.ResultChan()
		if !ok {
			return fmt.Errorf("only %d jobs are complete: %w", len(complete), ctx.Err())
		}
		if j, ok := e.Object.(*batchv1.Job); ok && j.Status.CompletionTime != nil {
			complete[j.Name] = true
		}
	}
	took := time.Since(began)
	if err := <-failed; err != nil {
		return err
	}
	after, err := c.usage()
	if err != nil {
		return err
	}
	print("1,000 jobs created to complete on hollow nodes", "%s, %.2f ms of server CPU each, %.2f ms of agents and creators",
		round(took), (after.cpu-before.cpu).Seconds()*1000/hollowJobs, (ownCPU()-own).Seconds()*1000/hollowJobs)
	return nil
}

func hollowJob(n int) *batchv1.Job {
	spec := hollowPod(0).Spec
	spec.RestartPolicy = corev1.RestartPolicyNever
	spec.Containers[0].Command = []string{exits}
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("job-%d", n), Namespace: "default"},
		Spec:       batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: spec}},
	}
}
