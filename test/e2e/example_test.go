//go:build e2e

package e2e

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// buildExample builds the plugin of a module of its own, as its vendor would.
func buildExample(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "plugin-network-routed")
	build := exec.Command("go", "build", "-o", out, ".")
	build.Dir = filepath.Join("..", "..", "examples", "network-routed")
	build.Env = append(os.Environ(), "GOFLAGS=-mod=readonly -buildvcs=false", "GOWORK=off", "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the example: %v\n%s", err, text)
	}
	return out
}

// publish pushes an executable as an artifact, signed as cosign does, and returns its reference and the key.
func publish(t *testing.T, registry, file string) (ref, key string) {
	t.Helper()
	content := must(os.ReadFile(file))
	img := must(mutate.AppendLayers(empty.Image, static.NewLayer(content, types.OCILayer)))
	digest := must(img.Digest())
	ref = registry + "/plugins/routed@" + digest.String()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	payload := fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":""},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, digest)
	signature := must(mutate.Append(empty.Image, mutate.Addendum{
		Layer:       static.NewLayer(payload, "application/vnd.dev.cosign.simplesigning.v1+json"),
		Annotations: map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(ed25519.Sign(private, payload))},
	}))
	at := must(name.NewDigest(ref))
	tag := at.Context().Tag(strings.ReplaceAll(digest.String(), ":", "-") + ".sig")
	for to, what := range map[name.Reference]v1.Image{at: img, tag: signature} {
		if err := remote.Write(to, what); err != nil {
			t.Fatal(err)
		}
	}
	return ref, pemOf(t, public)
}

func pemOf(t *testing.T, key ed25519.PublicKey) string {
	t.Helper()
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(key))}))
}

const vendors = `{"apiVersion": "plugins.gantry.dev/v1alpha1", "kind": "Plugin", "metadata": {"name": "routed"}, "spec": {
	"type": "Network", "priority": -1, "source": {"image": {"reference": %q, "publicKey": %q}}, "config": {"dir": %q, "range": "10.251.0.0/24"}}}`

// A vendor's plugin comes from a registry, is refused with another's key, is verified, and gives a pod its network.
func TestExamplePlugin(t *testing.T) {
	needToolbox(t)
	c := shared
	file := buildExample(t)
	ref, key := publish(t, newRegistry(t), file)
	other, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "routed")
	c.apply(t, "default", fmt.Sprintf(vendors, ref, pemOf(t, other), dir))
	t.Cleanup(func() { c.kubectl(t, "delete", "plugin", "routed", "--ignore-not-found", "--timeout=45s") })
	c.kubectl(t, "wait", "plugin/routed", `--for=jsonpath={.status.conditions[?(@.type=="Verified")].reason}=VerificationFailed`, "--timeout=45s")
	wantParts(t, c.kubectl(t, "describe", "plugin", "routed"), "another key has signed it", "PluginNotReady")

	c.apply(t, "default", fmt.Sprintf(vendors, ref, key, dir))
	c.kubectl(t, "wait", "plugin/routed", `--for=jsonpath={.status.conditions[?(@.type=="Verified")].reason}=SignatureMatches`, "--timeout=45s")
	c.kubectl(t, "wait", "plugin/routed", "--for=condition=Available", "--timeout=45s")

	config := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(config, []byte(`{"dir": "${dir}/routed"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	junit := filepath.Join(t.TempDir(), "junit.xml")
	verify := exec.Command(filepath.Join(binDir(), "gantry"), "plugin", "verify", "network", file, "--config", config, "--junit", junit,
		"--report", "routed", "--kubeconfig", c.kubeconfig())
	for _, v := range os.Environ() { // The tests' own isolation is not that of the command.
		if !strings.HasPrefix(v, "GANTRY_TEST_ISOLATED=") {
			verify.Env = append(verify.Env, v)
		}
	}
	if out, err := verify.CombinedOutput(); err != nil {
		t.Fatalf("verify the example: %v\n%s", err, out)
	}
	wantParts(t, string(must(os.ReadFile(junit))), `testsuite name="network/routed"`, `failures="0"`)
	c.kubectl(t, "wait", "plugin/routed", `--for=jsonpath={.status.conditions[?(@.type=="Verified")].reason}=SuitePassed`, "--timeout=45s")

	ns := c.namespace(t)
	c.apply(t, ns, three)
	c.apply(t, ns, `{apiVersion: v1, kind: Pod, metadata: {name: there, annotations: {plugins.gantry.dev/network: routed}}, spec: {terminationGracePeriodSeconds: 1,
		containers: [{name: main, image: "`+busybox+`", command: [sleep, "1000"]}]}}`)
	c.kubectl(t, "-n", ns, "rollout", "status", "deployment/shop", "--timeout=45s")
	c.wait(t, ns, "pod/there", "condition=Ready")
	wantParts(t, c.exec(t, ns, "there", "ip addr show eth0"), "10.251.0.")
	ip := c.kubectl(t, "-n", ns, "get", "service", "shop", "-o", "jsonpath={.spec.clusterIP}")
	wantParts(t, c.exec(t, ns, "there", "wget -qO- http://"+ip+"/ && echo reached"), "reached")
	c.kubectl(t, "-n", ns, "delete", "pod", "there", "--timeout=45s")
	c.kubectl(t, "delete", "plugin", "routed", "--timeout=45s")
	nothingLeft(t, c)
}
