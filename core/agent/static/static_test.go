package static_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/agent/static"
)

const web = `{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: a, image: x}]}}`

func TestParse(t *testing.T) {
	for name, test := range map[string]struct{ manifest, want string }{
		"a pod":                 {web, ""},
		"no YAML":               {`{`, "decode: "},
		"an unknown field":      {strings.Replace(web, "name: a", "nam: a", 1), "unknown field"},
		"another kind":          {`{apiVersion: v1, kind: Service, metadata: {name: a}}`, `it is a Service of "v1"`},
		"another version":       {strings.Replace(web, "v1", "v2", 1), `want a Pod of "v1"`},
		"no name":               {strings.Replace(web, "name: web", "", 1), "metadata.name: Required value"},
		"no container":          {`{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: []}}`, "spec.containers: Required value"},
		"a secret":              {strings.Replace(web, "spec: {", "spec: {volumes: [{name: a, secret: {secretName: a}}], ", 1), "may not refer to secrets"},
		"a service account":     {strings.Replace(web, "spec: {", "spec: {serviceAccountName: a, ", 1), "may not refer to service accounts"},
		"a variable of another": {strings.Replace(web, "image: x", "image: x, env: [{name: a, valueFrom: {configMapKeyRef: {name: a, key: b}}}]", 1), "may not refer to config maps"},
		"a variable of its own": {strings.Replace(web, "image: x", "image: x, env: [{name: a, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]", 1), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := static.Parse([]byte(test.manifest), "/f", "n", time.Time{})
			if (err != nil) != (test.want != "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func parse(t *testing.T, manifest, file, node string) *corev1.Pod {
	t.Helper()
	p, err := static.Parse([]byte(manifest), file, node, time.Unix(1, 0).UTC())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestIdentity(t *testing.T) {
	p := parse(t, web, "/f", "node")
	if p.Name != "web-node" || p.Namespace != "default" || p.Spec.NodeName != "node" || p.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		t.Errorf("got %+v", p)
	}
	want := map[string]string{static.Source: "file", static.Hash: string(p.UID), static.Seen: "1970-01-01T00:00:01Z"}
	if d := cmp.Diff(want, p.Annotations); d != "" {
		t.Error(d)
	}
	if q := parse(t, web, "/f", "node"); q.UID != p.UID {
		t.Error("the same file has another identity")
	}
	for name, other := range map[string]*corev1.Pod{
		"content": parse(t, strings.Replace(web, "image: x", "image: y", 1), "/f", "node"), "file": parse(t, web, "/g", "node"), "node": parse(t, web, "/f", "m"),
	} {
		if other.UID == p.UID {
			t.Errorf("another %s has the same identity", name)
		}
	}
}

func TestMirror(t *testing.T) {
	p := parse(t, web, "/f", "n")
	m := static.Mirror(p, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "u"}})
	if static.IsMirror(p) || !static.IsMirror(m) || m.Annotations[static.MirrorOf] != p.Annotations[static.Hash] || m.UID != "" {
		t.Errorf("got %+v", m)
	}
	if owner := metav1.GetControllerOf(m); owner == nil || owner.Kind != "Node" || owner.UID != "u" {
		t.Errorf("it belongs to %v", owner)
	}
	m.UID, m.ResourceVersion, m.Status.Phase = "other", "7", corev1.PodRunning
	if got := static.Merge(p, m); got.UID != p.UID || got.ResourceVersion != "7" || got.Status.Phase != corev1.PodRunning || static.IsMirror(got) {
		t.Errorf("got %+v", got)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"a.yaml": web, "b.yaml": web, "c.json": strings.Replace(web, "web", "other", 1), ".d.yaml": "{", "e.yaml": "{",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pods, err := static.Read(dir, "n", time.Time{})
	var names []string
	for _, p := range pods {
		names = append(names, p.Name)
	}
	if d := cmp.Diff([]string{"web-n", "other-n"}, names); d != "" {
		t.Error(d)
	}
	for _, want := range []string{"b.yaml: another file has pod default/web-n already", "e.yaml: decode"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if pods, err := static.Read(filepath.Join(dir, "absent"), "n", time.Time{}); err != nil || pods != nil {
		t.Errorf("a folder that is not there: %v, %v", pods, err)
	}
}
