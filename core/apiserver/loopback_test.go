package apiserver_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/gantryio/gantry/core/apiserver"
)

// TestLoopback uses the server without a socket, as two users.
func TestLoopback(t *testing.T) {
	c := shared
	ns := c.namespace(t)
	as := func(name string, groups ...string) kubernetes.Interface {
		return must(kubernetes.NewForConfig(&rest.Config{
			Host: "https://in-process.invalid", QPS: -1,
			Transport: apiserver.Loopback{Server: c.api, User: &user.DefaultInfo{Name: name, Groups: groups}},
		}))(t)
	}
	admin := as("admin", "system:masters").CoreV1().ConfigMaps(ns)
	w := must(admin.Watch(t.Context(), metav1.ListOptions{}))(t)
	defer w.Stop()
	must(admin.Create(t.Context(), configMap("a", "k", "v"), metav1.CreateOptions{}))(t)
	if e, ok := <-w.ResultChan(); !ok || e.Type != "ADDED" {
		t.Errorf("watched %v", e)
	}
	if got := must(admin.Get(t.Context(), "a", metav1.GetOptions{}))(t); got.Data["k"] != "v" {
		t.Errorf("got %v", got)
	}
	_, err := admin.Get(t.Context(), "b", metav1.GetOptions{})
	wantStatus(t, err, 404, metav1.StatusReasonNotFound, `configmaps "b" not found`)
	_, err = as("nobody").CoreV1().ConfigMaps(ns).Get(t.Context(), "a", metav1.GetOptions{})
	wantStatus(t, err, 403, metav1.StatusReasonForbidden, `User "nobody" cannot get`)
}
