//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// releases is Helm at work in one namespace, as its users type it.
type releases struct {
	*cluster
	namespace string
}

func newReleases(t *testing.T) releases {
	t.Helper()
	return releases{shared, shared.namespace(t)}
}

func (r releases) try(args ...string) (string, error) {
	return r.cluster.try("helm", append([]string{"--namespace", r.namespace}, args...)...)
}

func (r releases) helm(t *testing.T, args ...string) string {
	t.Helper()
	out, err := r.try(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// fails runs Helm, which must fail with a message that has all the parts.
func (r releases) fails(t *testing.T, parts []string, args ...string) {
	t.Helper()
	if out, err := r.try(args...); err == nil {
		t.Errorf("helm %s succeeded:\n%s", strings.Join(args, " "), out)
	} else {
		wantParts(t, err.Error(), parts...)
	}
}

func (r releases) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return r.cluster.kubectl(t, append([]string{"-n", r.namespace}, args...)...)
}

// wantHistory compares each revision's status and description, of which the wanted one need only be the start.
func (r releases) wantHistory(t *testing.T, release string, want ...string) {
	t.Helper()
	var got []struct {
		Revision            int
		Status, Description string
	}
	if err := json.Unmarshal([]byte(r.helm(t, "history", release, "-o", "json")), &got); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, g := range got {
		lines = append(lines, fmt.Sprintf("%d %s: %s", g.Revision, g.Status, g.Description))
	}
	ok := len(lines) == len(want)
	for i := range want {
		ok = ok && strings.HasPrefix(lines[i], want[i])
	}
	if !ok {
		t.Errorf("the history is\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

// wantVersion asks the release's service until only pods of the version answer.
func (r releases) wantVersion(t *testing.T, release, version string) {
	t.Helper()
	url := nodePort(t, r.cluster, r.namespace, release)
	eventually(t, func() error {
		for range 5 {
			body, err := get(url)
			if err != nil || !strings.HasPrefix(body, "version="+version+" ") {
				return fmt.Errorf("answered %q, %v: %w", body, err, errUnexpected)
			}
		}
		return nil
	})
}

// managers lists who manages fields of an object, and how.
func (r releases) managers(t *testing.T, object string) string {
	t.Helper()
	return r.kubectl(t, "get", object, "--show-managed-fields", "-o",
		"jsonpath={range .metadata.managedFields[*]}{.manager}/{.operation}{.subresource} {end}")
}

const chart = "testdata/shop"

// TestHelm installs a chart with a bit of everything, two releases of it at a time.
func TestHelm(t *testing.T) {
	needToolbox(t)
	t.Cleanup(func() { _, _ = shared.try("kubectl", "delete", "crd", "boards.shop.example", "--ignore-not-found") })
	r := newReleases(t)
	wantParts(t, r.helm(t, "lint", chart), "1 chart(s) linted, 0 chart(s) failed")
	r.fails(t, []string{`no matches for kind "Board" in version "shop.example/v1"`, "ensure CRDs are installed first"},
		"install", "shop", chart, "--dry-run=server")
	if left := r.kubectl(t, "get", "deployments,secrets", "-o", "name"); left != "" {
		t.Errorf("a dry run left %s", left)
	}
	t.Run("server-side", helmServerSide)
	t.Run("client-side", helmClientSide)
}

// helmServerSide takes a release through its life with what Helm 4 does unless told otherwise: server-side apply.
func helmServerSide(t *testing.T) {
	t.Parallel()
	r := newReleases(t)
	wantParts(t, r.helm(t, "install", "shop", chart, "--wait", "--timeout=45s"),
		"NAME: shop", "STATUS: deployed", "REVISION: 1", "shop says hello on Kubernetes v1.37")
	r.wantVersion(t, "shop", "1")
	prepared := r.kubectl(t, "get", "job", "shop-prepare", "-o", "jsonpath={.status.completionTime}")
	deployed := r.kubectl(t, "get", "deployment", "shop", "-o", "jsonpath={.metadata.creationTimestamp}")
	if prepared == "" || prepared > deployed {
		t.Errorf("the hook was complete at %q, the deployment made at %s", prepared, deployed)
	}
	wantParts(t, r.kubectl(t, "logs", "job/shop-prepare"), "prepared revision 1")
	if got := r.kubectl(t, "get", "board", "shop", "-o", "jsonpath={.spec}"); got != `{"size":3,"title":"untitled"}` {
		t.Errorf("the board is %s", got)
	}
	r.kubectl(t, "get", "hpa", "shop")
	wantParts(t, r.managers(t, "configmap/shop"), "helm/Apply ")
	wantParts(t, r.kubectl(t, "auth", "can-i", "list", "boards.shop.example", "--as=system:serviceaccount:"+r.namespace+":shop"), "yes")
	wantParts(t, r.helm(t, "test", "shop", "--logs", "--timeout=45s"), "TEST SUITE:     shop-answers", "Phase:          Succeeded", "version=1 pod=shop-")
	r.fails(t, []string{"cannot reuse a name that is still in use"}, "install", "shop", chart)

	password := r.kubectl(t, "get", "secret", "shop", "-o", "jsonpath={.data.password}")
	wantParts(t, r.helm(t, "upgrade", "shop", chart, "--wait", "--timeout=45s",
		"--set", "image.tag=2,replicas=2,greeting=welcome,autoscaling.enabled=false"), "REVISION: 2", "shop says welcome")
	r.wantVersion(t, "shop", "2")
	if now := r.kubectl(t, "get", "secret", "shop", "-o", "jsonpath={.data.password}"); now != password {
		t.Errorf("the password was %s and is %s", password, now)
	}
	if left := r.kubectl(t, "get", "hpa", "-o", "name"); left != "" {
		t.Errorf("what the chart no longer has is still there: %s", left)
	}
	wantParts(t, r.kubectl(t, "logs", "job/shop-prepare"), "prepared revision 2")
	wantParts(t, r.helm(t, "test", "shop", "--timeout=45s"), "Phase:          Succeeded")

	helmFailures(t, r)
	helmConflicts(t, r)

	wantParts(t, r.helm(t, "rollback", "shop", "1", "--wait", "--timeout=45s"), "Rollback was a success!")
	r.wantVersion(t, "shop", "1")
	r.kubectl(t, "get", "hpa", "shop")
	wantParts(t, r.helm(t, "get", "values", "shop"), "null")
	wantParts(t, r.helm(t, "status", "shop", "-o", "json"), `"status":"deployed"`)
	wantParts(t, r.helm(t, "list"), "NAME", "REVISION", "shop", "deployed", "shop-0.1.0")

	wantParts(t, r.helm(t, "uninstall", "shop", "--wait", "--timeout=45s"), "[ConfigMap] shop-ledger", `release "shop" uninstalled`)
	wantOnlyHooks(t, r)
}

// wantOnlyHooks looks for what an uninstalled release shop has left. Helm leaves its hooks, and what is to be kept.
func wantOnlyHooks(t *testing.T, r releases) {
	t.Helper()
	left := r.kubectl(t, "get", "all,hpa,configmaps,secrets,serviceaccounts,roles,rolebindings,boards", "-o", "name", "--ignore-not-found")
	for _, name := range strings.Fields(left) {
		switch name {
		case "configmap/kube-root-ca.crt", "serviceaccount/default", "configmap/shop-ledger":
		case "configmap/shop-seed", "pod/shop-answers", "job.batch/shop-prepare":
		default:
			if !strings.HasPrefix(name, "pod/shop-prepare-") {
				t.Errorf("%s is left", name)
			}
		}
	}
	r.refused(t, []string{"NotFound"}, "get", "clusterrole", r.namespace+"-shop")
}

// helmFailures has upgrades of the release shop, at revision 2, fail.
func helmFailures(t *testing.T, r releases) {
	r.fails(t, []string{"spec.size: Invalid value: -1: spec.size in body should be greater than or equal to 1"}, "upgrade", "shop", chart, "--reuse-values", "--set", "board.size=-1", "--no-hooks")
	r.fails(t, []string{"at '/replicas': minimum: got -1, want 0"}, "upgrade", "shop", chart, "--reuse-values", "--set", "replicas=-1")
	begin := time.Now()
	r.fails(t, []string{"release shop failed, and has been rolled back due to rollback-on-failure being set"},
		"upgrade", "shop", chart, "--reuse-values", "--set", "readiness=/absent,greeting=never", "--rollback-on-failure", "--timeout=4s")
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("the failure took %v", took)
	}
	r.wantHistory(t, "shop", "1 superseded: Install complete", "2 superseded: Upgrade complete", "3 failed: Upgrade \"shop\" failed",
		"4 failed: Upgrade \"shop\" failed", "5 deployed: Rollback to 2")
	r.wantVersion(t, "shop", "2")
	if got := r.kubectl(t, "get", "configmap", "shop", "-o", "jsonpath={.data.GREETING}"); got != "welcome" {
		t.Errorf("the greeting after the rollback is %q", got)
	}
}

// helmConflicts has somebody else take a field that the release owns.
func helmConflicts(t *testing.T, r releases) {
	theirs := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"shop"},"data":{"GREETING":"theirs","MORE":"kept"}}`
	if _, err := r.tryWith(strings.NewReader(theirs), "kubectl", "-n", r.namespace, "apply", "--server-side",
		"--field-manager=somebody", "--force-conflicts", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	upgrade := []string{"upgrade", "shop", chart, "--reuse-values", "--no-hooks", "--set", "greeting=ours"}
	r.fails(t, []string{`conflict with "somebody": .data.GREETING`}, upgrade...)
	wantParts(t, r.helm(t, append(upgrade, "--force-conflicts", "--wait", "--timeout=45s")...), "STATUS: deployed")
	if got := r.kubectl(t, "get", "configmap", "shop", "-o", "jsonpath={.data}"); got != `{"GREETING":"ours","MORE":"kept"}` {
		t.Errorf("after the forced upgrade the data are %s", got)
	}
}

// helmClientSide does without server-side apply, as Helm 3 did, and goes over to it then.
func helmClientSide(t *testing.T) {
	t.Parallel()
	r := newReleases(t)
	r.fails(t, []string{"release kiosk failed, and has been uninstalled due to rollback-on-failure being set"},
		"install", "kiosk", chart, "--rollback-on-failure", "--timeout=4s", "--set", "readiness=/absent", "--no-hooks")
	if left := r.kubectl(t, "get", "deployments,services,boards,secrets", "-o", "name"); left != "" {
		t.Errorf("a failed installation left %s", left)
	}
	pack := t.TempDir()
	wantParts(t, r.helm(t, "package", chart, "-d", pack), "Successfully packaged chart")
	packed := filepath.Join(pack, "shop-0.1.0.tgz")
	wantParts(t, r.helm(t, "install", "kiosk", packed, "--server-side=false", "--wait", "--wait-for-jobs", "--timeout=45s"), "STATUS: deployed")
	wantParts(t, r.managers(t, "configmap/kiosk"), "helm/Update ")
	// What others have changed and the chart does not speak of is kept by the three-way merge.
	r.kubectl(t, "annotate", "deployment", "kiosk", "note=by-hand")
	r.kubectl(t, "set", "env", "deployment/kiosk", "EXTRA=yes")
	wantParts(t, r.helm(t, "upgrade", "kiosk", packed, "--server-side=false", "--set", "image.tag=2", "--wait", "--timeout=45s"), "REVISION: 2")
	r.wantVersion(t, "kiosk", "2")
	if got := r.kubectl(t, "get", "deployment", "kiosk", "-o", "jsonpath={.metadata.annotations.note}"); got != "by-hand" {
		t.Errorf("the annotation made by hand is %q", got)
	}
	wantParts(t, r.helm(t, "upgrade", "kiosk", packed, "--server-side=true", "--force-conflicts", "--reuse-values",
		"--set", "autoscaling.enabled=false", "--wait", "--timeout=45s"), "REVISION: 3")
	wantParts(t, r.managers(t, "configmap/kiosk"), "helm/Apply ")
	wantParts(t, r.helm(t, "rollback", "kiosk", "--wait", "--timeout=45s", "--server-side=true", "--force-conflicts"), "Rollback was a success!")
	r.wantHistory(t, "kiosk", "1 superseded: Install complete", "2 superseded: Upgrade complete", "3 superseded: Upgrade complete",
		"4 deployed: Rollback to 2")
	wantParts(t, r.helm(t, "uninstall", "kiosk", "--wait", "--timeout=45s"), `release "kiosk" uninstalled`)
	if left := r.kubectl(t, "get", "deployments,services,boards,secrets", "-o", "name"); left != "" {
		t.Errorf("the uninstalled release left %s", left)
	}
}
