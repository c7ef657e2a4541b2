package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// kubernetes is the module with the tests.
const kubernetes = "k8s.io/kubernetes"

// build makes in the cache what is missing or older than the pins. The go command would see by itself what has changed,
// but links again each time.
func (s *settings) build(ctx context.Context) error {
	if err := os.MkdirAll(s.cache, 0o755); err != nil {
		return err
	}
	for _, p := range s.programs() {
		if newer(s.path(p.file), "go.mod", "go.sum") {
			continue
		}
		fmt.Println("building", p.file)
		if _, err := goCommand(ctx, append(p.args, "-ldflags=-s -w", "-o", s.path(p.file), p.from)...); err != nil {
			return err
		}
	}
	if err := s.install(ctx); err != nil {
		return err
	}
	dir, err := goCommand(ctx, "list", "-m", "-f", "{{.Dir}}", kubernetes)
	if err != nil {
		return err
	}
	return s.buildImages(strings.TrimSpace(dir))
}

// program is built from a package of the module's requirements, or of Gantry.
type program struct {
	file, from string
	args       []string
}

// programs are those that run the tests or stand in the images. The part has no test that needs the last ones.
func (s *settings) programs() []program {
	run := []string{"build"}
	all := []program{
		{"ginkgo", "github.com/onsi/ginkgo/v2/ginkgo", run},
		{"agnhost", kubernetes + "/test/images/agnhost", run},
		{"dig", "./test/e2e/dig", []string{"-C", "../..", "build"}},
		{"e2e.test", kubernetes + "/test/e2e", []string{"test", "-c"}},
	}
	if s.part {
		return all
	}
	return append(all, program{"nnp", kubernetes + "/test/images/nonewprivs", run},
		program{"etcd", "go.etcd.io/etcd/server/v3", run}, program{"sample-apiserver", "k8s.io/sample-apiserver", run})
}

// install copies Gantry into the cache, so that it can be built anew while the tests run. Many tests ask for the runtime's
// seccomp profile: where libseccomp is installed, runc is built with it, as stack/README.md says.
func (s *settings) install(ctx context.Context) error {
	to := s.path("bin")
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	args := []string{"-a"}
	for _, part := range []string{"gantry", "gantry-cni", "gantry-shim", "kubectl", "images", "plugins", "stack"} {
		args = append(args, filepath.Join(s.bin, part))
	}
	if out, err := exec.CommandContext(ctx, "cp", append(args, to)...).CombinedOutput(); err != nil {
		return fmt.Errorf("copy Gantry, run `make build` first: %w\n%s", err, out)
	}
	if !s.seccomp {
		return nil
	}
	if err := exec.CommandContext(ctx, "pkg-config", "--exists", "libseccomp").Run(); err != nil {
		fmt.Println("without libseccomp-dev pods with seccompProfile RuntimeDefault do not start: their tests will fail")
		return nil
	}
	runc := filepath.Join(s.path("stack"), "runc")
	build := exec.CommandContext(ctx, "make", "--no-print-directory", "-C", "../../stack", "OUT="+s.path("stack"),
		"SECCOMP=seccomp", runc)
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build runc with seccomp: %w", err)
	}
	if out, err := exec.CommandContext(ctx, "cp", runc, filepath.Join(to, "stack/runc")).CombinedOutput(); err != nil {
		return fmt.Errorf("copy runc: %w\n%s", err, out)
	}
	return nil
}

func (s *settings) path(file string) string { return filepath.Join(s.cache, file) }

// newer says whether file exists and is newer than all others.
func newer(file string, than ...string) bool {
	f, err := os.Stat(file)
	if err != nil {
		return false
	}
	for _, other := range than {
		if o, err := os.Stat(other); err != nil || !f.ModTime().After(o.ModTime()) {
			return false
		}
	}
	return true
}

func goCommand(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return string(out), nil
}
