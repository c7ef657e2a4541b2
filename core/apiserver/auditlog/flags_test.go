package auditlog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// opened is what comes of command-line flags.
func opened(t *testing.T, args ...string) (*Log, error) {
	t.Helper()
	var f Flags
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f.Add(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f.Open()
}

func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"

func TestOpen(t *testing.T) {
	good := head + "rules: [{level: Metadata}]\n"
	for _, tc := range []struct {
		name, policy string
		flags        []string
		want         string // a part of the error; "" for a log, "none" for none
	}{
		{"nothing is asked for", "", nil, "none"},
		{"a policy without a backend", good, nil, "none"},
		{"a log without a policy", "", []string{"--audit-log-path=LOG"}, "none"},
		{"both", good, []string{"--audit-log-path=LOG"}, ""},
		{"standard output", good, []string{"--audit-log-path=-", "--audit-log-format=legacy"}, ""},
		{"batches", good, []string{"--audit-log-path=LOG", "--audit-log-mode=batch", "--audit-log-truncate-enabled"}, ""},
		{"no such form", good, []string{"--audit-log-path=LOG", "--audit-log-format=xml"}, `--audit-log-format: "xml" is none of legacy, json`},
		{"no such mode", good, []string{"--audit-log-path=LOG", "--audit-log-mode=x"}, `--audit-log-mode: "x" is none of`},
		{"no such version", good, []string{"--audit-log-path=LOG", "--audit-log-version=audit.k8s.io/v1beta1"}, "--audit-log-version"},
		{"a negative age", good, []string{"--audit-log-path=LOG", "--audit-log-maxage=-1"}, "--audit-log-maxage must not be negative, have -1"},
		{"no room for a batch", good, []string{"--audit-webhook-config-file=LOG", "--audit-webhook-batch-max-size=0"}, "--audit-webhook-batch-max-size must be positive"},
		{"no webhook", good, []string{"--audit-webhook-config-file=/nowhere"}, "--audit-webhook-config-file"},
		{"an unknown field", head + "rules: [{level: Metadata, resource: []}]\n", []string{"--audit-log-path=LOG"}, `unknown field "rules[0].resource"`},
		{"a field twice", head + "rules: [{level: None, level: Metadata}]\n", []string{"--audit-log-path=LOG"}, `already set`},
		{"no rules", head, []string{"--audit-log-path=LOG"}, "loaded illegal policy with 0 rules"},
		{"no kind", "rules: [{level: Metadata}]\n", []string{"--audit-log-path=LOG"}, "unknown group version field"},
		{"an older version", "apiVersion: audit.k8s.io/v1beta1\nkind: Policy\nrules: [{level: Metadata}]\n", []string{"--audit-log-path=LOG"}, "no kind \"Policy\""},
		{"no such level", head + "rules: [{level: Everything}]\n", []string{"--audit-log-path=LOG"}, `rules[0].level: Unsupported value: "Everything"`},
		{"resources and paths", head + "rules: [{level: None, nonResourceURLs: [/metrics], resources: [{group: apps}]}]\n", []string{"--audit-log-path=LOG"}, "rules[0].nonResourceURLs: Invalid value"},
		{"no such stage", head + "omitStages: [Begin]\nrules: [{level: None}]\n", []string{"--audit-log-path=LOG"}, `omitStages[0]: Invalid value: "Begin"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "deep", "audit.log")
			args := []string{}
			if tc.policy != "" {
				args = append(args, "--audit-policy-file="+written(t, tc.policy))
			}
			for _, f := range tc.flags {
				args = append(args, strings.ReplaceAll(f, "LOG", log))
			}
			l, err := opened(t, args...)
			switch {
			case tc.want == "none":
				if l != nil || err != nil {
					t.Errorf("got %v, %v, want nothing", l, err)
				}
			case tc.want == "":
				if l == nil || err != nil {
					t.Errorf("got %v, %v, want a log", l, err)
				}
			case err == nil || !strings.Contains(err.Error(), tc.want):
				t.Errorf("got error %v, want %q", err, tc.want)
			}
		})
	}
}

// TestExample: the policy that docs/operating.md shows is one.
func TestExample(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(doc), "```yaml\napiVersion: audit.k8s.io/v1\n")
	text, _, found := strings.Cut(text, "```")
	p, err := ParsePolicy([]byte("apiVersion: audit.k8s.io/v1\n" + text))
	if err != nil || !found || len(p.Rules) < 5 {
		t.Errorf("%v: %q", err, text)
	}
}
