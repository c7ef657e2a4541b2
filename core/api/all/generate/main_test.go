package main

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryio/gantry/core/api/all"
)

// TestDocument fails when a kind was added without `go generate ./core/api/all`.
func TestDocument(t *testing.T) {
	have, err := os.ReadFile("../../../../docs/kinds.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(document(all.Kinds()), string(have)); diff != "" {
		t.Errorf("docs/kinds.md (-want +got):\n%s", diff)
	}
}
