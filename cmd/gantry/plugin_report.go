package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
	"github.com/gantryio/gantry/interfaces/plugin/conformance"
)

// writeVerdict sums up the results of a suite for whoever may report them.
func writeVerdict(file, subject string, results []conformance.Result) error {
	v, err := verdict(subject, results)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(file, raw, 0o600)
}

func verdict(subject string, results []conformance.Result) (v1alpha1.Verification, error) {
	v := v1alpha1.Verification{Time: metav1.Now()}
	for _, r := range results {
		switch {
		case len(r.Problems) > 0:
			if v.Failed++; v.Message == "" {
				v.Message = r.Name + ": " + r.Problems[0]
			}
		case r.Skipped != "":
			v.Skipped++
		default:
			v.Passed++
		}
	}
	info, err := os.Stat(subject)
	if err != nil || info.Mode()&os.ModeSocket != 0 {
		return v, err
	}
	f, err := os.Open(subject)
	if err != nil {
		return v, err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return v, err
	}
	v.Digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	return v, nil
}

// report writes a verdict into the status of a Plugin.
func report(ctx context.Context, connect connector, name, file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("report the result: there is none: %w", err)
	}
	api, err := connect()
	if err != nil {
		return err
	}
	patch := fmt.Appendf(nil, `{"status":{"verification":%s}}`, raw)
	p := &v1alpha1.Plugin{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := api.Status().Patch(ctx, p, ctrlclient.RawPatch("application/merge-patch+json", patch)); err != nil {
		return fmt.Errorf("report the result to plugin %s: %w", name, err)
	}
	return nil
}
