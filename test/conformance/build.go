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
	for _, b := range []struct {
		file string
		args []string
	}{
		{"ginkgo", []string{"build", "-o", s.path("ginkgo"), "github.com/onsi/ginkgo/v2/ginkgo"}},
		{"agnhost", []string{"build", "-ldflags=-s -w", "-o", s.path("agnhost"), kubernetes + "/test/images/agnhost"}},
		{"e2e.test", []string{"test", "-c", "-ldflags=-s -w", "-o", s.path("e2e.test"), kubernetes + "/test/e2e"}},
	} {
		if newer(s.path(b.file), "go.mod", "go.sum") {
			continue
		}
		fmt.Println("building", b.file)
		if _, err := goCommand(ctx, b.args...); err != nil {
			return err
		}
	}
	dir, err := goCommand(ctx, "list", "-m", "-f", "{{.Dir}}", kubernetes)
	if err != nil {
		return err
	}
	return s.buildImages(strings.TrimSpace(dir))
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
