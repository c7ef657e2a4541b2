//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// nothingLeft asks the audit, which must find nothing. What is on its way out when it looks has time to go.
func nothingLeft(t *testing.T, c *cluster) {
	t.Helper()
	eventually(t, func() error {
		out, err := c.try("gantry", "plugin", "audit")
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return equal(out, "Nothing is left over.")
	})
}

func TestAudit(t *testing.T) {
	c, ns := shared, shared.namespace(t)
	c.kubectl(t, "-n", ns, "run", "web", "--image="+demo)
	c.wait(t, ns, "pod/web", "condition=Ready")
	nothingLeft(t, c)

	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "gantry-old"}}); err != nil {
		t.Fatal(err)
	}
	address := filepath.Join(c.dir, "addresses", "gantry", "10.244.0.250")
	if err := os.WriteFile(address, []byte("nobody\r\neth0"), 0o600); err != nil {
		t.Fatal(err)
	}
	volume := filepath.Join(c.dir, "kubelet", "pods", "nobody", "volumes")
	if err := os.MkdirAll(volume, 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := c.try("gantry", "plugin", "audit")
	if err == nil {
		t.Error("an audit with findings succeeded")
	}
	wantParts(t, out, "interface   gantry-old", "address     "+address, "volume      "+filepath.Dir(volume), "left")
	out, err = c.try("gantry", "plugin", "audit", "--fix", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var found []struct {
		Kind  string
		Fixed bool
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil || len(found) != 3 {
		t.Errorf("findings %s: %v", out, err)
	}
	nothingLeft(t, c)

	plugins := c.plugins(t)
	kill(t, c.pid(t))
	if out := strings.TrimSpace(c.mustTry(t, "gantry", "plugin", "audit")); out != "Nothing is left over." {
		t.Errorf("without gantry: %s", out)
	}
	if err := c.up(); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, c)
	if now := c.plugins(t); !maps.Equal(plugins, now) {
		t.Errorf("plugins were started again: %v, before %v", now, plugins)
	}
	if out := c.kubectl(t, "-n", ns, "get", "pod", "web", "-o", "jsonpath={.status.containerStatuses[0].restartCount}"); out != "0" {
		t.Errorf("the pod has %s restarts", out)
	}
}

func (c *cluster) mustTry(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := c.try(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
