package pki

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTheSigningKeyIsKept(t *testing.T) {
	dir := t.TempDir()
	first, err := SigningKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := SigningKey(dir)
	if err != nil || !first.Equal(second) {
		t.Errorf("another key: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, "sa.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v: %v", info.Mode(), err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sa.key"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := SigningKey(dir); err == nil {
		t.Error("took a broken key")
	}
}
