package gantry_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/gantryio/gantry/"

// layers says which parts of the repository a part may import besides itself; "*" is a folder of parts,
// siblings that never import each other. What is not listed is denied. docs/architecture.md draws it.
var layers = []struct {
	part string
	may  []string
}{
	{"interfaces", nil},
	{"core/api", nil},
	{"core/store", nil},
	{"core/run", nil},
	{"core/pki", nil},
	{"core/lazy", nil},
	{"core/turns", nil},
	{"core/h2", []string{"core/lazy", "core/turns"}},
	{"core/upgrade", nil},
	{"core/cache", []string{"core/api", "core/store"}},
	{"core/auth", []string{"core/api", "core/store", "core/cache"}},
	{"core/admission", []string{"core/api", "core/store", "core/cache", "core/auth"}},
	{"core/apiserver", []string{"core/api", "core/store", "core/cache", "core/auth", "core/admission", "core/upgrade", "core/lazy", "core/turns", "core/h2"}},
	{"core/client", []string{"core/api", "core/cache"}},
	{"core/dns", []string{"core/api", "core/client"}},
	{"core/scheduler", []string{"core/api", "core/client", "interfaces"}},
	{"core/service", []string{"core/api", "core/client", "interfaces"}},
	{"core/pluginhost", []string{"interfaces", "core/run"}},
	{"core/agent", []string{"core/api", "core/client", "interfaces", "core/pluginhost", "core/run", "core/upgrade"}},
	{"controllers/*", []string{"core/api", "core/client"}},
	{"workloads/*", []string{"core/api", "core/client"}},
	{"plugins/runtime/*", []string{"interfaces"}},
	{"plugins/network/*", []string{"interfaces"}},
	{"plugins/service/*", []string{"interfaces"}},
	{"plugins/scheduler/*", []string{"interfaces"}},
	{"cmd", []string{"*"}},
	{"test", []string{"*"}},
}

func TestLayers(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		from, ours := strings.CutPrefix(words[0], module)
		if !ours {
			continue // the root, which holds this test alone
		}
		part, may, ok := partOf(from)
		if !ok {
			t.Errorf("%s belongs to no part", from)
			continue
		}
		for _, path := range words[1:] {
			to, ours := strings.CutPrefix(path, module)
			if ours && !allowed(part, may, to) {
				t.Errorf("%s imports %s", from, to)
			}
			if path == "k8s.io/kubernetes" || strings.HasPrefix(path, "k8s.io/kubernetes/") {
				t.Errorf("%s imports %s, which is no library", from, path)
			}
		}
	}
}

// partOf returns the part that a package is in, with the star of its layer replaced.
func partOf(pkg string) (part string, may []string, ok bool) {
	for _, l := range layers {
		folder, star := strings.CutSuffix(l.part, "/*")
		rest, in := strings.CutPrefix(pkg, folder)
		if !in || rest != "" && rest[0] != '/' {
			continue
		}
		if !star {
			return l.part, l.may, true
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
		return folder + "/" + name, l.may, true
	}
	return "", nil, false
}

func allowed(part string, may []string, to string) bool {
	return within(to, part) || slices.ContainsFunc(may, func(other string) bool {
		return other == "*" || within(to, other)
	})
}

func within(pkg, part string) bool { return pkg == part || strings.HasPrefix(pkg, part+"/") }
