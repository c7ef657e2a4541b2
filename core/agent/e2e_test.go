//go:build e2e

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/interfaces/runtime"
	"github.com/gantryio/gantry/plugins/runtime/containerd"
	fakeruntime "github.com/gantryio/gantry/plugins/runtime/fake"
)

const insideVariable = "GANTRY_AGENT_E2E_INSIDE"

// TestRealContainers runs in a network namespace of its own, which has a loopback interface only.
func TestRealContainers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	if os.Getenv(insideVariable) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestRealContainers$", "-test.v", "-test.timeout=5m")
		cmd.Env = append(os.Environ(), insideVariable+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
	logLevel = slog.LevelDebug
	slog.SetLogLoggerLevel(slog.LevelDebug)
	realContainers(t)
}

func realContainers(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "bin/stack/containerd")); err != nil {
		t.Skip("the node stack is not built")
	}
	dir, err := os.MkdirTemp("", "ga")
	if err != nil {
		t.Fatal(err)
	}
	plug, err := containerd.Open(containerd.Config{
		Root: dir + "/root", State: dir + "/s", Stack: filepath.Join(root, "bin/stack"),
		PauseArchive: filepath.Join(root, "bin/images/pause.tar"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plug.Stop(context.Background()); err != nil {
			t.Errorf("stop containerd: %v", err)
		}
		os.RemoveAll(dir)
	})
	conn, err := grpc.NewClient("unix://"+dir+"/s/c.sock", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(timed))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	rt := runtime.NewClient(conn)
	if _, err := rt.Version(context.Background(), &runtimeapi.VersionRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	if _, err := plug.Import(context.Background(), filepath.Join(root, "bin/images/demo-1.tar")); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, fakeruntime.Options{})
	start := func() {
		b.start(func(a *Agent) {
			a.Hollow, a.KubeletDir, a.LogDir, a.CgroupRoot = false, dir+"/kubelet", dir+"/logs", filepath.Base(dir)
			a.Runtimes = Static{{Ref: Ref{Plugin: "containerd", Version: "1"}, Runtime: rt}}
			a.NodeIPs = []string{"127.0.0.1"}
		})
	}
	start()
	t.Cleanup(func() {
		b.stop()
		if err := b.agent.Teardown(context.Background()); err != nil {
			t.Errorf("tear down: %v", err)
		}
	})
	b.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "c"}, Data: map[string]string{"key": "value"}})
	b.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "s"}, Data: map[string][]byte{"key": []byte("secret")}})
	lives(t, b, dir, rt, start)
}

// lives takes a pod through its life: it starts, its process is killed, the agent is restarted, it is deleted.
func lives(t *testing.T, b *bench, dir string, rt runtime.Runtime, start func()) {
	began := time.Now()
	p := demoPod("web")
	b.create(p)
	b.until("web", "ready", ready)
	t.Logf("created to ready: %v", time.Since(began))
	checkHTTP(t, "http://127.0.0.1:8080/healthz")
	checkFiles(t, b, dir, string(p.UID))
	began = time.Now()
	kill(t, rt, "app")
	b.until("web", "restarted", running(1))
	t.Logf("killed to running again: %v", time.Since(began))
	pid := pidOf(t, rt, "app")
	b.stop()
	start()
	b.until("web", "ready", ready)
	if again := pidOf(t, rt, "app"); again != pid {
		t.Errorf("the restart of the agent turned process %s into %s", pid, again)
	}
	ref, err := b.agent.ContainerLog("default", "web", "app", true)
	if err != nil {
		t.Error(err)
	} else if _, err := os.Stat(ref.Path); err != nil {
		t.Errorf("log of the previous incarnation: %v", err)
	}
	sum, err := b.agent.Stats(context.Background())
	if err != nil || len(sum.Pods) != 1 || len(sum.Pods[0].Containers) != 1 || sum.Pods[0].Containers[0].Memory == nil {
		t.Errorf("stats %+v, %v", sum, err)
	}
	began = time.Now()
	live := b.until("web", "there", func(p *corev1.Pod) bool { return p != nil })
	if err := b.api.Delete(context.Background(), live); err != nil {
		t.Fatal(err)
	}
	b.until("web", "gone", gone)
	t.Logf("deleted to gone: %v", time.Since(began))
	for _, w := range b.agent.snapshot() {
		<-w.done
	}
	for _, path := range []string{dir + "/kubelet/pods/" + string(p.UID), "/sys/fs/cgroup/memory/" + filepath.Base(dir) + "/kubepods/burstable/pod" + string(p.UID)} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
}

