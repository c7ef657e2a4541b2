package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
)

// record is what is written down of a sandbox.
type record struct {
	Sandbox network.Sandbox `json:"sandbox"`
	// List is the network list as it was used: a later configuration must not change the detach.
	List json.RawMessage `json:"list"`
	// Result is set when the CNI plugins have succeeded.
	Result *network.Attachment `json:"result,omitempty"`
}

func (n *Network) recordFile(id string) string { return n.path("sandboxes", id) }

func (n *Network) read(id string) (*record, error) {
	raw, err := os.ReadFile(n.recordFile(id))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read record of %s: %w", id, err)
	}
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("read record of %s: %w", id, err)
	}
	return &r, nil
}

func (n *Network) write(r *record) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write record of %s: %w", r.Sandbox.ID, err)
	}
	file := n.recordFile(r.Sandbox.ID)
	temporary := n.path("." + r.Sandbox.ID)
	if err := os.WriteFile(temporary, raw, 0o600); err != nil {
		return fmt.Errorf("write record of %s: %w", r.Sandbox.ID, err)
	}
	if err := os.Rename(temporary, file); err != nil {
		return fmt.Errorf("write record of %s: %w", r.Sandbox.ID, err)
	}
	return nil
}

func checkID(id string) error {
	if id == "" || strings.ContainsAny(id, "/\x00") || strings.HasPrefix(id, ".") {
		return fmt.Errorf("check sandbox ID %q: %w", id, plugin.ErrInvalid)
	}
	return nil
}
