//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// talker writes a numbered line to its log every 20 ms, or when told.
const talker = `
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: gantry.local/busybox:1
    command: [sh, -c, 'mkfifo /tmp/say; echo "hello from run $(cat /tmp/runs/n | wc -l)"; echo x >> /tmp/runs/n; exec 3<>/tmp/say; while read word <&3; do [ "$word" = die ] && exit 3; echo "$word"; done']
    volumeMounts: [{name: runs, mountPath: /tmp/runs}]
  - name: other
    image: gantry.local/busybox:1
    command: [sh, -c, 'echo other one; sleep 1000']
  volumes: [{name: runs, emptyDir: {}}]
`

func startTalker(t *testing.T) (ns string, say func(words ...string)) {
	t.Helper()
	needToolbox(t)
	ns = shared.namespace(t)
	shared.apply(t, ns, strings.Replace(talker, "cat /tmp/runs/n", "cat /tmp/runs/n 2>/dev/null", 1))
	shared.wait(t, ns, "pod/talker", "condition=Ready")
	return ns, func(words ...string) {
		t.Helper()
		for _, w := range words {
			shared.exec(t, ns, "talker", "echo "+w+" > /tmp/say")
		}
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	ns, say := startTalker(t)
	logs := func(args ...string) string {
		t.Helper()
		return shared.kubectl(t, append([]string{"-n", ns, "logs", "talker"}, args...)...)
	}
	wantLog := func(want string, args ...string) {
		t.Helper()
		eventually(t, func() error { return equal(strings.ReplaceAll(strings.TrimSpace(logs(args...)), "\n", ","), want) })
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	follow := shared.command(ctx, "kubectl", "-n", ns, "logs", "-f", "talker", "-c", "main")
	pipe, err := follow.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(pipe)
	next := func(want string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("followed %q, want %q (%v)", lines.Text(), want, lines.Err())
		}
	}
	next("hello from run 0")
	say("one")
	next("one")
	say("two", "three")
	next("two")
	next("three")

	wantLog("hello from run 0,one,two,three") // the first container is the default
	wantLog("other one", "-c", "other")
	wantLog("two,three", "--tail=2")
	wantLog("two,three", "--tail", "2", "--timestamps=false")
	wantLog("hello from run 0,one,two,three", "--since=1h")
	stamped := strings.Fields(logs("--timestamps", "--tail=1"))
	at, err := time.Parse(time.RFC3339Nano, stamped[0])
	if err != nil || stamped[1] != "three" || time.Since(at).Abs() > time.Hour {
		t.Errorf("with a timestamp: %v, %v", stamped, err)
	}
	wantLog("", "--since-time="+time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	wantParts(t, logs("--all-containers", "--prefix"), "[pod/talker/main] one", "[pod/talker/other] other one")

	shared.execLast(t, "-n", ns, "exec", "talker", "-c", "main", "--", "sh", "-c", "echo die > /tmp/say")
	if lines.Scan() {
		t.Errorf("followed %q after the end", lines.Text())
	}
	if err := follow.Wait(); err != nil {
		t.Errorf("logs -f ended with %v", err)
	}
	shared.wait(t, ns, "pod/talker", "jsonpath={.status.containerStatuses[0].restartCount}=1")
	wantLog("hello from run 1")
	wantLog("hello from run 0,one,two,three", "--previous")
	shared.refused(t, []string{"container nosuch is not valid for pod talker"}, "-n", ns, "logs", "talker", "-c", "nosuch")
	shared.refused(t, []string{`pods "nobody" not found`}, "-n", ns, "logs", "nobody")
}

func TestExec(t *testing.T) {
	t.Parallel()
	ns, _ := startTalker(t)
	if out := shared.exec(t, ns, "talker", "echo out; echo problem >&2"); out != "out\nproblem\n" {
		t.Errorf("exec printed %q", out)
	}
	out, err := shared.tryWith(strings.NewReader("some input\n"), "kubectl", "-n", ns, "exec", "-i", "talker", "-c", "other", "--", "tr", "a-z", "A-Z")
	if err != nil || out != "SOME INPUT\n" {
		t.Errorf("exec -i printed %q, %v", out, err)
	}
	shared.refused(t, []string{"command terminated with exit code 7"}, "-n", ns, "exec", "talker", "--", "sh", "-c", "exit 7")
	shared.refused(t, []string{`"nosuch": executable file not found in $PATH`}, "-n", ns, "exec", "talker", "--", "nosuch")
	// script(1) gives kubectl a terminal, and the terminal a size; the size
	// travels beside the input, so the shell may read its first line before it.
	typed := filepath.Join(binDir(), "kubectl") + " -n " + ns + " exec -it talker -c main -- sh"
	in := "until stty size 2>/dev/null; do :; done; tty; test -t 0 && echo termi''nal; exit 5\n"
	out, err = shared.tryWith(strings.NewReader(in), "script", "-qec", "stty cols 111 rows 33; "+typed, "/dev/null")
	if err == nil || !strings.Contains(err.Error(), "exit status") {
		t.Errorf("exec -it ended with %v", err)
	}
	wantParts(t, out, "33 111", "/dev/pts/0", "terminal", "exit code 5")
}

func TestAttach(t *testing.T) {
	t.Parallel()
	needToolbox(t)
	ns := shared.namespace(t)
	out, err := shared.tryWith(strings.NewReader("to be read\n"), "kubectl", "-n", ns, "run", "cat", "-i", "--rm", "--quiet", "--restart=Never", "--image="+busybox, "--", "cat")
	if err != nil {
		t.Fatal(err)
	}
	wantParts(t, out, "to be read")
}

func TestPortForward(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	shared.kubectl(t, "-n", ns, "run", "web", "--image="+demo)
	shared.wait(t, ns, "pod/web", "condition=Ready")
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	forward := shared.command(ctx, "kubectl", "-n", ns, "port-forward", "pod/web", ":8080")
	pipe, err := forward.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := forward.Start(); err != nil {
		t.Fatal(err)
	}
	var port int
	lines := bufio.NewScanner(pipe)
	if !lines.Scan() {
		t.Fatal(lines.Err())
	}
	if _, err := fmt.Sscanf(lines.Text(), "Forwarding from 127.0.0.1:%d -> 8080", &port); err != nil {
		t.Fatalf("port-forward printed %q: %v", lines.Text(), err)
	}
	for range 3 {
		if body, err := get(fmt.Sprintf("http://127.0.0.1:%d/", port)); err != nil || body != "version=1 pod=web\n" {
			t.Errorf("through the forwarded port: %q, %v", body, err)
		}
	}
	cancel()
	_ = forward.Wait() // it was killed
}

func TestCopy(t *testing.T) {
	t.Parallel()
	ns, _ := startTalker(t)
	dir := t.TempDir()
	big := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	if err := os.MkdirAll(filepath.Join(dir, "tree/sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tree/sub/big"), []byte(big), 0o600); err != nil {
		t.Fatal(err)
	}
	shared.kubectl(t, "-n", ns, "cp", filepath.Join(dir, "tree"), "talker:/tmp/tree", "-c", "main")
	if got := shared.exec(t, ns, "talker", "wc -c < /tmp/tree/sub/big"); !strings.Contains(got, fmt.Sprint(len(big))) {
		t.Errorf("the copy has %s bytes", got)
	}
	shared.kubectl(t, "-n", ns, "cp", "talker:/tmp/tree", filepath.Join(dir, "back"), "-c", "main")
	if got, err := os.ReadFile(filepath.Join(dir, "back/sub/big")); err != nil || string(got) != big {
		t.Errorf("copied back: %d bytes, %v", len(got), err)
	}
}

func TestDescribeExplainEvents(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	shared.apply(t, ns, three)
	shared.kubectl(t, "-n", ns, "rollout", "status", "deployment/shop", "--timeout=45s")
	pod := names(t, shared, ns, "app=shop")[0]
	wantParts(t, shared.kubectl(t, "-n", ns, "describe", "pod", pod),
		"Controlled By:", "ReplicaSet/shop-", "State:", "Running", "QoS Class:", "BestEffort", "Readiness:", "/readyz", "Scheduled", "Pulled", "Created", "Started")
	wantParts(t, shared.kubectl(t, "-n", ns, "describe", "deployment", "shop"), "3 desired | 3 updated | 3 total | 3 available", "RollingUpdate", "ScalingReplicaSet")
	wantParts(t, shared.kubectl(t, "-n", ns, "describe", "service", "shop"), "NodePort:", "Endpoints:", ":8080")
	wantParts(t, shared.kubectl(t, "describe", "nodes"), "Capacity:", "Allocatable:", "Non-terminated Pods:", pod, "Allocated resources:")
	wantParts(t, shared.kubectl(t, "-n", ns, "events"), "LAST SEEN", "Scheduled", "SuccessfulCreate", "Successfully assigned "+ns+"/"+pod)
	wantParts(t, shared.kubectl(t, "-n", ns, "get", "events"), "LAST SEEN", "REASON", "OBJECT", "MESSAGE", "Started")
	wantParts(t, shared.kubectl(t, "-n", ns, "get", "endpoints,endpointslices"), "endpoints/shop", "endpointslice.discovery.k8s.io/shop-", ":8080", "IPv4")
	wantParts(t, shared.kubectl(t, "explain", "deployment.spec.strategy"), "KIND:", "Deployment", "rollingUpdate", "<RollingUpdateDeployment>")
	wantParts(t, shared.kubectl(t, "explain", "pod", "--recursive"), "containers", "livenessProbe")
	wantParts(t, shared.kubectl(t, "api-resources"), "deployments", "deploy", "apps/v1", "endpointslices")
	wantParts(t, shared.kubectl(t, "-n", ns, "delete", "deployment,service", "shop"), `deleted`)
	shared.kubectl(t, "-n", ns, "wait", "pods", "-l", "app=shop", "--for=delete", "--timeout=45s")
	wantParts(t, shared.kubectl(t, "-n", ns, "get", "pods"), "No resources found in")
}
