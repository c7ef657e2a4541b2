//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gantryio/gantry/interfaces/plugin/process"
)

// fresh is a client that makes a connection for each request, as many users would.
var fresh = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// get returns the body of a page, or an error unless the status is 200.
func get(url string) (string, error) { return getBy(fresh, url) }

func getBy(client *http.Client, url string) (string, error) {
	res, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s: %s", res.Status, body)
	}
	return string(body), err
}

// line finds the line of a table that begins with the name and returns its cells by column.
func line(t *testing.T, table, name string) map[string]string {
	t.Helper()
	var header string
	for _, l := range strings.Split(table, "\n") {
		switch {
		case strings.HasPrefix(l, "NAME ") || strings.HasPrefix(l, "LAST SEEN "):
			header = l
		case strings.HasPrefix(l, name):
			return cells(header, l)
		}
	}
	t.Fatalf("no line begins with %q:\n%s", name, table)
	return nil
}

var column = regexp.MustCompile(`\S+( \S+)*`)

func cells(header, row string) map[string]string {
	out := map[string]string{}
	at := column.FindAllStringIndex(header, -1)
	for i, span := range at {
		end := len(row)
		if i+1 < len(at) {
			end = min(end, at[i+1][0])
		}
		out[header[span[0]:span[1]]] = strings.TrimSpace(row[min(span[0], len(row)):end])
	}
	return out
}

func wantCells(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name, pattern := range want {
		cell, ok := got[name]
		if !ok || !regexp.MustCompile("^"+pattern+"$").MatchString(cell) {
			t.Errorf("column %s is %q, want %s (all: %v)", name, cell, pattern, got)
		}
	}
}

const (
	age     = `\d+(s|m|m\d+s)`
	address = `10\.244\.\d+\.\d+`
)

func TestFirstSession(t *testing.T) {
	c := shared
	c.kubectl(t, "version")
	wantCells(t, line(t, c.kubectl(t, "get", "nodes", "-o", "wide"), ""), map[string]string{
		"STATUS": "Ready", "VERSION": `v1\.37.*`, "AGE": age, "INTERNAL-IP": address, "CONTAINER-RUNTIME": `containerd://.*`,
	})
	wantParts(t, c.kubectl(t, "create", "deployment", "web", "--image="+demo), "deployment.apps/web created")
	t.Cleanup(func() { c.kubectl(t, "delete", "deployment,service", "web") })
	wantParts(t, c.kubectl(t, "rollout", "status", "deployment/web"), `deployment "web" successfully rolled out`)
	wantParts(t, c.kubectl(t, "expose", "deployment", "web", "--type=NodePort", "--port=80", "--target-port=8080"), "service/web exposed")
	all := c.kubectl(t, "get", "deploy,rs,pod,svc", "-o", "wide")
	wantCells(t, line(t, all, "deployment.apps/web"), map[string]string{
		"READY": "1/1", "UP-TO-DATE": "1", "AVAILABLE": "1", "AGE": age, "CONTAINERS": "demo", "IMAGES": demo, "SELECTOR": "app=web",
	})
	wantCells(t, line(t, all, "replicaset.apps/web-"), map[string]string{
		"DESIRED": "1", "CURRENT": "1", "READY": "1", "CONTAINERS": "demo", "SELECTOR": `app=web,pod-template-hash=\w+`,
	})
	wantCells(t, line(t, all, "pod/web-"), map[string]string{
		"READY": "1/1", "STATUS": "Running", "RESTARTS": "0", "AGE": age, "IP": address, "NODE": `\S+`, "NOMINATED NODE": "<none>", "READINESS GATES": "<none>",
	})
	wantCells(t, line(t, all, "service/web"), map[string]string{
		"TYPE": "NodePort", "CLUSTER-IP": `10\.96\.\d+\.\d+`, "EXTERNAL-IP": "<none>", "PORT(S)": `80:3\d{4}/TCP`, "SELECTOR": "app=web",
	})
	port := nodePort(t, c, "default", "web")
	eventually(t, func() error { _, err := get(port); return err })

	wantParts(t, c.kubectl(t, "run", "one", "--image="+demo, "--restart=Never"), "pod/one created")
	t.Cleanup(func() { c.kubectl(t, "delete", "pod", "one", "--ignore-not-found") })
	c.wait(t, "default", "pod/one", "condition=Ready")
	wantParts(t, c.kubectl(t, "delete", "pod", "one"), `pod "one" deleted`)
}

// nodePort is the URL of a service's first node port.
func nodePort(t *testing.T, c *cluster, namespace, service string) string {
	t.Helper()
	port := c.kubectl(t, "-n", namespace, "get", "service", service, "-o", "jsonpath={.spec.ports[0].nodePort}")
	return "http://127.0.0.1:" + port + "/"
}

