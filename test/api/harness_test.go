//go:build e2e

// Package api_test runs `gantry server` as its users do: over an external etcd, two servers at once, with its
// process killed again and again, and with a full disk.
package api_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdmain"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gantryio/gantry/interfaces/plugin/plugintest"
	"github.com/gantryio/gantry/test/upstream"
)

// runEtcd makes this executable an etcd.
const runEtcd = "GANTRY_TEST_ETCD"

func TestMain(m *testing.M) {
	if os.Getenv(runEtcd) != "" {
		etcdmain.Main(os.Args)
		return
	}
	os.Exit(plugintest.Isolate(tests{m}))
}

// tests are run with a folder for what is built.
type tests struct{ *testing.M }

var buildDir string

func (m tests) Run() int {
	var err error
	if buildDir, err = os.MkdirTemp("", "gantry-api-test"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(buildDir)
	return m.M.Run()
}

var buildGantry = sync.OnceValues(func() (string, error) {
	path := filepath.Join(buildDir, "gantry")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/gantry").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build gantry: %w: %s", err, out)
	}
	return path, nil
})

// process is a child that is killed at the end of its test.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func start(t testing.TB, log string, env []string, path string, args ...string) *process {
	t.Helper()
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd, make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			data, _ := os.ReadFile(log)
			t.Logf("%s:\n%s", log, data[max(0, len(data)-4000):])
		}
	})
	return p
}

// kill ends the process with SIGKILL.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.done
}

// stop asks the process to end and waits until it has.
func (p *process) stop(t testing.TB) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(90 * time.Second):
		t.Fatal("the process does not end")
	}
}

// startEtcd runs a separate etcd process and returns its URL.
func startEtcd(t testing.TB, port int) string {
	t.Helper()
	dir := t.TempDir()
	url, args := upstream.Etcd(dir, port)
	start(t, filepath.Join(dir, "log"), []string{runEtcd + "=1"}, "/proc/self/exe", args...)
	return url
}

func etcdClient(t testing.TB, url string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{url}, DialTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// server is a `gantry server` that can be started again and again.
type server struct {
	data  string
	port  int
	flags []string
	*process
}

func (s *server) start(t testing.TB) {
	t.Helper()
	path, err := buildGantry()
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{
		"server", "--data", s.data, "--listen", "127.0.0.1", "--port", strconv.Itoa(s.port), "--advertise", "192.0.2.1",
		"--dns-port", strconv.Itoa(s.dnsPort()),
	}, s.flags...)
	t.Cleanup(func() { os.RemoveAll(s.runDir()) }) // of one that was killed
	s.process = start(t, filepath.Join(t.TempDir(), "log"), nil, path, args...)
	s.await(t)
}

// stop is a process's, which leaves no folder that is not among its data.
func (s *server) stop(t testing.TB) {
	t.Helper()
	s.process.stop(t)
	if _, err := os.Stat(s.runDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a server that has ended leaves %s: %v", s.runDir(), err)
	}
}

// runDir is where a server has its sockets whose data lies too deep for them.
func (s *server) runDir() string {
	sum := sha256.Sum256([]byte(s.data))
	return "/run/gantry-" + hex.EncodeToString(sum[:4])
}

// dnsPort is where the server answers for names.
func (s *server) dnsPort() int { return s.port + 10000 }

// await returns once the server is ready.
func (s *server) await(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for {
		client, err := s.tryClient()
		if err == nil {
			err = client.CoreV1().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
		}
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("server on port %d is not ready: %v", s.port, err)
		case <-s.done:
			t.Fatalf("server on port %d ended", s.port)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *server) tryClient() (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(s.data, "admin.kubeconfig"))
	if err != nil {
		return nil, err
	}
	config.Host = "https://127.0.0.1:" + strconv.Itoa(s.port)
	config.QPS = -1
	config.Timeout = 30 * time.Second
	return kubernetes.NewForConfig(config)
}

func (s *server) client(t testing.TB) kubernetes.Interface {
	t.Helper()
	c, err := s.tryClient()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ours selects what configMap makes: the server's controllers have ConfigMaps too.
var ours = metav1.ListOptions{LabelSelector: "test=api"}

func configMap(name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"test": "api"}}, Data: data}
}

// eventually calls try until it returns nil.
func eventually(t testing.TB, within time.Duration, try func() error) {
	t.Helper()
	deadline := time.After(within)
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

var errNotYet = errors.New("not yet")
