package replicaset

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/gantryio/gantry/core/client/owner/ownertest"
)

func TestWhoMayAdopt(t *testing.T) {
	ownertest.WhoMayAdopt(t, sized(1), map[string]string{"app": "web"}, func(api client.Client) handler.MapFunc {
		return (&Controller{Client: api}).setsOf
	})
}
