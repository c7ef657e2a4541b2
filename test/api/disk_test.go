//go:build e2e

package api_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAFullDisk(t *testing.T) {
	dir := t.TempDir()
	// So large that half of what fits is more than a segment of the log, which deletions may begin.
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256m"); err != nil {
		t.Fatal(err)
	}
	s := &server{data: dir, port: 6447}
	t.Cleanup(func() {
		s.kill()
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	s.start(t)
	maps := s.client(t).CoreV1().ConfigMaps("default")
	value := map[string]string{"v": strings.Repeat("x", 200<<10)}
	var names []string
	var full error
	for i := 0; full == nil && i < 2000; i++ {
		name := fmt.Sprintf("m%04d", i)
		if _, full = maps.Create(t.Context(), configMap(name, value), metav1.CreateOptions{}); full == nil {
			names = append(names, name)
		}
	}
	var status apierrors.APIStatus
	if !errors.As(full, &status) || status.Status().Code != 500 || !strings.Contains(full.Error(), "database space exceeded") {
		t.Fatalf("after %d objects: %v", len(names), full)
	}
	t.Logf("full after %d objects: %v", len(names), full)

	list, err := maps.List(t.Context(), ours)
	if err != nil || len(list.Items) != len(names) {
		t.Fatalf("listed %d of %d: %v", len(list.Items), len(names), err)
	}
	if err := s.client(t).CoreV1().RESTClient().Get().AbsPath("/livez").Do(t.Context()).Error(); err != nil {
		t.Errorf("not alive: %v", err)
	}
	half := len(names) / 2
	for _, name := range names[:half] {
		if err := maps.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatalf("delete: %v", err)
		}
	}
	eventually(t, 60*time.Second, func() error {
		_, err := maps.Create(t.Context(), configMap("after", value), metav1.CreateOptions{})
		return err
	})
	for _, name := range names[half:] {
		if got, err := maps.Get(t.Context(), name, metav1.GetOptions{}); err != nil || got.Data["v"] != value["v"] {
			t.Fatalf("%s: %v", name, err)
		}
	}
	s.kill()
	s.start(t)
	list, err = s.client(t).CoreV1().ConfigMaps("default").List(t.Context(), ours)
	if err != nil || len(list.Items) != len(names)-half+1 {
		t.Errorf("after a restart: %d, want %d: %v", len(list.Items), len(names)-half+1, err)
	}
}
