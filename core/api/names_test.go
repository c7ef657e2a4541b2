package api

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
)

var names = []string{
	"", "a", "9", "-", ".", "..", "...", "..a", "a..b", ".a", "a.", "a-", "-a", "a-b", "a-.b", "a.-b", "a--b", "a.b.c", "A", "a_b", "A_b-c.d", "ä", "a\x00", "a\n",
	"kube-root-ca.crt", strings.Repeat("a", 64), strings.Repeat("a", 253), strings.Repeat("a", 254), strings.Repeat("a.", 126) + "a", strings.Repeat("a.", 127) + "a",
}

func checkName(t *testing.T, name string) {
	for _, prefix := range []bool{false, true} {
		if got, want := ValidateSubdomain(name, prefix), validation.NameIsDNSSubdomain(name, prefix); !slices.Equal(got, want) {
			t.Errorf("ValidateSubdomain(%q, %t): %q, want %q", name, prefix, got, want)
		}
	}
	// The quick answer is for all good names, or it would be of no use.
	if got, want := isSubdomain(name), len(validation.NameIsDNSSubdomain(name, false)) == 0; got != want {
		t.Errorf("isSubdomain(%q): %t, want %t", name, got, want)
	}
	want := utilvalidation.IsConfigMapKey(name)
	if got := ValidateDataKey(name); !slices.Equal(got, want) {
		t.Errorf("ValidateDataKey(%q): %q, want %q", name, got, want)
	}
	if isDataKey(name) != (len(want) == 0) {
		t.Errorf("isDataKey(%q): %t, want %t", name, isDataKey(name), len(want) == 0)
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