// three is a Deployment of three replicas with a NodePort service.
const three = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, labels: {app: shop}}
spec:
  replicas: 3
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
      - name: demo
        image: gantry.local/demo:1
        ports: [{containerPort: 8080, name: http}]
        readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec:
  type: NodePort
  selector: {app: shop}
  ports: [{port: 80, targetPort: http}]
`

func names(t *testing.T, c *cluster, namespace, selector string) []string {
	t.Helper()
	return strings.Fields(c.kubectl(t, "-n", namespace, "get", "pods", "-l", selector, "-o", "jsonpath={.items[*].metadata.name}"))
}

func TestThreeReplicas(t *testing.T) {
	c, ns := shared, shared.namespace(t)
	c.apply(t, ns, three)
	c.kubectl(t, "-n", ns, "rollout", "status", "deployment/shop", "--timeout=45s")
	port := nodePort(t, c, ns, "shop")
	pods := names(t, c, ns, "app=shop")
	if len(pods) != 3 {
		t.Fatalf("pods %v", pods)
	}
	for _, p := range pods {
		ip := c.kubectl(t, "-n", ns, "get", "pod", p, "-o", "jsonpath={.status.podIP}")
		if body, err := get("http://" + ip + ":8080/"); err != nil || body != "version=1 pod="+p+"\n" {
			t.Errorf("pod %s answered %q, %v", p, body, err)
		}
	}
	awaitBackends(t, port, pods)
	hits := map[string]int{}
	for range 300 {
		body, err := get(port)
		if err != nil {
			t.Fatal(err)
		}
		_, pod, _ := strings.Cut(strings.TrimSpace(body), "pod=")
		hits[pod]++
	}
	for _, p := range pods {
		if hits[p] < 50 { // 100 are expected; fewer than 50 has a chance below one in a million
			t.Errorf("pod %s got %d of 300 requests: %v", p, hits[p], hits)
		}
	}
	t.Run("a deleted pod is replaced", func(t *testing.T) { replaced(t, ns, port) })
	t.Run("a killed process runs again", func(t *testing.T) { restarted(t, ns) })
	t.Run("rollouts lose no request", func(t *testing.T) { rollouts(t, ns, port) })
}

// awaitBackends waits until each of the pods has answered.
func awaitBackends(t *testing.T, url string, pods []string) {
	t.Helper()
	seen := map[string]bool{}
	eventually(t, func() error {
		body, err := get(url)
		if err != nil {
			return err
		}
		_, pod, _ := strings.Cut(strings.TrimSpace(body), "pod=")
		seen[pod] = true
		for _, p := range pods {
			if !seen[p] {
				return fmt.Errorf("pod %s has not answered yet", p)
			}
		}
		return nil
	})
}

func replaced(t *testing.T, ns, port string) {
	c := shared
	victim := names(t, c, ns, "app=shop")[0]
	c.kubectl(t, "-n", ns, "delete", "pod", victim)
	c.wait(t, ns, "deployment/shop", "jsonpath={.status.readyReplicas}=3")
	pods := names(t, c, ns, "app=shop")
	if len(pods) != 3 || strings.Contains(strings.Join(pods, " "), victim) {
		t.Errorf("pods after %s was deleted: %v", victim, pods)
	}
	awaitBackends(t, port, pods)
}

// restarted kills the process of a container; one second is what users are promised, and no more is waited.
func restarted(t *testing.T, ns string) {
	c, victim := shared, names(t, shared, ns, "app=shop")[0]
	id := containerPID(t, c, ns, victim)
	if err := id.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c.wait(t, ns, "pod/"+victim, "jsonpath={.status.containerStatuses[0].restartCount}=1")
	c.wait(t, ns, "pod/"+victim, "jsonpath={.status.containerStatuses[0].ready}=true")
	t.Logf("ready again, seen by kubectl, after %v", time.Since(began).Round(time.Millisecond))
	wantCells(t, line(t, c.kubectl(t, "-n", ns, "get", "pods"), victim), map[string]string{"RESTARTS": `1 \(\d+s ago\)`, "STATUS": "Running"})
	if out := c.kubectl(t, "-n", ns, "get", "pod", victim, "-o", "jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}"); out != "137" {
		t.Errorf("the last exit code is %s", out)
	}
	c.wait(t, ns, "deployment/shop", "jsonpath={.status.readyReplicas}=3")
}

// containerPID is the process of a pod's only container: the one in its cgroups that is not the sandbox's.
func containerPID(t *testing.T, c *cluster, ns, pod string) process.ID {
	t.Helper()
	_, id, _ := strings.Cut(c.kubectl(t, "-n", ns, "get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].containerID}"), "://")
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if raw, err := os.ReadFile("/proc/" + e.Name() + "/cgroup"); err != nil || !strings.Contains(string(raw), id) {
			continue
		}
		if found, err := process.Find(pid); err == nil {
			return found
		}
	}
	t.Fatalf("no process is in a cgroup of container %s of pod %s", id, pod)
	return process.ID{}
}
