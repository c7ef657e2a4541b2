//go:build e2e

package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// What runs is measured when somebody asks, and kubectl prints it as it does of any cluster.
func TestTop(t *testing.T) {
	c := shared
	ns := c.namespace(t)
	c.apply(t, ns, workload("Deployment", "busy", "replicas: 2", ""))
	c.wait(t, ns, "deployment/busy", "condition=Available")
	address := c.kubectl(t, "-n", ns, "get", "pods", "-o", "jsonpath={.items[0].status.podIP}")
	burner := c.kubectl(t, "-n", ns, "get", "pods", "-o", "jsonpath={.items[0].metadata.name}")
	go func() { _, _ = get("http://" + address + ":8080/burn?for=40s") }()

	row := regexp.MustCompile(`(?m)^(\S+ +)?(\S+) +(\d+)m +(\d+)Mi *$`)
	eventually(t, func() error {
		out := c.kubectl(t, "-n", ns, "top", "pods", "--sort-by=cpu")
		rows := row.FindAllStringSubmatch(out, -1)
		if len(rows) != 2 || rows[0][2] != burner || len(rows[0][3]) < 3 || rows[0][4] == "0" {
			return fmt.Errorf("not the pod that works first, with at least 100m:\n%s", out)
		}
		return nil
	})
	wantParts(t, c.kubectl(t, "-n", ns, "top", "pods", "--containers"), "POD", "NAME", "CPU(cores)", "MEMORY(bytes)", " demo ")
	wantParts(t, c.kubectl(t, "top", "pods", "-A", "-l", "app=busy"), "NAMESPACE", ns, burner)
	wantParts(t, c.kubectl(t, "-n", ns, "top", "pod", burner), burner)
	out := c.kubectl(t, "top", "nodes")
	if !regexp.MustCompile(`(?m)^\S+ +\d+m +\d+% +\d+Mi +\d+% *$`).MatchString(out) {
		t.Errorf("top nodes printed:\n%s", out)
	}
	if out := c.kubectl(t, "get", "podmetrics", "-n", ns); !strings.Contains(out, "WINDOW") {
		t.Errorf("get podmetrics printed:\n%s", out)
	}
}

// A workload that is busy grows.
func TestAutoscale(t *testing.T) {
	c := shared
	ns := c.namespace(t)
	asking := strings.Replace(workload("Deployment", "busy", "replicas: 1", ""), "{name: demo,", "{name: demo, resources: {requests: {cpu: 100m}},", 1)
	c.apply(t, ns, asking)
	c.wait(t, ns, "deployment/busy", "condition=Available")
	c.kubectl(t, "-n", ns, "autoscale", "deployment/busy", "--cpu=50%", "--min=1", "--max=3")
	address := c.kubectl(t, "-n", ns, "get", "pods", "-o", "jsonpath={.items[0].status.podIP}")
	go func() { _, _ = get("http://" + address + ":8080/burn?for=60s") }()
	c.wait(t, ns, "hpa/busy", "jsonpath={.status.desiredReplicas}=3")
	c.wait(t, ns, "deployment/busy", "jsonpath={.status.readyReplicas}=3")
	if out := c.kubectl(t, "-n", ns, "get", "hpa"); !regexp.MustCompile(`(?m)^busy +Deployment/busy +cpu: \d+%/50% +1 +3 +\d +`).MatchString(out) {
		t.Errorf("get hpa printed:\n%s", out)
	}
	wantParts(t, c.kubectl(t, "-n", ns, "describe", "hpa", "busy"), "SuccessfulRescale", "New size: 3; reason: cpu resource utilization (percentage of request) above target",
		"ScalingActive", "ValidMetricFound", "ScalingLimited", "TooManyReplicas")
	wantParts(t, c.kubectl(t, "-n", ns, "get", "horizontalpodautoscalers.v1.autoscaling", "busy", "-o", "yaml"), "apiVersion: autoscaling/v1", "targetCPUUtilizationPercentage: 50", "autoscaling.alpha.kubernetes.io/conditions")
	wantParts(t, c.kubectl(t, "-n", ns, "get", "all"), "horizontalpodautoscaler.autoscaling/busy")
}
