//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// everything uses each source of environment variables and each kind of volume.
const everything = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: red, size: big}
---
apiVersion: v1
kind: Secret
metadata: {name: hidden}
stringData: {password: swordfish}
---
apiVersion: v1
kind: Pod
metadata: {name: all, labels: {tier: front}, annotations: {note: first}}
spec:
  terminationGracePeriodSeconds: 1
  hostname: named
  initContainers:
  - {name: one, image: gantry.local/busybox:1, command: [sh, -c, 'echo one >> /scratch/order'], volumeMounts: [{name: scratch, mountPath: /scratch}]}
  - {name: two, image: gantry.local/busybox:1, command: [sh, -c, 'echo two >> /scratch/order'], volumeMounts: [{name: scratch, mountPath: /scratch}]}
  - {name: side, image: gantry.local/busybox:1, restartPolicy: Always, command: [sh, -c, 'echo side >> /scratch/order; sleep 1000'], volumeMounts: [{name: scratch, mountPath: /scratch}]}
  containers:
  - name: main
    image: gantry.local/busybox:1
    command: [sh, -c, 'echo main >> /scratch/order; sleep 1000']
    env:
    - {name: PLAIN, value: plain}
    - {name: COMPOSED, value: '$(PLAIN)-$(COLOR)-$$(PLAIN)-$(ABSENT)'}
    - {name: COLOR, valueFrom: {configMapKeyRef: {name: settings, key: color}}}
    - {name: LATER, value: '$(COLOR)'}
    - {name: MAYBE, valueFrom: {configMapKeyRef: {name: nosuch, key: a, optional: true}}}
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: hidden, key: password}}}
    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: NS, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: TIER, valueFrom: {fieldRef: {fieldPath: "metadata.labels['tier']"}}}
    - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
    - {name: MEMORY, valueFrom: {resourceFieldRef: {containerName: main, resource: requests.memory, divisor: 1Mi}}}
    envFrom:
    - {configMapRef: {name: settings}, prefix: CM_}
    - {secretRef: {name: hidden}}
    resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 500m, memory: 64Mi}}
    volumeMounts:
    - {name: scratch, mountPath: /scratch}
    - {name: memory, mountPath: /memory}
    - {name: host, mountPath: /host, readOnly: true}
    - {name: config, mountPath: /config}
    - {name: config, mountPath: /single, subPath: size}
    - {name: secret, mountPath: /secret}
    - {name: down, mountPath: /down}
    - {name: mixed, mountPath: /mixed}
  volumes:
  - {name: scratch, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory, sizeLimit: 8Mi}}
  - {name: host, hostPath: {path: HOSTPATH, type: Directory}}
  - {name: config, configMap: {name: settings}}
  - {name: secret, secret: {secretName: hidden, defaultMode: 0400, items: [{key: password, path: sub/pass}]}}
  - {name: down, downwardAPI: {items: [{path: note, fieldRef: {fieldPath: "metadata.annotations['note']"}}, {path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
  - name: mixed
    projected:
      sources:
      - {configMap: {name: settings, items: [{key: size, path: s}]}}
      - {secret: {name: hidden}}
      - {downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}}
`

func TestEnvironmentAndVolumes(t *testing.T) {
	t.Parallel()
	needToolbox(t)
	c, ns, host := shared, shared.namespace(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(host, "file"), []byte("from the host"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.apply(t, ns, strings.Replace(everything, "HOSTPATH", host, 1))
	c.wait(t, ns, "pod/all", "condition=Ready")
	ip := c.kubectl(t, "-n", ns, "get", "pod", "all", "-o", "jsonpath={.status.podIP}")
	for script, want := range map[string]string{
		"cat /scratch/order | tr '\\n' ' '":                                "one two side main",
		"echo $PLAIN $COMPOSED $COLOR $LATER":                              "plain plain-$(COLOR)-$(PLAIN)-$(ABSENT) red red",
		"echo $MAYBE/$PASSWORD/$password":                                  "/swordfish/swordfish",
		"echo $POD $NS $IP $TIER":                                          "all " + ns + " " + ip + " front",
		"echo $CPU $MEMORY":                                                "500 32",
		"echo $CM_color $CM_size $FROM_IMAGE":                              "red big yes",
		"hostname; echo $KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT": "named\n10.96.0.1:443",
		"cat /host/file; touch /host/x 2>&1 | grep -o Read-only":           "from the hostRead-only",
		"cat /config/color /single":                                        "redbig",
		"cat /secret/sub/pass; stat -Lc %a /secret/sub/pass":               "swordfish400",
		"cat /down/note; echo; cat /down/labels":                           "first\ntier=\"front\"",
		"cat /mixed/s /mixed/password /mixed/name":                         "bigswordfishall",
		"grep -c ' /memory tmpfs ' /proc/mounts":                           "1",
		"dd if=/dev/zero of=/memory/f bs=1M count=20 2>/dev/null; test $(stat -c %s /memory/f) -le 8388608 && echo bounded": "bounded",
		"touch /config/x 2>&1 | grep -o Read-only":               "Read-only",
		"grep -c named /etc/hosts; cat /proc/self/oom_score_adj": "",
	} {
		if out := strings.TrimSpace(c.exec(t, ns, "all", script)); out != want && want != "" {
			t.Errorf("%s printed %q, want %q", script, out, want)
		}
	}
	t.Run("updates arrive", func(t *testing.T) {
		c.kubectl(t, "-n", ns, "patch", "configmap", "settings", "-p", `{"data":{"color":"blue","new":"key"}}`)
		c.kubectl(t, "-n", ns, "patch", "secret", "hidden", "-p", `{"stringData":{"password":"changed"}}`)
		c.kubectl(t, "-n", ns, "annotate", "--overwrite", "pod", "all", "note=second")
		for script, want := range map[string]string{
			"cat /config/color /config/new": "bluekey", "cat /secret/sub/pass": "changed", "cat /mixed/password": "changed", "cat /down/note": "second",
		} {
			eventually(t, func() error {
				out, err := c.try("kubectl", "-n", ns, "exec", "all", "--", "sh", "-c", script)
				if err != nil {
					return err
				}
				return equal(out, want)
			})
		}
		if out := c.exec(t, ns, "all", "cat /single"); out != "big" {
			t.Errorf("a subPath mount changed to %q", out)
		}
	})
}

// A process in a pod is its service account to the API.
func TestToken(t *testing.T) {
	t.Parallel()
	needToolbox(t)
	c, ns := shared, shared.namespace(t)
	c.kubectl(t, "-n", ns, "create", "serviceaccount", "robot")
	c.kubectl(t, "-n", ns, "run", "inside", "--image="+busybox, "--overrides", `{"spec": {"serviceAccountName": "robot"}}`, "--", "sleep", "100000")
	c.wait(t, ns, "pod/inside", "condition=Ready")
	const account = "/var/run/secrets/kubernetes.io/serviceaccount/"
	if got := c.exec(t, ns, "inside", "cat "+account+"namespace"); got != ns {
		t.Errorf("the namespace is %q, want %q", got, ns)
	}
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, []byte(c.exec(t, ns, "inside", "cat "+account+"ca.crt")), 0o600); err != nil {
		t.Fatal(err)
	}
	server := strings.TrimSpace(c.kubectl(t, "config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"))
	who := c.kubectl(t, "--kubeconfig=/dev/null", "--server="+server, "--certificate-authority="+ca,
		"--token="+c.exec(t, ns, "inside", "cat "+account+"token"), "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
	if want := "system:serviceaccount:" + ns + ":robot"; who != want {
		t.Errorf("the token is of %q, want %q", who, want)
	}
}

// cgroupFile reads a container's cgroup setting of version 1 or 2.
func cgroupFile(t *testing.T, ns, pod string, v1, v2 string) string {
	t.Helper()
	id := containerPID(t, shared, ns, pod)
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", id.PID))
	if err != nil {
		t.Fatal(err)
	}
	controller, name, _ := strings.Cut(v1, "/")
	for l := range strings.Lines(string(raw)) {
		parts := strings.SplitN(strings.TrimSpace(l), ":", 3)
		path := filepath.Join("/sys/fs/cgroup", parts[1], parts[2], name)
		if parts[1] == "" {
			path = filepath.Join("/sys/fs/cgroup", parts[2], v2)
		} else if parts[1] != controller {
			continue
		}
		if raw, err := os.ReadFile(path); err == nil {
			return strings.TrimSpace(string(raw))
		}
	}
	t.Fatalf("no %s in:\n%s", v1, raw)
	return ""
}

func TestResources(t *testing.T) {
	t.Parallel()
	needToolbox(t)
	c, ns := shared, shared.namespace(t)
	for name, resources := range map[string]string{
		"guaranteed": "{requests: {cpu: 250m, memory: 40Mi}, limits: {cpu: 250m, memory: 40Mi}}",
		"burstable":  "{requests: {cpu: 50m, memory: 16Mi}, limits: {memory: 48Mi}}",
		"besteffort": "{}",
	} {
		c.apply(t, ns, pod(name, `{terminationGracePeriodSeconds: 1, containers: [{name: a, image: "gantry.local/busybox:1", command: [sleep, "1000"], resources: `+resources+`}]}`))
	}
	for name, want := range map[string]struct{ class, memory, quota, parent string }{
		"guaranteed": {"Guaranteed", "41943040", "25000", "/kubepods/pod"},
		"burstable":  {"Burstable", "50331648", "-1", "/kubepods/burstable/pod"},
		"besteffort": {"BestEffort", "", "-1", "/kubepods/besteffort/pod"},
	} {
		c.wait(t, ns, "pod/"+name, "condition=Ready")
		if class := c.kubectl(t, "-n", ns, "get", "pod", name, "-o", "jsonpath={.status.qosClass}"); class != want.class {
			t.Errorf("%s has QoS class %s", name, class)
		}
		if got := cgroupFile(t, ns, name, "memory/memory.limit_in_bytes", "memory.max"); want.memory != "" && got != want.memory {
			t.Errorf("%s has a memory limit of %s, want %s", name, got, want.memory)
		}
		if got := cgroupFile(t, ns, name, "cpu/cpu.cfs_quota_us", "cpu.max"); !strings.HasPrefix(got, want.quota) && !strings.HasPrefix(got, "max") {
			t.Errorf("%s has a CPU quota of %s, want %s", name, got, want.quota)
		}
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", containerPID(t, c, ns, name).PID))
		if err != nil || !strings.Contains(string(raw), want.parent) {
			t.Errorf("%s is in the cgroups %s, want %s", name, raw, want.parent)
		}
	}
	// A container that takes more memory than it may is killed, and said to be.
	c.apply(t, ns, pod("greedy", `{restartPolicy: Never, containers: [{name: a, image: "gantry.local/busybox:1", command: [sh, -c, "tail /dev/zero"], resources: {limits: {memory: 16Mi}}}]}`))
	c.wait(t, ns, "pod/greedy", "jsonpath={.status.containerStatuses[0].state.terminated.reason}=OOMKilled")
	wantCells(t, line(t, c.kubectl(t, "-n", ns, "get", "pods"), "greedy"), map[string]string{"STATUS": "OOMKilled", "READY": "0/1"})
}

func TestSecurityContext(t *testing.T) {
	t.Parallel()
	needToolbox(t)
	c, ns := shared, shared.namespace(t)
	c.apply(t, ns, pod("secure", `
  terminationGracePeriodSeconds: 1
  securityContext: {runAsUser: 1234, runAsGroup: 1234, fsGroup: 4321, supplementalGroups: [77], runAsNonRoot: true}
  containers:
  - name: a
    image: gantry.local/busybox:1
    command: [sleep, "1000"]
    securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: v, mountPath: /v}]
  - name: rooted
    image: gantry.local/busybox:1
    command: [sleep, "1000"]
    securityContext: {runAsUser: 0, runAsNonRoot: false, capabilities: {drop: [ALL], add: [NET_ADMIN, CHOWN]}}
  volumes: [{name: v, emptyDir: {}}]`))
	c.wait(t, ns, "pod/secure", "condition=Ready")
	for script, want := range map[string]string{
		"id -u; id -g; id -G":                           "1234\n1234\n1234 77 4321",
		"touch /x 2>&1 | grep -o 'Read-only'":           "Read-only",
		"touch /v/x && stat -c %g /v/x":                 "4321",
		"grep -E 'CapEff|NoNewPrivs' /proc/self/status": "CapEff:\t0000000000000000\nNoNewPrivs:\t1",
	} {
		if out := strings.TrimSpace(c.exec(t, ns, "secure", script)); out != want {
			t.Errorf("%s printed %q, want %q", script, out, want)
		}
	}
	out := c.kubectl(t, "-n", ns, "exec", "secure", "-c", "rooted", "--", "grep", "CapEff", "/proc/self/status")
	wantParts(t, out, "0000000000001001") // CAP_NET_ADMIN is bit 12, CAP_CHOWN is bit 0
	c.apply(t, ns, pod("refused", `{containers: [{name: a, image: "gantry.local/busybox:1", securityContext: {runAsNonRoot: true}}]}`))
	c.wait(t, ns, "pod/refused", "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CreateContainerConfigError")
	wantEvent(t, ns, "refused", "container has runAsNonRoot and image will run as root")
}

func TestConfigThatIsMissingAtFirst(t *testing.T) {
	t.Parallel()
	c, ns := shared, shared.namespace(t)
	c.apply(t, ns, pod("early", `{containers: [{name: a, image: "gantry.local/demo:1", envFrom: [{configMapRef: {name: late}}]}]}`))
	c.wait(t, ns, "pod/early", "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CreateContainerConfigError")
	wantParts(t, c.kubectl(t, "-n", ns, "get", "pod", "early", "-o", "jsonpath={.status.containerStatuses[0].state.waiting.message}"), `configmap "late" not found`)
	c.apply(t, ns, pod("unmounted", `{containers: [{name: a, image: "gantry.local/demo:1", volumeMounts: [{name: v, mountPath: /v}]}], volumes: [{name: v, configMap: {name: late}}]}`))
	wantEvent(t, ns, "unmounted", `FailedMount`)
	c.kubectl(t, "-n", ns, "create", "configmap", "late", "--from-literal=a=b")
	c.wait(t, ns, "pod/early", "condition=Ready")
	c.wait(t, ns, "pod/unmounted", "condition=Ready")
}

func TestProbes(t *testing.T) {
	t.Parallel()
	needToolbox(t)
	c, ns := shared, shared.namespace(t)
	const web = `{name: a, image: "gantry.local/demo:1", `
	manifests := map[string]string{
		"http":    pod("http", `{containers: [`+web+`readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1, failureThreshold: 1}, livenessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}}]}`),
		"tcp":     pod("tcp", `{containers: [`+web+`readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}}]}`),
		"exec":    pod("exec", `{terminationGracePeriodSeconds: 1, containers: [{name: a, image: "gantry.local/busybox:1", command: [sh, -c, "sleep 1000"], readinessProbe: {exec: {command: [test, -f, /tmp/up]}, periodSeconds: 1}}]}`),
		"startup": pod("startup", `{terminationGracePeriodSeconds: 1, containers: [{name: a, image: "gantry.local/busybox:1", command: [sh, -c, "sleep 1000"], startupProbe: {exec: {command: [test, -f, /tmp/up]}, periodSeconds: 1, failureThreshold: 60}, livenessProbe: {exec: {command: [test, -f, /tmp/up]}, periodSeconds: 1, failureThreshold: 1}}]}`),
		"dying":   pod("dying", `{terminationGracePeriodSeconds: 1, containers: [{name: a, image: "gantry.local/busybox:1", command: [sh, -c, "sleep 1000"], livenessProbe: {exec: {command: [sh, -c, "echo unwell; exit 1"]}, periodSeconds: 1, failureThreshold: 1}}]}`),
	}
	for _, m := range manifests {
		c.apply(t, ns, m)
	}
	c.wait(t, ns, "pod/http", "condition=Ready")
	c.wait(t, ns, "pod/tcp", "condition=Ready")
	c.wait(t, ns, "pod/startup", "jsonpath={.status.containerStatuses[0].state.running.startedAt}")
	if out := c.kubectl(t, "-n", ns, "get", "pod", "startup", "-o", "jsonpath={.status.containerStatuses[0].started}"); out != "false" {
		t.Errorf("before its startup probe succeeded, started is %q", out)
	}
	c.exec(t, ns, "startup", "touch /tmp/up")
	c.wait(t, ns, "pod/startup", "condition=Ready")
	c.wait(t, ns, "pod/exec", "condition=Ready=false")
	c.exec(t, ns, "exec", "touch /tmp/up")
	c.wait(t, ns, "pod/exec", "condition=Ready")
	c.exec(t, ns, "exec", "rm /tmp/up")
	c.wait(t, ns, "pod/exec", "condition=Ready=false")
	ip := c.kubectl(t, "-n", ns, "get", "pod", "http", "-o", "jsonpath={.status.podIP}")
	if _, err := get("http://" + ip + ":8080/unready"); err != nil {
		t.Fatal(err)
	}
	c.wait(t, ns, "pod/http", "condition=Ready=false")
	wantEvent(t, ns, "http", "Readiness probe failed: HTTP probe failed with statuscode: 503")
	if _, err := get("http://" + ip + ":8080/ready"); err != nil {
		t.Fatal(err)
	}
	c.wait(t, ns, "pod/http", "condition=Ready")
	c.wait(t, ns, "pod/dying", "jsonpath={.status.containerStatuses[0].restartCount}=1")
	wantEvent(t, ns, "dying", "Liveness probe failed: unwell")
	wantEvent(t, ns, "dying", "Container a failed liveness probe, will be restarted")
}

func TestHooksAndGrace(t *testing.T) {
	t.Parallel()
	needToolbox(t)
	c, ns, host := shared, shared.namespace(t), t.TempDir()
	if err := os.Chmod(host, 0o777); err != nil {
		t.Fatal(err)
	}
	c.apply(t, ns, pod("polite", `
  terminationGracePeriodSeconds: 30
  containers:
  - name: a
    image: gantry.local/busybox:1
    command: [sh, -c, 'trap "echo term >> /h/log; exit 0" TERM; while true; do sleep 0.05; done']
    lifecycle: {postStart: {exec: {command: [sh, -c, "echo started >> /h/log"]}}, preStop: {exec: {command: [sh, -c, "echo stopping >> /h/log"]}}}
    volumeMounts: [{name: h, mountPath: /h}]
  volumes: [{name: h, hostPath: {path: `+host+`}}]`))
	c.apply(t, ns, pod("stubborn", `{terminationGracePeriodSeconds: 2, containers: [{name: a, image: "gantry.local/busybox:1", command: [sh, -c, "trap '' TERM; while true; do sleep 0.1; done"]}]}`))
	c.apply(t, ns, pod("hooked", `{restartPolicy: Never, containers: [{name: a, image: "gantry.local/busybox:1", command: [sleep, "1000"], lifecycle: {postStart: {exec: {command: [sh, -c, "echo no; exit 1"]}}}}]}`))
	c.wait(t, ns, "pod/polite", "condition=Ready")
	c.kubectl(t, "-n", ns, "delete", "pod", "polite")
	if raw, err := os.ReadFile(filepath.Join(host, "log")); err != nil || string(raw) != "started\nstopping\nterm\n" {
		t.Errorf("the hooks wrote %q, %v", raw, err)
	}
	c.wait(t, ns, "pod/stubborn", "condition=Ready")
	began := time.Now()
	c.kubectl(t, "-n", ns, "delete", "pod", "stubborn")
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("a pod that ignores SIGTERM was gone after %v, before its grace period was over", took)
	}
	wantEvent(t, ns, "hooked", "FailedPostStartHook")
	c.apply(t, ns, pod("forced", `{containers: [{name: a, image: "gantry.local/busybox:1", command: [sh, -c, "trap '' TERM; sleep 1000"]}]}`))
	c.wait(t, ns, "pod/forced", "condition=Ready")
	c.kubectl(t, "-n", ns, "delete", "pod", "forced", "--force", "--grace-period=0")
	c.refused(t, []string{"NotFound"}, "-n", ns, "get", "pod", "forced")
}

func TestRestartPolicies(t *testing.T) {
	t.Parallel()
	needToolbox(t)
	c, ns := shared, shared.namespace(t)
	const spec = `{restartPolicy: %s, containers: [{name: a, image: "gantry.local/busybox:1", command: [sh, -c, "exit %d"]}]}`
	c.apply(t, ns, pod("done", fmt.Sprintf(spec, "Never", 0)))
	c.apply(t, ns, pod("failed", fmt.Sprintf(spec, "Never", 3)))
	c.apply(t, ns, pod("success", fmt.Sprintf(spec, "OnFailure", 0)))
	c.wait(t, ns, "pod/done", "jsonpath={.status.phase}=Succeeded")
	c.wait(t, ns, "pod/failed", "jsonpath={.status.phase}=Failed")
	c.wait(t, ns, "pod/success", "jsonpath={.status.phase}=Succeeded")
	table := c.kubectl(t, "-n", ns, "get", "pods")
	wantCells(t, line(t, table, "done"), map[string]string{"READY": "0/1", "STATUS": "Completed", "RESTARTS": "0"})
	wantCells(t, line(t, table, "failed"), map[string]string{"READY": "0/1", "STATUS": "Error"})
}