func demoPod(name string) *corev1.Pod {
	mode := int32(0o400)
	return testPod(name, func(p *corev1.Pod) {
		p.Spec.HostNetwork = true
		p.Spec.TerminationGracePeriodSeconds = new(int64)
		*p.Spec.TerminationGracePeriodSeconds = 10
		p.Spec.Volumes = []corev1.Volume{
			{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}},
			{Name: "c", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "c"}}}},
			{Name: "s", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s", DefaultMode: &mode}}},
		}
		c := &p.Spec.Containers[0]
		c.Image, c.ImagePullPolicy = "gantry.local/demo:1", corev1.PullIfNotPresent
		c.TerminationMessagePath = "/dev/termination-log"
		c.VolumeMounts = []corev1.VolumeMount{
			{Name: "tmp", MountPath: "/tmp"},
			{Name: "c", MountPath: "/c"},
			{Name: "s", MountPath: "/s"},
			{Name: "c", MountPath: "/one", SubPath: "key"},
			{Name: "tmp", MountPath: "/sub", SubPath: "a/b"},
		}
		c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}
		c.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")}
		c.ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
			HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8080)},
		}}
	})
}

func checkHTTP(t *testing.T, url string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("%s answers %s", url, res.Status)
	}
}

// checkFiles reads volumes as the container's process sees them, and sees a change of the ConfigMap arrive.
func checkFiles(t *testing.T, b *bench, dir, uid string) {
	t.Helper()
	volume := filepath.Join(dir, "kubelet/pods", uid, "volumes/kubernetes.io~configmap/c/key")
	if raw, err := os.ReadFile(volume); err != nil || string(raw) != "value" {
		t.Errorf("the config map's file is %q, %v", raw, err)
	}
	limit, err := os.ReadFile("/sys/fs/cgroup/memory/" + filepath.Base(dir) + "/kubepods/burstable/pod" + uid + "/memory.limit_in_bytes")
	if err == nil && strings.TrimSpace(string(limit)) != fmt.Sprint(64<<20) {
		t.Errorf("the pod's memory limit is %s", limit)
	}
	var cm corev1.ConfigMap
	if err := b.api.Get(context.Background(), client.ObjectKey{Namespace: "default", Name: "c"}, &cm); err != nil {
		t.Fatal(err)
	}
	cm.Data["key"] = "changed"
	if err := b.api.Update(context.Background(), &cm); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(deadline); ; time.Sleep(time.Millisecond) {
		if raw, _ := os.ReadFile(volume); string(raw) == "changed" {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the change of the config map did not arrive")
		}
	}
}

func kill(t *testing.T, rt runtime.Runtime, name string) {
	t.Helper()
	var pid int
	if _, err := fmt.Sscan(pidOf(t, rt, name), &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// pidOf reads a running container's process id out of the runtime's verbose status.
func pidOf(t *testing.T, rt runtime.Runtime, name string) string {
	t.Helper()
	list, err := rt.ListContainers(context.Background(), &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{
		State: &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_RUNNING},
	}})
	if err != nil || len(list.Containers) != 1 || list.Containers[0].Metadata.Name != name {
		t.Fatalf("running containers %v, %v", list, err)
	}
	st, err := rt.ContainerStatus(context.Background(), &runtimeapi.ContainerStatusRequest{ContainerId: list.Containers[0].Id, Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(st.Info["info"], `"pid":`)
	pid, _, _ := strings.Cut(rest, ",")
	return strings.TrimSpace(pid)
}

// timed prints how long each call of the runtime took.
func timed(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	began := time.Now()
	err := invoke(ctx, method, req, reply, cc, opts...)
	slog.Debug("runtime call", "method", filepath.Base(method), "at", began.Format("05.000"), "took", time.Since(began).Round(time.Millisecond))
	return err
}
