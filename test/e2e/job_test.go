//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

const jobsManifest = `
apiVersion: batch/v1
kind: Job
metadata: {name: hello}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: "%[1]s", command: [sh, -c, "echo hello from a job"]}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: indexed}
spec:
  completions: 3
  parallelism: 2
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: "%[1]s", command: [sh, -c, "echo index $JOB_COMPLETION_INDEX on $(hostname)"]}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: broken}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: "%[1]s", command: [sh, -c, "exit 7"]}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: ignored}
spec:
  backoffLimit: 0
  podFailurePolicy:
    rules: [{action: FailJob, onExitCodes: {operator: In, values: [42]}}]
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: "%[1]s", command: [sh, -c, "exit 42"]}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: slow}
spec:
  activeDeadlineSeconds: 1
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      containers: [{name: c, image: "%[1]s", command: [sleep, "600"]}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: brief}
spec:
  ttlSecondsAfterFinished: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: "%[1]s", command: ["true"]}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: replaced}
spec:
  podReplacementPolicy: Failed
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      containers: [{name: c, image: "%[1]s", command: [sleep, "600"]}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "@every 2s"
  concurrencyPolicy: Forbid
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: c, image: "%[1]s", command: [sh, -c, "echo tick"]}]
`

func TestJobs(t *testing.T) {
	c := shared
	needToolbox(t)
	ns := c.namespace(t)
	kubectl := func(args ...string) string {
		t.Helper()
		return c.kubectl(t, append([]string{"-n", ns}, args...)...)
	}
	c.apply(t, ns, fmt.Sprintf(jobsManifest, busybox))

	c.wait(t, ns, "job/hello", "condition=complete")
	wantParts(t, kubectl("logs", "job/hello"), "hello from a job")
	wantParts(t, kubectl("get", "job", "hello"), "NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE", "Complete", "1/1")
	wantParts(t, kubectl("describe", "job", "hello"), "Completions:      1", "1 Succeeded / 0 Failed", "batch.kubernetes.io/job-name=hello",
		"SuccessfulCreate", "Created pod: hello-", "Completed", "Job completed")
	if pods := kubectl("get", "pods", "-l", "job-name=hello", "-o", "jsonpath={.items[*].status.phase}{.items[*].metadata.finalizers}"); pods != "Succeeded" {
		t.Errorf("the job's pods are %s", pods)
	}

	c.wait(t, ns, "job/indexed", "condition=complete")
	if got := kubectl("get", "job", "indexed", "-o", "jsonpath={.status.completedIndexes} {.status.succeeded}"); got != "0-2 3" {
		t.Errorf("completed are %s, want 0-2 3", got)
	}
	wantParts(t, kubectl("logs", "-l", "batch.kubernetes.io/job-completion-index=2"), "index 2 on indexed-2")

	c.wait(t, ns, "job/broken", "condition=failed")
	wantParts(t, kubectl("get", "job", "broken", "-o", "jsonpath={.status.conditions[*].reason} {.status.failed}"), "BackoffLimitExceeded 1")
	c.wait(t, ns, "job/ignored", "condition=failed")
	wantParts(t, kubectl("get", "job", "ignored", "-o", "jsonpath={.status.conditions[*].message}"), "failed with exit code 42 matching FailJob rule at index 0")
	c.wait(t, ns, "job/slow", "condition=failed")
	wantParts(t, kubectl("describe", "job", "slow"), "DeadlineExceeded", "Job was active longer than specified deadline")
	c.wait(t, ns, "job/brief", "delete")

	c.wait(t, ns, "job/replaced", "jsonpath={.status.ready}=1")
	kubectl("delete", "pods", "-l", "job-name=replaced")
	c.wait(t, ns, "job/replaced", "jsonpath={.status.failed}=1")
	kubectl("patch", "job", "replaced", "-p", `{"spec":{"suspend":true}}`)
	c.wait(t, ns, "job/replaced", "condition=suspended")

	c.wait(t, ns, "cronjob/tick", "jsonpath={.status.lastSuccessfulTime}")
	wantParts(t, kubectl("get", "cj", "tick"), "SCHEDULE", "@every 2s", "<none>", "False")
	wantParts(t, kubectl("describe", "cronjob", "tick"), "SuccessfulCreate", "Created job tick-", "SawCompletedJob")
	kubectl("patch", "cronjob", "tick", "-p", `{"spec":{"suspend":true}}`)

	wantParts(t, kubectl("create", "job", "by-hand", "--from=cronjob/tick"), "job.batch/by-hand created")
	c.wait(t, ns, "job/by-hand", "condition=complete")
	wantParts(t, kubectl("logs", "job/by-hand"), "tick")
	wantParts(t, kubectl("create", "job", "direct", "--image="+busybox, "--", "sh", "-c", "echo direct"), "job.batch/direct created")
	c.wait(t, ns, "job/direct", "condition=complete")
	wantParts(t, kubectl("create", "cronjob", "yearly", "--image="+busybox, "--schedule=0 0 1 1 *", "--", "true"), "cronjob.batch/yearly created")

	c.refused(t, []string{"spec.template: Invalid value", "field is immutable"}, "-n", ns, "patch", "job", "direct", "-p",
		`{"spec":{"template":{"spec":{"containers":[{"name":"direct","image":"other:1"}]}}}}`)
	kubectl("delete", "cronjobs,jobs", "--all", "--wait=true", "--timeout=30s")
	kubectl("wait", "pods", "--all", "--for=delete", "--timeout=30s")
	if left := strings.TrimSpace(kubectl("get", "pods", "-o", "name")); left != "" {
		t.Errorf("pods are left: %s", left)
	}
}
