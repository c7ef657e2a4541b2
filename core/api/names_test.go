package api

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
)

var names = []string{
	"", "a", "9", "-", ".", "..", "...", "..a", "a..b", ".a", "a.", "a-", "-a", "a-b", "a-.b", "a.-b", "a--b", "a.b.c", "A", "a_b", "A_b-c.d", "ä", "a\x00", "a\n",
	"a/b", "/b", "a/", "/", "a/b/c", "A/b", "a/B", "example.com/key", "example.com/-key", "example.com/Key_1.x", "Example.com/x", "a-/b", "a.b-c/d_", "-a/b", "a/ä",
	metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents, "kubernetes", strings.Repeat("a", 63), strings.Repeat("a", 253) + "/x", strings.Repeat("a", 254) + "/x",
	"x/" + strings.Repeat("a", 63), "x/" + strings.Repeat("a", 64), "kube-root-ca.crt", strings.Repeat("a", 64), strings.Repeat("a", 253), strings.Repeat("a", 254), strings.Repeat("a.", 126) + "a", strings.Repeat("a.", 127) + "a",
}

func checkName(t *testing.T, name string) {
	for _, prefix := range []bool{false, true} {
		if got, want := ValidateSubdomain(name, prefix), validation.NameIsDNSSubdomain(name, prefix); !slices.Equal(got, want) {
			t.Errorf("ValidateSubdomain(%q, %t): %q, want %q", name, prefix, got, want)
		}
	}
	if got, want := ValidateDataKey(name), utilvalidation.IsConfigMapKey(name); !slices.Equal(got, want) {
		t.Errorf("ValidateDataKey(%q): %q, want %q", name, got, want)
	}
	// The quick answers are for all good names, or they would be of no use.
	for _, quick := range []struct {
		name string
		got  bool
		want []string
	}{
		{"isSubdomain", isSubdomain(name), validation.NameIsDNSSubdomain(name, false)},
		{"isDataKey", isDataKey(name), utilvalidation.IsConfigMapKey(name)},
		{"isLabel", isLabel(name), utilvalidation.IsDNS1123Label(name)},
		{"isLabelKey", isLabelKey(name), utilvalidation.IsQualifiedName(name)},
		{"isLabelValue", isLabelValue(name), utilvalidation.IsValidLabelValue(name)},
	} {
		if quick.got != (len(quick.want) == 0) {
			t.Errorf("%s(%q) is %t, the library says %q", quick.name, name, quick.got, quick.want)
		}
	}
}

func TestNames(t *testing.T) {
	for _, name := range names {
		checkName(t, name)
	}
}

func FuzzNames(f *testing.F) {
	for _, name := range names {
		f.Add(name)
	}
	f.Fuzz(checkName)
}
