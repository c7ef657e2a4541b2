package daemonset

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/gantryio/gantry/core/client/owner/ownertest"
)

func TestWhoMayAdopt(t *testing.T) {
	ownertest.WhoMayAdopt(t, set(), map[string]string{"app": "log"}, func(api client.Client) handler.MapFunc {
		return (&Controller{Client: api}).setsOf
	})
}
