//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

const echoes = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo}
spec:
  replicas: 2
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: a, image: "gantry.local/busybox:1", command: [echo-udp], ports: [{containerPort: 5353, protocol: UDP}]}]
---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec: {type: NodePort, selector: {app: echo}, ports: [{port: 53, targetPort: 5353, protocol: UDP}]}
`

// ask sends one packet from a socket of its own and returns the answer.
func ask(address, text string) (string, error) {
	conn, err := net.Dial("udp", address)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte(text)); err != nil {
		return "", err
	}
	buf := make([]byte, 1500)
	n, err := conn.Read(buf)
	return string(buf[:n]), err
}

func TestUDPService(t *testing.T) {
	t.Parallel()
	needToolbox(t)
	c, ns := shared, shared.namespace(t)
	c.apply(t, ns, echoes)
	c.kubectl(t, "-n", ns, "rollout", "status", "deployment/echo", "--timeout=45s")
	pods := names(t, c, ns, "app=echo")
	ip := c.kubectl(t, "-n", ns, "get", "service", "echo", "-o", "jsonpath={.spec.clusterIP}")
	port := strings.Trim(strings.TrimPrefix(nodePort(t, c, ns, "echo"), "http://127.0.0.1:"), "/")
	for _, address := range []string{ip + ":53", "127.0.0.1:" + port} {
		seen := map[string]bool{}
		eventually(t, func() error {
			answer, err := ask(address, "ping")
			if err != nil {
				return err
			}
			pod, text, _ := strings.Cut(answer, " ")
			if text != "ping" {
				t.Fatalf("%s answered %q", address, answer)
			}
			if seen[pod] = true; len(seen) < 2 {
				return fmt.Errorf("only %v answered on %s", seen, address)
			}
			return nil
		})
		for _, p := range pods {
			if !seen[p] {
				t.Errorf("%s: %v answered, not %s", address, seen, p)
			}
		}
	}
}

func TestClusterIP(t *testing.T) {
	t.Parallel()
	needToolbox(t)
	c, ns := shared, shared.namespace(t)
	c.apply(t, ns, three)
	c.kubectl(t, "-n", ns, "rollout", "status", "deployment/shop", "--timeout=45s")
	ip := c.kubectl(t, "-n", ns, "get", "service", "shop", "-o", "jsonpath={.spec.clusterIP}")
	awaitBackends(t, "http://"+ip+"/", names(t, c, ns, "app=shop")) // from the node
	c.kubectl(t, "-n", ns, "run", "client", "--image="+busybox, "--", "sleep", "1000")
	c.wait(t, ns, "pod/client", "condition=Ready")
	out := c.exec(t, ns, "client", "for i in $(seq 30); do wget -qO- http://"+ip+"/ || echo failed; done | sort | uniq -c | wc -l")
	if strings.TrimSpace(out) != "3" {
		t.Errorf("30 requests of a pod were answered in %s ways, want those of three pods", out)
	}
	// A pod reaches the API at its cluster IP.
	wantParts(t, c.exec(t, ns, "client", "nc -w 5 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT </dev/null && echo reached"), "reached")
	// Without endpoints a connection is refused at once.
	c.kubectl(t, "-n", ns, "scale", "deployment/shop", "--replicas=0")
	eventually(t, func() error {
		if _, err := get("http://" + ip + "/"); err == nil || !strings.Contains(err.Error(), "refused") {
			return fmt.Errorf("got %v, want a refused connection", err)
		}
		return nil
	})
}
