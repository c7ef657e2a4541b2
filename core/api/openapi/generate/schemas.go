package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"k8s.io/kube-openapi/pkg/util"

	"github.com/gantryio/gantry/core/api"
)

// object is a JSON object.
type object = map[string]any

// extraPackages hold types that kinds and their subresources refer to.
var extraPackages = []string{
	"k8s.io/apimachinery/pkg/apis/meta/v1",
	"k8s.io/apimachinery/pkg/api/resource",
	"k8s.io/apimachinery/pkg/runtime",
	"k8s.io/apimachinery/pkg/util/intstr",
	"k8s.io/apimachinery/pkg/version",
	"k8s.io/api/autoscaling/v1",
	"k8s.io/api/policy/v1",
	"k8s.io/api/scheduling/v1alpha3", // jobs refer to it
	"k8s.io/api/authentication/v1",
}

// dumpProgram prints the generated definitions as one JSON object by name.
const dumpProgram = `package main

import (
	"encoding/json"
	"os"

	"k8s.io/kube-openapi/pkg/validation/spec"

	"generated/defs"
)

func main() {
	out := map[string]spec.Schema{}
	ref := func(path string) spec.Ref { return spec.MustCreateRef("#/definitions/" + path) }
	for name, d := range defs.GetOpenAPIDefinitions(ref) {
		out[name] = d.Schema
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		panic(err)
	}
}
`

// loadSchemas returns the schema of every type by its friendly name, with references to #/definitions/.
func loadSchemas(registry *api.Registry) (object, error) {
	dir, err := os.MkdirTemp("", "openapi-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := makeModule(dir); err != nil {
		return nil, err
	}
	args := []string{
		"run", "k8s.io/kube-openapi/cmd/openapi-gen", "--go-header-file", os.DevNull,
		"--output-dir", filepath.Join(dir, "defs"), "--output-pkg", "generated/defs", "--report-filename", os.DevNull,
	}
	if _, err := run(dir, append(args, packagesOf(registry)...)...); err != nil {
		return nil, err
	}
	data, err := run(dir, "run", ".")
	if err != nil {
		return nil, err
	}
	// Names become friendly in references too; both are Go paths or friendly already.
	var raw object
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("read the generated definitions: %w", err)
	}
	out := object{}
	for name, schema := range raw {
		out[friendly(name)] = rename(schema)
	}
	return out, nil
}

func friendly(name string) string {
	if strings.Contains(name, "/") {
		return util.ToRESTFriendlyName(name)
	}
	return name
}

const definitions = "#/definitions/"

// rename makes the references below v friendly.
func rename(v any) any {
	switch v := v.(type) {
	case object:
		for key, value := range v {
			if ref, ok := value.(string); ok && key == "$ref" {
				ref = strings.ReplaceAll(strings.TrimPrefix(ref, definitions), "~1", "/")
				v[key] = definitions + friendly(ref)
				continue
			}
			v[key] = rename(value)
		}
	case []any:
		for i := range v {
			v[i] = rename(v[i])
		}
	}
	return v
}

func packagesOf(registry *api.Registry) []string {
	out := slices.Clone(extraPackages)
	for _, r := range registry.All() {
		if pkg := r.Type().PkgPath(); !slices.Contains(out, pkg) {
			out = append(out, pkg)
		}
	}
	return out
}

// makeModule copies this module's requirements, so that the schemas are those of the served types.
func makeModule(dir string) error {
	root, err := run(".", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), name))
		if err != nil {
			return err
		}
		if name == "go.mod" {
			data = regexp.MustCompile(`(?m)^module (.*)$`).ReplaceAll(data,
				[]byte("module generated\nrequire $1 v0.0.0\nreplace $1 => "+strings.TrimSpace(string(root))))
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "main.go"), []byte(dumpProgram), 0o644)
}

func run(dir string, args ...string) ([]byte, error) {
	var stderr bytes.Buffer
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Stderr = dir, &stderr
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out, nil
}
