package apiserver

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/core"
)

func TestAgentError(t *testing.T) {
	c := &call{q: &api.Request{Resource: core.Pods.Resource(), Name: "p"}}
	type answer struct {
		code    int32
		reason  metav1.StatusReason
		message string
	}
	for code, want := range map[int]answer{
		400: {400, metav1.StatusReasonBadRequest, "container is waiting to start"},
		500: {500, metav1.StatusReasonInternalError, "Internal error occurred: container is waiting to start"},
		404: {404, metav1.StatusReasonNotFound, "the server could not find the requested resource (get pods p)"},
	} {
		err := agentError(c, code, "container is waiting to start")
		var status apierrors.APIStatus
		if !errors.As(err, &status) {
			t.Fatalf("%d: %v is no status", code, err)
		}
		got := answer{status.Status().Code, status.Status().Reason, status.Status().Message}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(answer{})); diff != "" {
			t.Errorf("%d: -want +got:\n%s", code, diff)
		}
	}
}
